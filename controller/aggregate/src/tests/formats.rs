//! The formats beside classic text: frozen bytes, nothing lost between formats, and compressed output that is never
//! older than what it shows.

use std::{collections::BTreeMap, io::Read as _};

use flate2::bufread::GzDecoder;
use gaugeway_wire::{Histogram, Nanos, RequestClass, TargetKind, target::names};
use proptest::prelude::*;
use prost::Message as _;

use super::{
    exposed::{Sample, check, example},
    histories::{Player, any_event},
    rig::*,
};
use crate::{
    Aggregate, ChangeNumber, Encoding, Family, Format, Request, View,
    client_model::{self, Metric, MetricFamily, MetricType},
};

const OPEN_METRICS: &str = include_str!("../../tests/golden/exposition.om.txt");
const PROTOBUF: &[u8] = include_bytes!("../../tests/golden/exposition.pb");

fn in_format(of: &mut Aggregate, format: Format, encoding: Encoding, view: View) -> Vec<u8> {
    let request = Request {
        format,
        encoding,
        view,
        kong: Some(urls()),
        preamble: Vec::new(),
    };
    exposed(of, request)
}

fn plain(of: &mut Aggregate, format: Format) -> Vec<u8> {
    in_format(of, format, Encoding::Identity, View::default())
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut decoder) = (Vec::new(), GzDecoder::new(bytes));
    decoder.read_to_end(&mut out).unwrap();
    assert!(
        decoder.into_inner().is_empty(),
        "one member, nothing behind"
    );
    out
}

fn families(mut bytes: &[u8]) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut bytes).unwrap());
    }
    families
}

#[test]
fn open_metrics_is_frozen() {
    let shown = plain(&mut example(), Format::OpenMetrics);
    assert_frozen("exposition.om.txt", &shown, OPEN_METRICS.as_bytes());
}

#[test]
fn protobuf_is_frozen() {
    let shown = plain(&mut example(), Format::Protobuf);
    assert_frozen("exposition.pb", &shown, PROTOBUF);
}

/// Without what OpenMetrics says more, and in classic spelling.
fn classic(open_metrics: &str) -> String {
    let text = open_metrics.strip_suffix("# EOF\n").unwrap();
    let mut out = String::new();
    for line in text.lines() {
        let name = line.split('{').next().unwrap();
        if name.ends_with("_created") || line.starts_with("# UNIT ") {
            continue;
        }
        let line = match line.split_once(",le=\"") {
            Some((start, end)) => {
                let (bound, value) = end.split_once('"').unwrap();
                assert!(bound.contains(['.', '+']), "{bound} is no float");
                let bound = bound.strip_suffix(".0").unwrap_or(bound);
                format!("{start},le=\"{bound}\"{value}")
            }
            None => line.to_owned(),
        };
        out.push_str(&line);
        out.push('\n');
    }
    for family in Family::ALL.iter().filter(|family| !family.is_histogram()) {
        for head in ["# HELP ", "# TYPE "] {
            let short = format!("{head}{} ", family.open_metrics_name());
            out = out.replace(&short, &format!("{head}{} ", family.name()));
        }
    }
    out
}

/// The samples that a family in protobuf stands for.
fn samples(family: &MetricFamily) -> Vec<Sample> {
    let name = &family.name;
    let mut samples = Vec::new();
    for metric in &family.metric {
        let labels: BTreeMap<_, _> = metric
            .label
            .iter()
            .map(|pair| (pair.name.clone(), pair.value.clone()))
            .collect();
        assert_eq!(labels.len(), metric.label.len(), "a label comes twice");
        let mut add = |suffix: &str, le: Option<String>, value: f64| {
            let mut labels = labels.clone();
            labels.extend(le.map(|le| ("le".to_owned(), le)));
            samples.push((format!("{name}{suffix}"), labels, value.to_string()));
        };
        let Some(h) = &metric.histogram else {
            add("", None, metric.counter.as_ref().unwrap().value.unwrap());
            continue;
        };
        let count = h.sample_count.unwrap() as f64;
        for bucket in &h.bucket {
            let le = bucket.upper_bound.unwrap().to_string();
            add("_bucket", Some(le), bucket.cumulative_count.unwrap() as f64);
        }
        add("_bucket", Some("+Inf".to_owned()), count);
        add("_sum", None, h.sample_sum.unwrap());
        add("_count", None, count);
    }
    samples
}

/// Everything that classic text says is said by the other formats too.
fn assert_same_in_all_formats(of: &mut Aggregate) {
    let text = text(of);
    let open_metrics = String::from_utf8(plain(of, Format::OpenMetrics)).unwrap();
    assert_eq!(classic(&open_metrics), text);
    let said: Vec<_> = families(&plain(of, Format::Protobuf))
        .iter()
        .flat_map(samples)
        .collect();
    let expected = check(&text);
    assert_eq!(said.len(), expected.len());
    for (said, expected) in said.iter().zip(&expected) {
        assert_eq!((&said.0, &said.1), (&expected.0, &expected.1));
        let [said, expected] = [said, expected].map(|sample| sample.2.parse::<f64>().unwrap());
        assert!(said.to_bits() == expected.to_bits(), "{said} {expected}");
    }
}

/// Buckets out of spans and deltas, as Prometheus reads them.
fn native(h: &client_model::Histogram) -> Vec<(i32, u64)> {
    let mut deltas = h.positive_delta.iter();
    let (mut index, mut count, mut buckets) = (0_i32, 0_i64, Vec::new());
    for span in &h.positive_span {
        index += span.offset.unwrap();
        for _ in 0..span.length.unwrap() {
            count += deltas.next().unwrap();
            buckets.push((index, u64::try_from(count).unwrap()));
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None, "a delta without a bucket");
    buckets.retain(|(_, count)| *count > 0);
    buckets
}

fn latencies(of: &mut Aggregate, view: View) -> Vec<Metric> {
    let shown = in_format(of, Format::Protobuf, Encoding::Identity, view);
    let families = families(&shown);
    let latency = families
        .into_iter()
        .find(|family| family.name == Family::Latency.name())
        .unwrap();
    assert_eq!(latency.r#type(), MetricType::Histogram);
    latency.metric
}

fn assert_native(of: &mut Aggregate) {
    let snapshot = of.snapshot(START);
    if snapshot.series().next().is_none() {
        return;
    }
    let shown = latencies(of, View::default());
    let held: Vec<&Histogram> = snapshot.series().map(|s| &s.counts.latency).collect();
    assert_eq!(shown.len(), held.len());
    for (shown, held) in shown.iter().zip(held) {
        let shown = shown.histogram.as_ref().unwrap();
        assert_eq!(native(shown), held.native().collect::<Vec<_>>());
        assert_eq!(shown.zero_count, Some(held.zero_count()));
        assert_eq!(shown.schema, Some(held.layout().schema.get().into()));
        assert!(
            shown.zero_threshold.unwrap() > 0.0,
            "native even when empty"
        );
    }
}

#[test]
fn gaps_between_native_buckets_are_bridged_or_spanned() {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    let target = pod("cart", "a");
    define(&mut aggregate, &gateway("a/b"), &target, &index, START).unwrap();
    // Neighbours, gaps of one, two, three and many buckets; below and above one second.
    for (seq, nanos) in [
        1,
        900_000_000,
        980_000_000,
        1_250_000_000,
        1_620_000_000,
        2_500_000_000,
    ]
    .into_iter()
    .enumerate()
    {
        let line = Line {
            latency: Nanos(nanos),
            ..Line::new(target.clone(), 7 - seq as u64)
        };
        let bytes = report(1, seq as u64 + 1, &config().layout, &[line]);
        apply(&mut aggregate, &gateway("a/b"), &bytes, &index, START).unwrap();
    }
    assert_native(&mut aggregate);
}

#[test]
fn what_is_new_to_a_scraper_is_an_empty_native_histogram() {
    let mut aggregate = example();
    let view = View {
        shown_since: Some(ChangeNumber(0)),
    };
    for metric in latencies(&mut aggregate, view) {
        let h = metric.histogram.unwrap();
        assert_eq!((h.sample_count, h.sample_sum), (Some(0), Some(0.0)));
        assert!(h.positive_span.is_empty() && h.positive_delta.is_empty());
        assert!(h.bucket.iter().all(|b| b.cumulative_count == Some(0)));
        assert!(h.zero_threshold.unwrap() > 0.0);
    }
}

#[test]
fn each_metric_says_when_it_came_into_being() {
    let mut aggregate = example();
    let seconds = i64::try_from(START.0 / 1_000_000_000).unwrap();
    for family in families(&plain(&mut aggregate, Format::Protobuf)) {
        for metric in family.metric {
            let created = match (metric.counter, metric.histogram) {
                (Some(counter), _) => counter.created_timestamp,
                (_, histogram) => histogram.unwrap().created_timestamp,
            };
            assert_eq!(created.unwrap().seconds, seconds);
        }
    }
    let text = String::from_utf8(plain(&mut aggregate, Format::OpenMetrics)).unwrap();
    let created: Vec<_> = text.lines().filter(|l| l.contains("_created{")).collect();
    assert!(created.iter().all(|line| line.ends_with("} 1800000000")));
    // Per series: one histogram and four counters; six classes; two rows for Kong.
    assert_eq!(created.len(), 3 * 5 + 6 + 1);
}

#[test]
fn a_preamble_comes_first_in_each_encoding() {
    for encoding in [Encoding::Identity, Encoding::Gzip] {
        let request = Request {
            encoding,
            preamble: b"own 1\n".to_vec(),
            ..Request::default()
        };
        let shown = exposed(&mut example(), request);
        let shown = match encoding {
            Encoding::Identity => shown,
            Encoding::Gzip => unpacked(&shown),
        };
        assert!(shown.starts_with(b"own 1\n# HELP gaugeway_upstream_latency_seconds "));
    }
}

#[test]
fn nothing_is_shown_of_nothing() {
    let mut aggregate = Aggregate::new(config(), START);
    assert_eq!(plain(&mut aggregate, Format::Text), b"");
    assert_eq!(plain(&mut aggregate, Format::OpenMetrics), b"# EOF\n");
    assert_eq!(plain(&mut aggregate, Format::Protobuf), b"");
}

#[test]
fn only_what_changed_is_packed_again() {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    let edge = gateway("a/b");
    let lines = |n: u64| Line::new(pod("cart", &n.to_string()), 3);
    for n in 0..100 {
        define(&mut aggregate, &edge, &lines(n).target, &index, START).unwrap();
    }
    let all: Vec<_> = (0..100).map(lines).collect();
    apply(
        &mut aggregate,
        &edge,
        &report(1, 1, &config().layout, &all),
        &index,
        START,
    )
    .unwrap();
    let packed = |of: &mut Aggregate| -> Vec<*const ()> {
        in_format(of, Format::Text, Encoding::Gzip, View::default());
        let snapshot = of.snapshot(START);
        let chunks = snapshot.series.chunks().iter();
        chunks
            .map(|chunk| {
                let segment = chunk.packed().get(Format::Text, Family::Latency);
                std::ptr::from_ref(segment.unwrap()).cast()
            })
            .collect()
    };
    let before = packed(&mut aggregate);
    assert_eq!(packed(&mut aggregate), before, "nothing changed");
    let held = aggregate.snapshot(START);
    apply(
        &mut aggregate,
        &edge,
        &report(1, 2, &config().layout, &[lines(40)]),
        &index,
        START,
    )
    .unwrap();
    let after = packed(&mut aggregate);
    let changed = before.iter().zip(&after).filter(|(b, a)| b != a).count();
    assert_eq!(changed, 1);
    drop(held);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_formats_say_the_same(events in prop::collection::vec(any_event(), 0..30)) {
        let mut played = Player::new(config());
        played.define_all();
        events.iter().for_each(|event| played.play(event));
        assert_same_in_all_formats(&mut played.aggregate);
        assert_native(&mut played.aggregate);
    }

    #[test]
    fn packed_output_is_never_older_than_what_it_shows(
        steps in prop::collection::vec((any_event(), 0..3_usize, prop::option::of(0..40_u64)), 0..30),
    ) {
        let mut played = Player::new(config());
        played.define_all();
        // Held snapshots make the writer copy; without them it changes in place.
        let mut held = None;
        for (event, format, since) in steps {
            played.play(&event);
            let view = View { shown_since: since.map(ChangeNumber) };
            let format = Format::ALL[format];
            let of = &mut played.aggregate;
            let packed = in_format(of, format, Encoding::Gzip, view);
            let plain = in_format(of, format, Encoding::Identity, view);
            prop_assert_eq!(unpacked(&packed), plain);
            held = since.map(|_| of.snapshot(START));
        }
        drop(held);
    }

    #[test]
    fn every_label_value_survives_in_protobuf(value in "\\PC{1,20}|[\\\\\"\n]{1,8}") {
        let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
        let labels = [(names::NAMESPACE, "n"), (names::SERVICE, "s"), ("label_x", value.as_str())];
        let target = target(TargetKind::Kubernetes, &labels);
        define(&mut aggregate, &gateway("a/b"), &target, &index, START).unwrap();
        let line = Line { class: RequestClass { ..OK }, ..Line::new(target, 1) };
        let bytes = report(1, 1, &config().layout, &[line]);
        apply(&mut aggregate, &gateway("a/b"), &bytes, &index, START).unwrap();
        assert_same_in_all_formats(&mut aggregate);
    }
}
