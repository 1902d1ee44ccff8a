//! Speed of the classic text format, beside the `prometheus` crate's encoder on the same data: 10,000 series with a
//! latency histogram (the default policy's buckets), one requests counter and four plain counters each.
//! Budget: at least ten times faster than that encoder.
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
use gaugeway_aggregate::{Aggregate, Exposition, Format, Snapshot, View};
use gaugeway_wire::Report;
use prometheus::{
    CounterVec, Encoder, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder,
    proto::MetricFamily,
};
use shop::{All, NOW, Random};

const SERIES: usize = 10_000;
const SAMPLES: usize = 50;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(10)
        .configure_from_args();
    let mut aggregate = ours();
    let snapshot = aggregate.snapshot(NOW);
    let registry = theirs();
    let gathered = registry.gather();
    let mut out = Wire::default();
    let mut group = criterion.benchmark_group("text, 10,000 histogram series");
    group.throughput(Throughput::Elements(SERIES as u64));
    group.bench_function("ours", |b| b.iter(|| render(&snapshot, &mut out)));
    group.bench_function("prometheus crate, encode", |b| {
        b.iter(|| encode(&gathered, &mut out));
    });
    group.finish();
    criterion.final_summary();
    ratios(&snapshot, &registry);
}

fn ours() -> Aggregate {
    let mut aggregate = shop::aggregate(SERIES);
    let counted = shop::counted(0..SERIES, SAMPLES, &mut Random(1));
    let (mut left, mut seq) = (&counted[..], 0);
    while !left.is_empty() {
        seq += 1;
        let (bytes, fits) = shop::report(1, seq, left);
        let report = Report::decode(&bytes).unwrap();
        aggregate
            .apply(&shop::gateway(), &report, &All, NOW)
            .unwrap();
        left = &left[fits..];
    }
    aggregate
}

/// The same samples under the same names and labels.
fn theirs() -> Registry {
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
    for n in 0..SERIES {
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

/// As it is served: piece by piece, each gone before the next.
fn render(snapshot: &Snapshot, to: &mut Wire) {
    to.bytes = 0;
    let mut exposition = Exposition::new(snapshot.clone(), Format::Text, View::default(), None);
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
    let gathered = registry.gather();
    let (mut one, mut two) = (Wire::default(), Wire::default());
    render(snapshot, &mut one);
    encode(&gathered, &mut two);
    println!(
        "{} bytes, the prometheus crate's {} bytes",
        one.bytes, two.bytes
    );
    let (mut encoding, mut gathering, mut spent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..15 {
        let own = shop::cpu(|| render(snapshot, &mut one));
        spent.push(own);
        encoding.push(shop::cpu(|| encode(&gathered, &mut two)) / own);
        gathering.push(shop::cpu(|| encode(&registry.gather(), &mut two)) / own);
    }
    println!("processor time per scrape: {:.1} ms", median(spent) * 1e3);
    println!(
        "faster than the prometheus crate's encoder alone: {:.1} x",
        median(encoding)
    );
    println!(
        "faster than its gather and encode: {:.1} x",
        median(gathering)
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
