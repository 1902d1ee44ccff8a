//! Speed of ingest, per core, in memory: reports are decoded, checked and applied to 10,000 series.
//! Budget: 1,000,000 series updates a second.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    dead_code,
    reason = "it measures time and says so"
)]

#[path = "common/shop.rs"]
mod shop;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput};
use gaugeway_aggregate::Aggregate;
use gaugeway_wire::{Nanos, Report, UnixNanos};
use shop::{All, Counted, NOW, Random};

const SERIES: usize = 10_000;
/// Requests per series and report.
const SAMPLES: usize = 20;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args();
    let counted = shop::counted(0..SERIES, SAMPLES, &mut Random(1));
    let mut group = criterion.benchmark_group("ingest");
    let mut load = Load::new(&counted);
    group.throughput(Throughput::Elements(load.series_per_round as u64));
    group.bench_function("decode and apply", |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| load.round(false)).sum());
    });
    group.bench_function("decode and apply, a snapshot held at every round", |b| {
        b.iter_custom(|rounds| (0..rounds).map(|_| load.round(true)).sum());
    });
    group.finish();
    let mut wide = shop::aggregate(50_000);
    fill(&mut wide, 50_000);
    criterion.bench_function("snapshot of 50,000 series", |b| {
        b.iter(|| wide.snapshot(NOW));
    });
    criterion.bench_function("save point of 50,000 series", |b| {
        b.iter(|| wide.save_point(NOW));
    });
    criterion.final_summary();
    summary(&counted);
}

/// Reports of one VM over all series, again and again.
struct Load<'a> {
    aggregate: Aggregate,
    counted: &'a [Counted],
    seq: u64,
    /// Rounds follow on each other every 5 s, as reports do.
    now: UnixNanos,
    series_per_round: usize,
}

impl<'a> Load<'a> {
    fn new(counted: &'a [Counted]) -> Self {
        Self {
            aggregate: shop::aggregate(SERIES),
            counted,
            seq: 0,
            now: NOW,
            series_per_round: counted.len(),
        }
    }

    /// Processor time to take one report after the other until every series was updated once.
    fn round(&mut self, hold: bool) -> Duration {
        let mut reports = Vec::new();
        self.now = self.now.plus(Nanos(5_000_000_000));
        let mut left = self.counted;
        while !left.is_empty() {
            self.seq += 1;
            let (bytes, fits) = shop::report(1, self.seq, left, self.now);
            reports.push(bytes);
            left = &left[fits..];
        }
        let (now, aggregate) = (self.now, &mut self.aggregate);
        let held = hold.then(|| aggregate.snapshot(now));
        let gateway = shop::gateway();
        let spent = shop::cpu(|| {
            for bytes in &reports {
                let report = Report::decode(bytes).unwrap();
                black_box(aggregate.apply(&gateway, &report, &All, now).unwrap());
            }
        });
        drop(held);
        Duration::from_secs_f64(spent)
    }
}

fn fill(aggregate: &mut Aggregate, series: usize) {
    let counted = shop::counted(0..series, SAMPLES, &mut Random(2));
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
}

/// With and without windows in turn: each round of one is followed by one of the other.
fn summary(counted: &[Counted]) {
    let mut loads = [(); 3].map(|()| Load::new(counted));
    loads[2].aggregate.begin();
    let mut best = [Duration::MAX; 3];
    // Five minutes of rounds, until windows hold all they will.
    for round in 0..150 {
        for (at, load) in loads.iter_mut().enumerate() {
            let took = load.round(at == 1);
            if round >= 70 {
                best[at] = best[at].min(took);
            }
        }
    }
    let hows = [
        "in memory",
        "while a scrape holds a snapshot",
        "in memory, with windows",
    ];
    for (how, best) in hows.into_iter().zip(best) {
        let rate = counted.len() as f64 / best.as_secs_f64();
        println!(
            "ingest, {how}: {:.2} million series updates a second",
            rate / 1e6
        );
    }
    let [_, _, windows] = &loads;
    let held = windows
        .aggregate
        .recent()
        .map_or(0, |recent| recent.bytes());
    println!("windows hold {:.1} MiB", held as f64 / 1048576.0);
}
