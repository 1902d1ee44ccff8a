//! What the tests share: an index that says what it is told, reports, and the whole state as bytes.

use std::{cell::Cell, collections::BTreeSet, sync::Arc};

use gaugeway_wire::{
    CodeClass, Fingerprint, GatewayName, Generation, Label, Layout, Nanos, Outcome, Policy, Report,
    RequestClass, Seq, Target, TargetDefinition, TargetKind, UnixNanos, VmId,
    histogram::{bucket_index, classic_position},
    report::{ReportWriter, SeriesCounts},
    target::names,
};

use crate::{
    Aggregate, Config, DataplaneUrls, Exposition, Liveness, Maker, Reach, Request, View,
    units::seconds,
};

pub(super) const START: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

/// An index.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) generation: Cell<Option<u64>>,
    pub(super) reaches: Cell<bool>,
    pub(super) live: Cell<bool>,
    /// Of policies `p0` and `p1`, which make the series of Services `s0` and `s1`.
    pub(super) bounds: Cell<[Option<usize>; 2]>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            generation: Cell::new(Some(1)),
            reaches: Cell::new(true),
            live: Cell::new(true),
            bounds: Cell::new([None; 2]),
        }
    }
}

impl Reach for Index {
    fn generation(&self) -> Option<Generation> {
        self.generation.get().map(Generation)
    }

    fn allows(&self, _: &GatewayName, _: &Target) -> bool {
        self.reaches.get()
    }

    fn maker(&self, _: &GatewayName, target: &Target) -> Option<Maker> {
        let of = match target.label(names::SERVICE)? {
            "s0" => 0,
            "s1" => 1,
            _ => return None,
        };
        Some(Maker {
            name: format!("p{of}").into(),
            max_series: self.bounds.get()[of],
        })
    }
}

impl Liveness for Index {
    fn is_live(&self, _: &Target) -> bool {
        self.live.get()
    }
}

/// One series of a report: requests of one class, each with the same latency (or none).
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) target: Target,
    pub(super) route: &'static str,
    pub(super) class: RequestClass,
    pub(super) count: u64,
    pub(super) latency: Nanos,
}

impl Line {
    pub(super) fn new(target: Target, count: u64) -> Self {
        Self {
            target,
            route: "",
            class: OK,
            count,
            latency: Nanos::from_millis(7),
        }
    }
}

pub(super) const OK: RequestClass = RequestClass {
    outcome: Outcome::Response,
    code: CodeClass::Success,
};

pub(super) fn config() -> Config {
    Config {
        layout: Policy::default().layout(),
        max_series: 1000,
        series_expiry: seconds(300),
        by_service: true,
    }
}

pub(super) fn gateway(name: &str) -> GatewayName {
    GatewayName::try_new(name).unwrap()
}

pub(super) fn target(kind: TargetKind, labels: &[(&str, &str)]) -> Target {
    let label = |&(name, value): &(&str, &str)| Label {
        name: name.to_owned().into(),
        value: value.into(),
    };
    Target::try_new(kind, labels.iter().map(label).collect()).unwrap()
}

pub(super) fn pod(service: &str, pod: &str) -> Target {
    let labels = [
        (names::NAMESPACE, "shop"),
        (names::SERVICE, service),
        (names::POD, pod),
    ];
    target(TargetKind::Kubernetes, &labels)
}

pub(super) fn report(vm: u8, seq: u64, layout: &Layout, lines: &[Line]) -> Vec<u8> {
    let from = UnixNanos(START.0 - 5_000_000_000);
    let mut writer = ReportWriter::new(Vec::new(), VmId([vm; 16]), Seq(seq), from, layout);
    for line in lines {
        assert!(writer.series(counts(layout, line)));
    }
    writer.finish(START)
}

fn counts<'a>(
    layout: &Layout,
    line: &'a Line,
) -> SeriesCounts<
    'a,
    impl Iterator<Item = (RequestClass, u64)> + Clone + use<'a>,
    impl Iterator<Item = (i32, u64)> + Clone + use<'a>,
    impl Iterator<Item = (usize, u64)> + Clone + use<'a>,
> {
    let recorded = line.class.outcome.has_latency();
    let samples = if recorded { line.count } else { 0 };
    let index = bucket_index(layout.schema, line.latency).filter(|_| samples > 0);
    let zero = if index.is_none() { samples } else { 0 };
    let position = Some(classic_position(&layout.bounds, line.latency)).filter(|_| samples > 0);
    let waited = if line.class.outcome == Outcome::Cancelled {
        line.latency.0 * line.count
    } else {
        0
    };
    SeriesCounts {
        target: line.target.fingerprint(),
        route: line.route,
        requests: [(line.class, line.count)].into_iter(),
        native: index.map(|index| (index, samples)).into_iter(),
        classic: position.map(|position| (position, samples)).into_iter(),
        zero_count: zero,
        sum: Nanos(line.latency.0 * samples),
        retries: line.count % 3,
        aborted: line.count % 2,
        latency_unknown: line.count % 5,
        cancelled_wait: Nanos(waited),
    }
}

/// Applies a report and says how.
pub(super) fn apply(
    to: &mut Aggregate,
    gateway: &GatewayName,
    bytes: &[u8],
    index: &Index,
    now: UnixNanos,
) -> Result<crate::Applied, crate::Refused> {
    to.apply(gateway, &Report::decode(bytes).unwrap(), index, now)
}

pub(super) fn define(
    to: &mut Aggregate,
    gateway: &GatewayName,
    target: &Target,
    index: &Index,
    now: UnixNanos,
) -> Result<crate::Defined, crate::DefineError> {
    let encoded = target.encode();
    let definition = TargetDefinition {
        fingerprint: Fingerprint::of(&encoded),
        target: &encoded,
    };
    to.define(gateway, &definition, index, now)
}

/// The exposition for a scraper that was never seen.
pub(super) fn text(of: &mut Aggregate) -> String {
    text_as(of, View::default())
}

pub(super) fn text_as(of: &mut Aggregate, view: View) -> String {
    let request = Request {
        view,
        kong: Some(urls()),
        ..Request::default()
    };
    String::from_utf8(exposed(of, request)).unwrap()
}

pub(super) fn urls() -> DataplaneUrls {
    DataplaneUrls(Arc::new(|gateway, _, _| {
        Some(format!("http://{gateway}:8100"))
    }))
}

pub(super) fn exposed(of: &mut Aggregate, request: Request) -> Vec<u8> {
    let mut out = Vec::new();
    Exposition::new(of.snapshot(START), request)
        .write_to(&mut out)
        .unwrap();
    out
}

/// Compares with a frozen file; one that differs is written where it can be taken from, if the change is meant.
pub(super) fn assert_frozen(name: &str, shown: &[u8], frozen: &[u8]) {
    if shown != frozen {
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, shown).unwrap();
        panic!("tests/golden/{name} differs; if that is meant, copy {path:?} there");
    }
}

/// Sum of `gaugeway_upstream_requests_total` over all series.
pub(super) fn requests(text: &str) -> u64 {
    let of = |line: &&str| line.starts_with("gaugeway_upstream_requests_total{");
    let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
    text.lines().filter(of).map(value).sum()
}

/// The whole state, independent of the order of tables.
pub(super) fn state(of: &mut Aggregate) -> BTreeSet<Vec<u8>> {
    records(of).into_iter().collect()
}

pub(super) fn records(of: &mut Aggregate) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    of.save_point(START)
        .write(|record| {
            records.push(record.to_vec());
            Ok::<_, ()>(())
        })
        .unwrap();
    records
}
