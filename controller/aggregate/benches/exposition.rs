//! Speed of the exposition, beside the `prometheus` and `prometheus-client` crates on the same data: 10,000 series with
//! a latency histogram (the default policy's buckets), one requests counter and four plain counters each; each format,
//! plain and compressed, also with 100,000.
//! Budget: text at least ten times faster than the `prometheus` crate's encoder.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    missing_docs,
    dead_code,
    reason = "it measures time and says so"
)]

#[path = "common/shop.rs"]
mod shop;

use std::{
    hint::black_box,
    io::{self, BufWriter, Write},
    time::Duration,
};

use criterion::{Criterion, Throughput};
use gaugeway_aggregate::{Aggregate, Encoding, Exposition, Format, Request, Snapshot};
use gaugeway_wire::Report;
use prometheus::{
    CounterVec, Encoder, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder,
    proto::MetricFamily,
};
use shop::{All, NOW, Random};

const SERIES: usize = 10_000;
const LARGE: usize = 100_000;
const SAMPLES: usize = 50;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(10)
        .configure_from_args();
    let mut aggregate = ours(SERIES);
    let snapshot = aggregate.snapshot(NOW);
    let mut out = Wire::default();
    let mut group = criterion.benchmark_group("10,000 histogram series");
    group.throughput(Throughput::Elements(SERIES as u64));
    for format in Format::ALL {
        group.bench_function(format!("{format:?}"), |b| {
            b.iter(|| render(&snapshot, format, Encoding::Identity, &mut out));
        });
    }
    group.finish();
    criterion.final_summary();
    if std::env::args().any(|argument| argument == "--profile-time") {
        return;
    }
    ratios(&snapshot, &theirs(SERIES));
    drop(snapshot);
    formats(aggregate, SERIES, 9);
    formats(ours(LARGE), LARGE, 3);
}

fn ours(series: usize) -> Aggregate {
    let mut aggregate = shop::aggregate(series);
    let counted = shop::counted(0..series, SAMPLES, &mut Random(1));
    let (mut left, mut seq) = (&counted[..], 0);
    while !left.is_empty() {
        seq += 1;
        let (bytes, fits) = shop::report(1, seq, left, NOW);
        let report = Report::decode(&bytes).unwrap();
        aggregate
            .apply(&shop::gateway(), &report, &All, NOW)
            .unwrap();
        left = &left[fits..];
    }
    aggregate
}

/// The same samples under the same names and labels.
fn theirs(series: usize) -> Registry {
    let names = shop::labels(0).map(|(name, _)| name);
    let classes = [&names[..], &["code_class", "outcome"]].concat();
    let counter =
        |name: &str, labels: &[&str]| CounterVec::new(Opts::new(name, "Help."), labels).unwrap();
    let bounds = shop::layout()
        .bounds
        .as_slice()
        .iter()
        .map(|b| b.0 as f64 / 1e9)
        .collect();
    let latency = HistogramOpts::new("gaugeway_upstream_latency_seconds", "Help.").buckets(bounds);
    let latency = HistogramVec::new(latency, &names).unwrap();
    let requests = counter("gaugeway_upstream_requests_total", &classes);
    let plain = [
        "gaugeway_upstream_retries_total",
        "gaugeway_upstream_aborted_total",
        "gaugeway_upstream_latency_unknown_total",
        "gaugeway_upstream_cancelled_wait_seconds_total",
    ]
    .map(|name| counter(name, &names));
    let mut random = Random(1);
    for n in 0..series {
        let labels = shop::labels(n);
        let values = labels.each_ref().map(|(_, value)| value.as_str());
        let of = latency.with_label_values(&values);
        (0..SAMPLES).for_each(|_| of.observe(random.latency().0 as f64 / 1e9));
        let class = [&values[..], &["2xx", "response"]].concat();
        requests.with_label_values(&class).inc_by(SAMPLES as f64);
        for family in &plain {
            family.with_label_values(&values);
        }
    }
    let registry = Registry::new();
    registry.register(Box::new(latency)).unwrap();
    registry.register(Box::new(requests)).unwrap();
    for family in plain {
        registry.register(Box::new(family)).unwrap();
    }
    registry
}

/// The same samples in the `prometheus-client` crate's registry.
fn clients(series: usize) -> prometheus_client::registry::Registry {
    use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};
    type Labels = Vec<(String, String)>;
    let bounds: Vec<f64> = shop::layout()
        .bounds
        .as_slice()
        .iter()
        .map(|b| b.0 as f64 / 1e9)
        .collect();
    let latency = Family::<Labels, Histogram, _>::new_with_constructor(move || {
        Histogram::new(bounds.iter().copied())
    });
    let requests = Family::<Labels, Counter>::default();
    let plain: [Family<Labels, Counter>; 4] = Default::default();
    let mut random = Random(1);
    for n in 0..series {
        let labels: Labels = shop::labels(n).map(|(k, v)| (k.to_owned(), v)).into();
        let of = latency.get_or_create(&labels);
        (0..SAMPLES).for_each(|_| of.observe(random.latency().0 as f64 / 1e9));
        drop(of);
        for family in &plain {
            drop(family.get_or_create(&labels));
        }
        let class = [("code_class", "2xx"), ("outcome", "response")];
        let class = class.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let labels = [labels, class.into()].concat();
        requests.get_or_create(&labels).inc_by(SAMPLES as u64);
    }
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register("gaugeway_upstream_latency_seconds", "Help", latency);
    registry.register("gaugeway_upstream_requests", "Help", requests);
    let names = [
        "retries",
        "aborted",
        "latency_unknown",
        "cancelled_wait_seconds",
    ];
    for (name, family) in names.into_iter().zip(plain) {
        registry.register(format!("gaugeway_upstream_{name}"), "Help", family);
    }
    registry
}

/// As it is served: piece by piece, each gone before the next.
fn render(snapshot: &Snapshot, format: Format, encoding: Encoding, to: &mut Wire) {
    to.bytes = 0;
    let request = Request {
        format,
        encoding,
        ..Request::default()
    };
    let mut exposition = Exposition::new(snapshot.clone(), request);
    exposition.write_to(to).unwrap();
}

/// Into a buffer of the same size, written out when it is full.
fn encode(families: &[MetricFamily], to: &mut Wire) {
    to.bytes = 0;
    let mut buffered = BufWriter::with_capacity(64 * 1024, to);
    TextEncoder::new().encode(families, &mut buffered).unwrap();
    buffered.flush().unwrap();
}

/// Takes everything and looks at it only as much as a compiler must believe.
#[derive(Default)]
struct Wire {
    bytes: usize,
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += black_box(bytes).len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Processor time in alternating rounds, so that both see the same machine; the median of the ratios.
fn ratios(snapshot: &Snapshot, registry: &Registry) {
    let clients = clients(SERIES);
    let gathered = registry.gather();
    let (mut one, mut two) = (Wire::default(), Wire::default());
    let text = |to: &mut Wire| render(snapshot, Format::Text, Encoding::Identity, to);
    let open_metrics = |to: &mut Wire| {
        render(snapshot, Format::OpenMetrics, Encoding::Identity, to);
    };
    text(&mut one);
    encode(&gathered, &mut two);
    println!(
        "{} bytes, the prometheus crate's {} bytes",
        one.bytes, two.bytes
    );
    let (mut encoding, mut gathering, mut client) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..15 {
        let own = shop::cpu(|| text(&mut one));
        encoding.push(shop::cpu(|| encode(&gathered, &mut two)) / own);
        gathering.push(shop::cpu(|| encode(&registry.gather(), &mut two)) / own);
        let own = shop::cpu(|| open_metrics(&mut one));
        client.push(shop::cpu(|| encode_clients(&clients, &mut two)) / own);
    }
    for (what, ratios) in [
        ("text, than the prometheus crate's encoder alone", encoding),
        ("text, than its gather and encode", gathering),
        ("OpenMetrics, than the prometheus-client crate", client),
    ] {
        println!("faster, {what}: {:.1} x", median(ratios));
    }
}

/// The crate writes into one string.
fn encode_clients(registry: &prometheus_client::registry::Registry, to: &mut Wire) {
    let mut out = String::new();
    prometheus_client::encoding::text::encode(&mut out, registry).unwrap();
    to.write_all(out.as_bytes()).unwrap();
}

/// What each format costs: plain; packed for the first time; packed again when nothing, and when a hundredth of the
/// series changed.
fn formats(mut aggregate: Aggregate, series: usize, rounds: usize) {
    let mut out = Wire::default();
    let mut seq = 1_000_000;
    let mut touch = |aggregate: &mut Aggregate, share: usize| {
        let some = shop::counted(0..series / share, 1, &mut Random(7));
        let (mut left, index) = (&some[..], share);
        while !left.is_empty() {
            seq += 1;
            let (bytes, fits) = shop::report(2, seq, left, NOW);
            let report = Report::decode(&bytes).unwrap();
            aggregate
                .apply(&shop::gateway(), &report, &All, NOW)
                .unwrap();
            left = &left[fits..];
        }
        black_box(index);
    };
    for format in Format::ALL {
        let mut spent = [const { Vec::new() }; 4];
        let mut bytes = [0; 2];
        for _ in 0..rounds {
            touch(&mut aggregate, 1);
            for (nth, spent) in spent.iter_mut().enumerate() {
                if nth == 3 {
                    touch(&mut aggregate, 100);
                }
                let encoding = if nth == 0 {
                    Encoding::Identity
                } else {
                    Encoding::Gzip
                };
                let snapshot = aggregate.snapshot(NOW);
                spent.push(shop::cpu(|| render(&snapshot, format, encoding, &mut out)) * 1e3);
                bytes[nth.min(1)] = out.bytes;
            }
        }
        let [plain, first, again, some] = spent.map(median);
        println!(
            "{series} series, {format:?}: plain {plain:.1} ms ({} bytes); gzip {first:.1} ms ({} bytes), \
            unchanged {again:.2} ms, 1 % changed {some:.1} ms",
            bytes[0], bytes[1]
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
