//! What the ledger's tests share: a world to ask, reports to send, and the whole state as bytes.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use gaugeway_aggregate::{Aggregate, DataplaneUrls, Exposition, Liveness, Maker, Reach, Request};
use gaugeway_wire::{
    CodeClass, Fingerprint, GatewayName, Generation, Label, Layout, Nanos, Outcome, Policy,
    ReportCall, RequestClass, Seq, Target, TargetDefinition, TargetKind, UnixNanos, VmId,
    histogram::{bucket_index, classic_position},
    report::{ReportWriter, SeriesCounts},
    target::names,
};

use crate::{
    Telemetry,
    lease::Tenure,
    ledger::{
        LedgerConfig, LedgerHandle, Owner, ReportOutcome, Scraper, Shape,
        directory::Directory,
        disk::{Disk, RealDisk},
        start::start_on,
    },
};

/// Simulated clock and index.
#[derive(Debug)]
pub(super) struct World {
    now: AtomicU64,
    pub(super) synced: AtomicBool,
    pub(super) reachable: AtomicBool,
    pub(super) live: AtomicBool,
    /// Of the only policy; 0 for none.
    pub(super) max_series: AtomicUsize,
}

/// The only policy's name.
pub(super) const POLICY: &str = "LatencyPolicy shop/p";

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            now: AtomicU64::new(1_800_000_000_000_000_000),
            synced: AtomicBool::new(true),
            reachable: AtomicBool::new(true),
            live: AtomicBool::new(true),
            max_series: AtomicUsize::new(0),
        })
    }

    pub(super) fn now(&self) -> UnixNanos {
        UnixNanos(self.now.load(Ordering::SeqCst))
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.now
            .fetch_add(seconds * 1_000_000_000, Ordering::SeqCst);
    }
}

impl Reach for World {
    fn generation(&self) -> Option<Generation> {
        let generation = u64::from(self.reachable.load(Ordering::SeqCst));
        self.synced
            .load(Ordering::SeqCst)
            .then_some(Generation(generation))
    }

    fn allows(&self, _: &GatewayName, _: &Target) -> bool {
        self.reachable.load(Ordering::SeqCst)
    }

    fn maker(&self, _: &GatewayName, _: &Target) -> Option<Maker> {
        let max = self.max_series.load(Ordering::SeqCst);
        Some(Maker {
            name: POLICY.into(),
            max_series: (max > 0).then_some(max),
        })
    }
}

impl Liveness for World {
    fn is_live(&self, _: &Target) -> bool {
        self.live.load(Ordering::SeqCst)
    }
}

/// A controller's ledger under test.
pub(super) struct Ledger {
    pub(super) handle: LedgerHandle,
    pub(super) telemetry: Arc<Telemetry>,
}

pub(super) fn config(dir: Option<&Path>, world: &Arc<World>) -> LedgerConfig {
    let world = Arc::clone(world);
    LedgerConfig {
        state_dir: dir.map(Path::to_owned),
        owner: Owner::sole(),
        continues: Some(Owner::sole()),
        tenure: Tenure::unlimited(),
        shape: Shape {
            layout: Policy::default().layout(),
            by_service: false,
        },
        policies_follow: false,
        max_series: 1000,
        series_expiry: Duration::from_secs(300),
        kong: DataplaneUrls(Arc::new(|_, _, _| None)),
        clock: Arc::new(move || world.now()),
    }
}

pub(super) fn start(dir: Option<&Path>, world: &Arc<World>) -> Ledger {
    start_with(config(dir, world), world, Arc::new(RealDisk))
}

pub(super) fn start_with(config: LedgerConfig, world: &Arc<World>, disk: Arc<dyn Disk>) -> Ledger {
    let telemetry = Telemetry::try_new("test").unwrap();
    let objects = Arc::clone(world);
    let handle = start_on(config, objects, Arc::clone(&telemetry), disk).unwrap();
    Ledger { handle, telemetry }
}

impl Ledger {
    pub(super) async fn report(&self, call: Bytes) -> ReportOutcome {
        self.handle.report(gateway(), call).await.unwrap()
    }

    pub(super) fn overflowed(&self, reason: &str) -> u64 {
        let counter = &self.telemetry.ledger.overflow_requests;
        counter.with_label_values(&[reason]).get()
    }

    /// The exposition for a scraper that was never seen.
    pub(super) async fn text(&self) -> String {
        self.text_for("nobody", false).await
    }

    pub(super) async fn text_for(&self, scraper: &str, delivered: bool) -> String {
        let scraper = Scraper(scraper.into());
        let scrape = self.handle.scrape(scraper.clone()).await.unwrap();
        let change = scrape.snapshot.change;
        let mut out = Vec::new();
        let request = Request {
            view: scrape.view,
            kong: scrape.kong,
            ..Request::default()
        };
        Exposition::new(scrape.snapshot, request)
            .write_to(&mut out)
            .unwrap();
        if delivered {
            self.handle.delivered(scraper, change);
        }
        String::from_utf8(out).unwrap()
    }

    /// Sum of `gaugeway_upstream_requests_total` over all series.
    pub(super) async fn requests(&self) -> u64 {
        requests(&self.text().await)
    }
}

pub(super) fn requests(text: &str) -> u64 {
    let of = |line: &str| line.starts_with("gaugeway_upstream_requests_total{");
    let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
    text.lines().filter(|line| of(line)).map(value).sum()
}

pub(super) fn gateway() -> GatewayName {
    GatewayName::try_new("demo/edge").unwrap()
}

pub(super) fn target(pod: &str) -> Target {
    let label = |name: &str, value: &str| Label {
        name: name.to_owned().into(),
        value: value.into(),
    };
    let labels = vec![
        label(names::NAMESPACE, "shop"),
        label(names::SERVICE, "cart"),
        label(names::POD, pod),
    ];
    Target::try_new(TargetKind::Kubernetes, labels).unwrap()
}

/// A report of `count` requests of 7 ms each, per target.
pub(super) fn report_of(
    vm: u8,
    seq: u64,
    layout: &Layout,
    counts: &[(Fingerprint, u64)],
) -> Vec<u8> {
    let from = UnixNanos(1_000_000_000);
    let latency = Nanos::from_millis(7);
    let class = RequestClass {
        outcome: Outcome::Response,
        code: CodeClass::Success,
    };
    let native = bucket_index(layout.schema, latency).unwrap();
    let classic = classic_position(&layout.bounds, latency);
    let mut writer = ReportWriter::new(Vec::new(), VmId([vm; 16]), Seq(seq), from, layout);
    for &(target, count) in counts {
        let counts = SeriesCounts {
            target,
            route: "",
            requests: [(class, count)].into_iter(),
            native: [(native, count)].into_iter(),
            classic: [(classic, count)].into_iter(),
            zero_count: 0,
            sum: Nanos(latency.0 * count),
            retries: 1,
            aborted: 0,
            latency_unknown: 0,
            cancelled_wait: Nanos(0),
        };
        assert!(writer.series(counts));
    }
    writer.finish(UnixNanos(6_000_000_000))
}

/// A call with one report and the definitions of its targets.
pub(super) fn call(vm: u8, seq: u64, counts: &[(&str, u64)]) -> Bytes {
    call_with(vm, seq, counts, true)
}

pub(super) fn call_with(vm: u8, seq: u64, counts: &[(&str, u64)], define: bool) -> Bytes {
    let targets: Vec<_> = counts.iter().map(|(pod, _)| target(pod)).collect();
    let fingerprints = targets.iter().map(Target::fingerprint);
    let pairs: Vec<_> = fingerprints.zip(counts.iter().map(|(_, n)| *n)).collect();
    let report = report_of(vm, seq, &Policy::default().layout(), &pairs);
    let encoded: Vec<_> = targets.iter().map(Target::encode).collect();
    let definitions = pairs
        .iter()
        .zip(&encoded)
        .map(|((fingerprint, _), target)| TargetDefinition {
            fingerprint: *fingerprint,
            target,
        });
    let mut out = Vec::new();
    let take = if define { usize::MAX } else { 0 };
    ReportCall::encode(&report, definitions.take(take), None, &mut out);
    out.into()
}

/// What a killed process would leave behind now.
pub(super) fn copy(dir: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

/// Files of a kind, ascending.
pub(super) fn files(dir: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(prefix)
        })
        .collect();
    files.sort();
    files
}

/// The whole state, independent of the order of tables.
pub(super) fn state(aggregate: &mut Aggregate) -> BTreeSet<Vec<u8>> {
    let mut records = BTreeSet::new();
    aggregate
        .save_point(UnixNanos(0))
        .write(|record| {
            records.insert(record.to_vec());
            Ok::<_, ()>(())
        })
        .unwrap();
    records
}

/// What the directory says, without starting a ledger.
pub(super) fn recover(dir: &Path, boot: &str) -> crate::ledger::recovery::Recovery {
    let dir = Directory::open(dir).unwrap();
    crate::ledger::recovery::recover(&dir, boot, Some(&Owner::sole())).unwrap()
}

pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}
