//! Starting: recovers or begins a ledger, then starts the thread.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use gaugeway_aggregate::{Aggregate, Config, journal};
use gaugeway_wire::{LedgerEpoch, Nanos, UnixNanos};
use tokio::sync::watch;

use super::{
    Durability, LedgerConfig, LedgerHandle, Objects, StartError,
    directory::Directory,
    disk::{Disk, RealDisk},
    durable::Durable,
    frame,
    header::Identity,
    queue::Queue,
    recovery::{self, Found},
    writer::Writer,
};
use crate::telemetry::Telemetry;

/// Starts the ledger: recovers what the state directory holds and starts the writer thread. Blocks while it reads.
///
/// # Errors
/// [`StartError`]. Damaged files are none: they are set aside and reported, and a new ledger begins.
pub fn start(
    config: LedgerConfig,
    objects: Arc<dyn Objects>,
    telemetry: Arc<Telemetry>,
) -> Result<LedgerHandle, StartError> {
    start_on(config, objects, telemetry, Arc::new(RealDisk))
}

pub(super) fn start_on(
    config: LedgerConfig,
    objects: Arc<dyn Objects>,
    telemetry: Arc<Telemetry>,
    disk: Arc<dyn Disk>,
) -> Result<LedgerHandle, StartError> {
    let ledger = open(&config, &telemetry, disk)?;
    let created = std::time::Duration::from_nanos(ledger.aggregate.created().0);
    telemetry.ledger.started.set(created.as_secs_f64());
    let (queue, queued) = Queue::new();
    let durability = Arc::new(Mutex::new(Durability::MemoryOnly));
    let (refusing_told, refusing) = watch::channel(Arc::default());
    // Dropped with the thread, however it ends.
    let (alive, ended) = watch::channel(());
    let handle = LedgerHandle {
        queue,
        durability: Arc::clone(&durability),
        refusing,
        ended,
    };
    let writer = Writer::new(
        ledger,
        config,
        objects,
        telemetry,
        durability,
        refusing_told,
    );
    std::thread::Builder::new()
        .name("ledger".into())
        .spawn(move || {
            let _alive = alive;
            writer.run(queued);
        })
        .map_err(StartError::System)?;
    Ok(handle)
}

/// A ledger and where it is kept.
pub(super) struct Ledger {
    pub(super) aggregate: Aggregate,
    pub(super) epoch: LedgerEpoch,
    pub(super) durable: Option<Durable>,
}

fn open(
    config: &LedgerConfig,
    telemetry: &Telemetry,
    disk: Arc<dyn Disk>,
) -> Result<Ledger, StartError> {
    let now = (config.clock)();
    let Some(path) = &config.state_dir else {
        return Ok(Ledger {
            aggregate: Aggregate::new(config.into(), now),
            epoch: random_epoch()?,
            durable: None,
        });
    };
    let dir = Directory::open(path)?;
    let boot = boot_id();
    let recovery = recovery::recover(&dir, &boot, config.continues.as_ref())
        .map_err(|error| StartError::Directory(path.clone(), error))?;
    telemetry.ledger.set_aside.inc_by(recovery.set_aside);
    let identity = |epoch| Identity {
        epoch,
        owner: config.owner.clone(),
        boot,
    };
    Ok(match recovery.found {
        Some(found) => {
            log_found(path, &found);
            telemetry
                .ledger
                .torn
                .inc_by(u64::from(found.torn.is_some()));
            go_on(dir, disk, identity(found.epoch), found, config, now)
        }
        None => {
            tracing::info!(directory = %path.display(), "a new ledger begins");
            begin(
                dir,
                disk,
                identity(random_epoch()?),
                recovery.highest,
                config,
                now,
            )
        }
    })
}

fn begin(
    dir: Directory,
    disk: Arc<dyn Disk>,
    identity: Identity,
    highest: u64,
    config: &LedgerConfig,
    now: UnixNanos,
) -> Ledger {
    let epoch = identity.epoch;
    let mut aggregate = Aggregate::new(config.into(), now);
    let durable = Durable::begin(dir, disk, identity, highest, &aggregate.save_point(now));
    Ledger {
        aggregate,
        epoch,
        durable: Some(durable),
    }
}

fn go_on(
    dir: Directory,
    disk: Arc<dyn Disk>,
    identity: Identity,
    found: Found,
    config: &LedgerConfig,
    now: UnixNanos,
) -> Ledger {
    let mut durable = Durable::go_on(dir, disk, identity, &found);
    let mut aggregate = found.aggregate;
    let mut told = Config::from(config);
    if config.policies_follow {
        told.layout = aggregate.config().layout.clone();
        told.by_service |= aggregate.config().by_service;
    }
    if told != *aggregate.config() {
        let (mut record, mut framed) = (Vec::new(), Vec::new());
        journal::configured(&mut record, &told, now);
        frame::put(&mut framed, &record);
        aggregate.configure(told);
        durable.append(&framed);
    }
    if let Some(Err(error)) = durable.fold(|| aggregate.save_point(now)) {
        tracing::error!(%error, "a snapshot of the ledger could not be written; it is tried again");
    }
    Ledger {
        aggregate,
        epoch: found.epoch,
        durable: Some(durable),
    }
}

fn log_found(path: &Path, found: &Found) {
    if let Some((log, good)) = found.torn {
        tracing::warn!(
            file = %path.join(log.to_string()).display(),
            good_bytes = good,
            "cut the unfinished end off the ledger's log; it was never acknowledged"
        );
    }
    tracing::info!(
        directory = %path.display(),
        series = found.aggregate.series_len(),
        owner = %found.owner,
        "continue the ledger"
    );
}

impl From<&LedgerConfig> for Config {
    fn from(config: &LedgerConfig) -> Self {
        let expiry = config.series_expiry.as_nanos();
        Self {
            layout: config.shape.layout.clone(),
            max_series: config.max_series,
            series_expiry: Nanos(u64::try_from(expiry).unwrap_or(u64::MAX)),
            by_service: config.shape.by_service,
        }
    }
}

/// Never 0, which means that a filter knows of no ledger.
fn random_epoch() -> Result<LedgerEpoch, StartError> {
    let random = getrandom::u64().map_err(|error| StartError::System(io::Error::other(error)))?;
    Ok(LedgerEpoch(random.max(1)))
}

/// Names the machine's present boot; empty where the system has no name for it.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
