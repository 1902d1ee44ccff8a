//! Own metrics in the formats that a scraper may ask for. They are few, so they are rendered anew each time.

use std::fmt::Write as _;

use gaugeway_aggregate::{
    Format,
    client_model::{
        Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
    },
};
use prometheus::{TextEncoder, proto};
use prost::Message as _;

/// Renders gathered families, without what ends a page.
pub(super) fn encode(
    families: &[proto::MetricFamily],
    format: Format,
) -> Result<Vec<u8>, prometheus::Error> {
    match format {
        Format::Text => TextEncoder::new()
            .encode_to_string(families)
            .map(String::into_bytes),
        Format::OpenMetrics => Ok(open_metrics(families).into_bytes()),
        Format::Protobuf => Ok(families
            .iter()
            .flat_map(|family| message(family).encode_length_delimited_to_vec())
            .collect()),
    }
}

fn message(family: &proto::MetricFamily) -> MetricFamily {
    let kind = match family.get_field_type() {
        proto::MetricType::COUNTER => MetricType::Counter,
        proto::MetricType::HISTOGRAM => MetricType::Histogram,
        _ => MetricType::Gauge,
    };
    MetricFamily {
        name: family.name().to_owned(),
        help: family.help().to_owned(),
        r#type: Some(kind.into()),
        metric: family
            .get_metric()
            .iter()
            .map(|metric| value(metric, kind))
            .collect(),
    }
}

fn value(metric: &proto::Metric, kind: MetricType) -> Metric {
    let label = |pair: &proto::LabelPair| LabelPair {
        name: pair.name().to_owned(),
        value: pair.value().to_owned(),
    };
    let mut out = Metric {
        label: metric.get_label().iter().map(label).collect(),
        ..Metric::default()
    };
    match kind {
        MetricType::Counter => {
            out.counter = Some(Counter {
                value: Some(metric.get_counter().get_value()),
                created_timestamp: None,
            });
        }
        MetricType::Gauge => {
            out.gauge = Some(Gauge {
                value: Some(metric.get_gauge().get_value()),
            });
        }
        MetricType::Histogram => out.histogram = Some(histogram(metric.get_histogram())),
    }
    out
}

fn histogram(of: &proto::Histogram) -> Histogram {
    let bucket = |bucket: &proto::Bucket| Bucket {
        cumulative_count: Some(bucket.cumulative_count()),
        upper_bound: Some(bucket.upper_bound()),
    };
    Histogram {
        sample_count: Some(of.get_sample_count()),
        sample_sum: Some(of.get_sample_sum()),
        bucket: of.get_bucket().iter().map(bucket).collect(),
        ..Histogram::default()
    }
}

fn open_metrics(families: &[proto::MetricFamily]) -> String {
    let mut out = String::new();
    for family in families.iter().map(message) {
        let (kind, name) = match family.r#type() {
            // Registration sees to it that all counters, and they alone, end so.
            MetricType::Counter => (
                "counter",
                family.name.strip_suffix("_total").unwrap_or(&family.name),
            ),
            MetricType::Gauge => ("gauge", family.name.as_str()),
            MetricType::Histogram => ("histogram", family.name.as_str()),
        };
        // Writing to a String cannot fail.
        let _ = write!(out, "# HELP {name} {}\n# TYPE {name} {kind}\n", family.help);
        if name.ends_with("_seconds") {
            let _ = writeln!(out, "# UNIT {name} seconds");
        }
        for metric in &family.metric {
            lines(&mut out, &family.name, metric);
        }
    }
    out
}

fn lines(out: &mut String, name: &str, metric: &Metric) {
    let labels = &metric.label;
    let plain = metric
        .counter
        .as_ref()
        .and_then(|counter| counter.value)
        .or_else(|| metric.gauge.as_ref().and_then(|gauge| gauge.value));
    if let Some(value) = plain {
        line(out, name, "", labels, None, value);
    }
    let Some(h) = &metric.histogram else {
        return;
    };
    let (count, sum) = (h.sample_count(), h.sample_sum());
    let infinite = Bucket {
        cumulative_count: Some(count),
        upper_bound: Some(f64::INFINITY),
    };
    for bucket in h.bucket.iter().chain([&infinite]) {
        let le = float(bucket.upper_bound());
        let below = whole(bucket.cumulative_count());
        line(out, name, "_bucket", labels, Some(&le), below);
    }
    line(out, name, "_sum", labels, None, sum);
    line(out, name, "_count", labels, None, whole(count));
}

fn line(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[LabelPair],
    le: Option<&str>,
    value: f64,
) {
    out.push_str(name);
    out.push_str(suffix);
    let pairs = labels
        .iter()
        .map(|pair| (pair.name.as_str(), pair.value.as_str()))
        .chain(le.map(|le| ("le", le)));
    for (nth, (name, value)) in pairs.enumerate() {
        let before = if nth == 0 { '{' } else { ',' };
        let _ = write!(out, "{before}{name}=\"{}\"", escape(value));
    }
    if !labels.is_empty() || le.is_some() {
        out.push('}');
    }
    let _ = writeln!(out, " {}", float(value));
}

/// With a point or an exponent, as OpenMetrics wants bounds.
fn float(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else {
        format!("{value:?}")
    }
}

fn escape(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "the format has nothing better")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

    use super::*;

    fn gathered() -> Vec<proto::MetricFamily> {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("a_total", "Counts."), &["x"]).unwrap();
        counter.with_label_values(&["q\"b\\n\n"]).inc_by(3);
        let gauge = IntGauge::new("b", "Gauges.").unwrap();
        gauge.set(-2);
        let opts = HistogramOpts::new("c_seconds", "Times.").buckets(vec![0.5, 1.0]);
        let histogram = HistogramVec::new(opts, &["y"]).unwrap();
        histogram.with_label_values(&["z"]).observe(0.75);
        registry.register(Box::new(counter)).unwrap();
        registry.register(Box::new(gauge)).unwrap();
        registry.register(Box::new(histogram)).unwrap();
        registry.gather()
    }

    #[test]
    fn open_metrics_names_counters_without_their_suffix_and_bounds_as_floats() {
        let text = encode(&gathered(), Format::OpenMetrics).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            r#"# HELP a Counts.
# TYPE a counter
a_total{x="q\"b\\n\n"} 3.0
# HELP b Gauges.
# TYPE b gauge
b -2.0
# HELP c_seconds Times.
# TYPE c_seconds histogram
# UNIT c_seconds seconds
c_seconds_bucket{y="z",le="0.5"} 0.0
c_seconds_bucket{y="z",le="1.0"} 1.0
c_seconds_bucket{y="z",le="+Inf"} 1.0
c_seconds_sum{y="z"} 0.75
c_seconds_count{y="z"} 1.0
"#
        );
    }

    #[test]
    fn protobuf_is_read_back() {
        let bytes = encode(&gathered(), Format::Protobuf).unwrap();
        let mut rest = bytes.as_slice();
        let mut next = || MetricFamily::decode_length_delimited(&mut rest).unwrap();
        let (a, b, c) = (next(), next(), next());
        assert_eq!(
            (a.name.as_str(), a.r#type()),
            ("a_total", MetricType::Counter)
        );
        assert_eq!(a.metric[0].label[0].value, "q\"b\\n\n");
        assert_eq!(a.metric[0].counter.as_ref().unwrap().value, Some(3.0));
        assert_eq!(b.metric[0].gauge.as_ref().unwrap().value, Some(-2.0));
        let h = c.metric[0].histogram.as_ref().unwrap();
        assert_eq!((h.sample_count, h.sample_sum), (Some(1), Some(0.75)));
        assert_eq!(h.bucket[1].cumulative_count, Some(1));
        assert!(rest.is_empty());
    }
}
