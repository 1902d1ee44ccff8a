//! What a controller finds in its state directory: any bytes in any file of it.
//!
//! The law: it starts, and what it shows then it shows again after the next start: nothing is half believed, counters
//! never go back.

use std::{cell::OnceCell, fs, path::Path, sync::Arc, time::Duration};

use gaugeway_aggregate::{DataplaneUrls, Exposition, Liveness, Maker, Reach, Request};
use gaugeway_controller::{
    Telemetry,
    ledger::{self, LedgerConfig, LedgerHandle, Owner, Scraper, Shape, Tenure},
};
use gaugeway_wire::{GatewayName, Generation, Policy, Target, UnixNanos};

use crate::{input::Input, seeds};

/// Everybody may report everything.
struct Anything;

impl Reach for Anything {
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

impl Liveness for Anything {
    fn is_live(&self, _: &Target) -> bool {
        true
    }
}

type Files = Vec<(String, Vec<u8>)>;

thread_local! {
    /// A directory that a controller left behind when it was killed.
    static LEFT: OnceCell<Files> = const { OnceCell::new() };
}

/// The first byte chooses a file, and whether the rest is its bytes or records behind its own, well framed.
pub(crate) fn recovery(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let mut files = left();
    let at = usize::from(choice / 2) % files.len();
    match choice % 2 {
        0 => files[at].1 = input.rest().to_vec(),
        _ => loop {
            let record = input.text();
            if record.is_empty() {
                break;
            }
            frame(&mut files[at].1, record);
        },
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in &files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let shown = start_show_stop(dir.path());
    assert_eq!(start_show_stop(dir.path()), shown);
    shown.contains("gaugeway_upstream_requests_total{")
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let files = left();
    let whole = files.iter().zip(0..).map(|((_, bytes), at): (_, u8)| {
        let mut seed = vec![2 * at];
        seed.extend(bytes);
        seed
    });
    whole.chain([vec![1], vec![3]]).collect()
}

/// As the ledger frames its records.
fn frame(out: &mut Vec<u8>, record: &[u8]) {
    let length = u32::try_from(record.len()).unwrap().to_le_bytes();
    out.extend(length);
    out.extend(crc32fast::hash(&length).to_le_bytes());
    out.extend(crc32fast::hash(record).to_le_bytes());
    out.extend(record);
}

fn left() -> Files {
    LEFT.with(|left| left.get_or_init(leave).clone())
}

fn leave() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let killed = tempfile::tempdir().unwrap();
    let copy = |to: &Path| {
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    let gateway = GatewayName::try_new("demo/edge").unwrap();
    block_on(async {
        let handle = start(dir.path());
        let call = seeds::report_call().remove(0);
        handle.report(gateway, call.into()).await.unwrap();
        copy(killed.path());
        handle.stop().await;
    });
    let mut files: Files = fs::read_dir(killed.path())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
    files.sort();
    files
}

fn start(dir: &Path) -> LedgerHandle {
    let config = LedgerConfig {
        state_dir: Some(dir.to_owned()),
        owner: Owner::sole(),
        continues: Some(Owner::sole()),
        tenure: Tenure::unlimited(),
        shape: Shape {
            layout: Policy::default().layout(),
            by_service: true,
        },
        policies_follow: false,
        max_series: 100,
        series_expiry: Duration::from_secs(300),
        kong: DataplaneUrls(Arc::new(|gateway, _, _| Some(gateway.as_str().to_owned()))),
        clock: Arc::new(|| UnixNanos(1_800_000_000_000_000_000)),
    };
    let telemetry = Telemetry::try_new("0").unwrap();
    ledger::start(config, Arc::new(Anything), telemetry).unwrap()
}

/// What the totals show.
fn start_show_stop(dir: &Path) -> String {
    block_on(async {
        let handle = start(dir);
        let scrape = handle.scrape(Scraper("fuzz".into())).await.unwrap();
        let mut out = Vec::new();
        let request = Request {
            view: scrape.view,
            ..Request::default()
        };
        Exposition::new(scrape.snapshot, request)
            .write_to(&mut out)
            .unwrap();
        handle.stop().await;
        handle.ended().await;
        String::from_utf8(out).unwrap()
    })
}

fn block_on<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(what)
}
