//! Speed of what crosses the wire, per core.
//!
//! The ingest budget is 1,000,000 series updates a second: `report/decode and apply` says how many series of full
//! 64 KiB reports are checked and added to histograms. The same bytes through `prost`, without any of the checks,
//! are the baseline; the ratios stand at the end of the output.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures time and says so"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use gaugeway_wire::{
    CodeClass, Fingerprint, Histogram, Layout, Nanos, Outcome, Policy, Report, RequestClass,
    Schema, Seq, UnixNanos, VmId,
    histogram::bucket_index,
    limits::MESSAGE_BYTES,
    report::{ReportWriter, SeriesCounts},
};
use gaugeway_wire_oracle::{self as pb, Message};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    index(&mut criterion);
    report(&mut criterion);
    merge(&mut criterion);
    criterion.final_summary();
    ratios();
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Mostly tens of milliseconds, with a tail.
    fn latency(&mut self) -> Nanos {
        let base = 5_000_000 + self.next() % 20_000_000;
        let tail = if self.next().is_multiple_of(16) {
            self.next() % 400_000_000
        } else {
            0
        };
        Nanos(base + tail)
    }
}

fn layout() -> Layout {
    Policy::default().layout()
}

/// One interval of one backend: `samples` latencies in the histogram.
fn histogram(random: &mut Random, samples: usize) -> Histogram {
    let mut histogram = Histogram::new(layout());
    (0..samples).for_each(|_| histogram.record(random.latency()));
    histogram
}

fn write(histograms: &[Histogram], buffer: Vec<u8>) -> (Vec<u8>, usize) {
    let mut writer = ReportWriter::new(buffer, VmId([7; 16]), Seq(9), UnixNanos(1), &layout());
    let class = |outcome, code| RequestClass { outcome, code };
    let mut written = 0;
    for (target, histogram) in (1..).zip(histograms.iter().cycle()) {
        let requests = [
            (
                class(Outcome::Response, CodeClass::Success),
                histogram.count(),
            ),
            (class(Outcome::Response, CodeClass::ServerError), 1),
        ];
        let fits = writer.series(SeriesCounts {
            target: Fingerprint(target << 20),
            route: "",
            requests: requests.into_iter(),
            native: histogram.native(),
            classic: histogram.classic().enumerate(),
            zero_count: histogram.zero_count(),
            sum: Nanos(u64::try_from(histogram.sum_ns()).unwrap_or(u64::MAX)),
            retries: 0,
            aborted: 0,
            latency_unknown: 0,
            cancelled_wait: Nanos(0),
        });
        if !fits {
            break;
        }
        written += 1;
    }
    (writer.finish(UnixNanos(2)), written)
}

/// What the controller does with a report, but for finding the series: adds each to a histogram of its own.
fn apply(bytes: &[u8], totals: &mut [Histogram]) {
    let Ok(report) = Report::decode(bytes) else {
        return;
    };
    for (series, total) in report.series().zip(totals) {
        black_box(series.requests().fold(0, |sum, (_, count)| sum + count));
        let _ = total.add_series(&report.layout, &series);
    }
}

/// The same with a derived decoder and none of the checks.
fn apply_prost(bytes: &[u8], totals: &mut [Vec<u64>]) {
    let Ok(report) = pb::Report::decode(bytes) else {
        return;
    };
    for (series, total) in report.series.iter().zip(totals) {
        black_box(series.requests.chunks(2).fold(0, |sum, pair| sum + pair[1]));
        let Some(latency) = &series.latency else {
            continue;
        };
        let mut position = 0;
        for pair in latency.native.chunks(2) {
            position += pair[0];
            let at = usize::try_from(position).unwrap_or(0) % total.len();
            total[at] += pair[1];
        }
        let mut position = 0;
        for pair in latency.classic.chunks(2) {
            position += pair[0];
            let at = usize::try_from(position).unwrap_or(0) % total.len();
            total[at] += pair[1];
        }
    }
}

struct Load {
    name: &'static str,
    histograms: Vec<Histogram>,
    bytes: Vec<u8>,
    series: usize,
}

/// Quiet: about 4 samples per series and interval; busy: about 200, every bucket in use.
fn loads() -> [Load; 2] {
    let load = |name, samples: usize| {
        let mut random = Random(7);
        let histograms: Vec<_> = (0..512).map(|_| histogram(&mut random, samples)).collect();
        let (bytes, series) = write(&histograms, Vec::with_capacity(MESSAGE_BYTES));
        Load {
            name,
            histograms,
            bytes,
            series,
        }
    };
    [load("4 samples", 4), load("200 samples", 200)]
}

fn index(criterion: &mut Criterion) {
    let mut random = Random(3);
    let values: Vec<_> = (0..4096).map(|_| random.latency()).collect();
    let bounds = layout().bounds;
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(4096));
    group.bench_function("native, table", |bencher| {
        bencher.iter(|| {
            values
                .iter()
                .filter_map(|&v| bucket_index(Schema::DEFAULT, v))
                .sum::<i32>()
        });
    });
    group.bench_function("native, frexp and search", |bencher| {
        bencher.iter(|| values.iter().map(|&v| by_float(v)).sum::<i32>());
    });
    group.bench_function("classic", |bencher| {
        bencher.iter(|| values.iter().map(|&v| bounds.position(v)).sum::<usize>());
    });
    group.finish();
}

/// As client_golang does at schema 3.
fn by_float(value: Nanos) -> i32 {
    const BOUNDS: [f64; 8] = [
        0.5,
        0.5452538663326288,
        0.5946035575013605,
        0.6484197773255048,
        0.7071067811865475,
        0.7711054127039704,
        0.8408964152537144,
        0.9170040432046711,
    ];
    let (fraction, exponent) = libm::frexp(value.0 as f64 / 1e9);
    let position = BOUNDS.partition_point(|&bound| bound < fraction);
    i32::try_from(position).unwrap_or(0) + (exponent - 1) * 8
}

fn report(criterion: &mut Criterion) {
    for load in loads() {
        let mut group = criterion.benchmark_group(format!("report/{}", load.name));
        group.throughput(Throughput::Elements(load.series as u64));
        report_of(&mut group, &load);
        group.finish();
    }
}

fn report_of(group: &mut BenchmarkGroup<'_, WallTime>, load: &Load) {
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Report::decode(&load.bytes).map(drop));
    });
    let mut totals = vec![Histogram::new(layout()); load.series];
    group.bench_function("decode and apply", |bencher| {
        bencher.iter(|| apply(&load.bytes, &mut totals));
    });
    group.bench_function("prost: decode", |bencher| {
        bencher.iter(|| pb::Report::decode(&*load.bytes).map(drop));
    });
    let mut totals = vec![vec![0; 512]; load.series];
    group.bench_function("prost: decode and apply", |bencher| {
        bencher.iter(|| apply_prost(&load.bytes, &mut totals));
    });
    let mut buffer = Vec::with_capacity(MESSAGE_BYTES);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            buffer = write(&load.histograms, core::mem::take(&mut buffer)).0;
        });
    });
}

fn merge(criterion: &mut Criterion) {
    let mut random = Random(11);
    let (mut one, other) = (histogram(&mut random, 200), histogram(&mut random, 200));
    let mut group = criterion.benchmark_group("histogram");
    group.bench_function("record", |bencher| {
        bencher.iter(|| one.record(black_box(Nanos(12_345_678))));
    });
    group.bench_function("merge", |bencher| {
        bencher.iter(|| one.merge(black_box(&other)));
    });
    group.bench_function("quantile", |bencher| {
        bencher.iter(|| one.quantile(black_box(0.99)));
    });
    group.finish();
}

/// Medians of interleaved rounds.
fn ratios() {
    for load in loads() {
        let mut totals = vec![Histogram::new(layout()); load.series];
        let mut baseline = vec![vec![0; 512]; load.series];
        let (mut ours, mut prosts) = (Vec::new(), Vec::new());
        for _ in 0..51 {
            ours.push(timed(|| apply(&load.bytes, &mut totals)));
            prosts.push(timed(|| apply_prost(&load.bytes, &mut baseline)));
        }
        let (ours, prosts) = (median(ours), median(prosts));
        let rate = load.series as f64 / ours.as_secs_f64() / 1e6;
        let ratio = prosts.as_secs_f64() / ours.as_secs_f64();
        println!(
            "{}: {} series in {} bytes; decode and apply {rate:.2} million series/s, {ratio:.2} x prost",
            load.name,
            load.series,
            load.bytes.len(),
        );
    }
}

/// Time of one of 20 runs.
fn timed(mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..20).for_each(|_| run());
    start.elapsed() / 20
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
