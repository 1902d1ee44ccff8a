//! A shop under load: targets, and reports of what its worker VMs counted.

use std::time::Duration;

use gaugeway_aggregate::{Aggregate, Config, Liveness, Maker, Reach};
use gaugeway_wire::{
    CodeClass, GatewayName, Generation, Histogram, Label, Layout, Nanos, Outcome, Policy,
    RequestClass, Seq, Target, TargetDefinition, TargetKind, UnixNanos, VmId,
    report::{ReportWriter, SeriesCounts},
    target::names,
};

pub(crate) const NOW: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

/// Everything is reached and lives.
pub(crate) struct All;

impl Reach for All {
    fn generation(&self) -> Option<Generation> {
        Some(Generation(1))
    }

    fn allows(&self, _: &GatewayName, _: &Target) -> bool {
        true
    }

    fn maker(&self, _: &GatewayName, _: &Target) -> Option<Maker> {
        None
    }
}

impl Liveness for All {
    fn is_live(&self, _: &Target) -> bool {
        true
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Around 10 ms, long-tailed: 1 ms to 1 s.
    pub(crate) fn latency(&mut self) -> Nanos {
        let base = 1_000_000 << self.below(4);
        let tail = if self.below(20) == 0 { 60 } else { 1 };
        Nanos((base + self.below(base)) * tail)
    }
}

/// Label values of series `n`: namespace, Service, port, Pod.
pub(crate) fn labels(n: usize) -> [(&'static str, String); 4] {
    let service = n / 5;
    [
        (names::NAMESPACE, format!("team-{}", service % 40)),
        (
            names::POD,
            format!("checkout-{service}-7d9f8b6c5d-x{:04}", n % 10_000),
        ),
        (names::SERVICE, format!("checkout-{service}")),
        (names::SERVICE_PORT, "http".to_owned()),
    ]
}

pub(crate) fn target(n: usize) -> Target {
    let label = |(name, value): (&'static str, String)| Label {
        name: name.into(),
        value,
    };
    let labels = labels(n).into_iter().map(label).collect();
    Target::try_new(TargetKind::Kubernetes, labels).unwrap()
}

pub(crate) fn gateway() -> GatewayName {
    GatewayName::try_new("demo/edge").unwrap()
}

pub(crate) fn layout() -> Layout {
    Policy::default().layout()
}

/// With `series` targets defined.
pub(crate) fn aggregate(series: usize) -> Aggregate {
    let config = Config {
        layout: layout(),
        max_series: 1_000_000,
        series_expiry: Nanos(300_000_000_000),
        by_service: false,
    };
    let mut aggregate = Aggregate::new(config, NOW);
    for n in 0..series {
        let target = target(n);
        let encoded = target.encode();
        let definition = TargetDefinition {
            fingerprint: target.fingerprint(),
            target: &encoded,
        };
        aggregate
            .define(&gateway(), &definition, &All, NOW)
            .unwrap();
    }
    aggregate
}

/// What one VM counted for one target.
pub(crate) struct Counted {
    pub(crate) target: Target,
    pub(crate) latency: Histogram,
}

/// `samples` requests for each of the targets.
pub(crate) fn counted(
    range: std::ops::Range<usize>,
    samples: usize,
    random: &mut Random,
) -> Vec<Counted> {
    let one = |n| {
        let mut latency = Histogram::new(layout());
        (0..samples).for_each(|_| latency.record(random.latency()));
        Counted {
            target: target(n),
            latency,
        }
    };
    range.map(one).collect()
}

/// Writes as much as fits into one report; says how much that is.
pub(crate) fn report(vm: u8, seq: u64, counted: &[Counted], now: UnixNanos) -> (Vec<u8>, usize) {
    let from = UnixNanos(now.0 - 5_000_000_000);
    let ok = RequestClass {
        outcome: Outcome::Response,
        code: CodeClass::Success,
    };
    let mut writer = ReportWriter::new(Vec::new(), VmId([vm; 16]), Seq(seq), from, &layout());
    let fits = counted
        .iter()
        .take_while(|of| {
            let classic = of.latency.classic().enumerate();
            writer.series(SeriesCounts {
                target: of.target.fingerprint(),
                route: "",
                requests: [(ok, of.latency.count())].into_iter(),
                native: of.latency.native().collect::<Vec<_>>().into_iter(),
                classic: classic.filter(|(_, count)| *count > 0),
                zero_count: of.latency.zero_count(),
                sum: Nanos(u64::try_from(of.latency.sum_ns()).unwrap()),
                retries: 0,
                aborted: 0,
                latency_unknown: 0,
                cancelled_wait: Nanos(0),
            })
        })
        .count();
    (writer.finish(now), fits)
}

/// Processor time that work takes on this thread, in seconds: other load on the machine does not count.
pub(crate) fn cpu(work: impl FnOnce()) -> f64 {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap(),
        )
    };
    let started = now();
    work();
    (now() - started).as_secs_f64()
}
