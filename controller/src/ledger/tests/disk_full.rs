//! A disk that fails.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::rig::*;
use crate::ledger::{Durability, Owner, disk::Disk};

/// Takes so many bytes, then is full, in the middle of a write.
#[derive(Debug)]
struct SmallDisk {
    room: AtomicU64,
}

impl SmallDisk {
    fn new(room: u64) -> Arc<Self> {
        Arc::new(Self { room: room.into() })
    }
}

impl Disk for SmallDisk {
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst);
        let fits = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        file.write_all(&bytes[..fits])?;
        self.room.fetch_sub(fits as u64, Ordering::SeqCst);
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn start_small(dir: &Path, world: &Arc<World>, disk: &Arc<SmallDisk>) -> Ledger {
    start_with(config(Some(dir), world), world, Arc::clone(disk) as _)
}

#[tokio::test]
async fn a_full_disk_costs_durability_and_nothing_else() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let disk = SmallDisk::new(1500);
    let ledger = start_small(dir.path(), &world, &disk);
    assert_eq!(ledger.handle.durability(), Durability::Logged);
    let first = ledger.report(call(1, 1, &[("a", 1)])).await;
    for seq in 2..=20 {
        ledger.report(call(1, seq, &[("a", 1)])).await;
        assert_eq!(ledger.requests().await, seq);
    }
    assert!(matches!(
        ledger.handle.durability(),
        Durability::Degraded(_)
    ));
    assert_eq!(ledger.telemetry.ledger.degraded.get(), 1);

    let behind = copy(dir.path());
    let after = start(Some(behind.path()), &world);
    let fresh = after.report(call(1, 21, &[("a", 1)])).await;
    assert_ne!(
        fresh.ledger_epoch, first.ledger_epoch,
        "what is on disk is behind: a new ledger"
    );
    assert_eq!(after.requests().await, 1);
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start() {
    for room in [0, 10, 60, 100, 200] {
        let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
        let ledger = start_small(dir.path(), &world, &SmallDisk::new(room));
        assert!(
            matches!(ledger.handle.durability(), Durability::Degraded(_)),
            "{room}"
        );
        ledger.report(call(1, 1, &[("a", 1)])).await;
        assert_eq!(ledger.requests().await, 1);
        let killed = copy(dir.path());
        let after = start(Some(killed.path()), &world);
        assert_eq!(after.requests().await, 0);
        assert_eq!(after.handle.durability(), Durability::Logged);
    }
}

/// Bytes all over the first files at which the disk is full, without the thread.
#[test]
fn whatever_the_byte_a_full_disk_is_marked_and_later_left() {
    use gaugeway_aggregate::{Aggregate, Config};
    use gaugeway_wire::LedgerEpoch;

    use crate::ledger::{directory::Directory, durable::Durable, frame, header::Identity};

    let world = World::new();
    let mut record = Vec::new();
    frame::put(&mut record, b"record");
    for room in (0..600).step_by(7) {
        let dir = tempfile::tempdir().unwrap();
        let mut aggregate = Aggregate::new(Config::from(&config(None, &world)), world.now());
        let save_point = aggregate.save_point(world.now());
        let identity = Identity {
            epoch: LedgerEpoch(1),
            owner: Owner::sole(),
            boot: boot(),
        };
        let disk = SmallDisk::new(room);
        let directory = Directory::open(dir.path()).unwrap();
        let disk_of = Arc::clone(&disk) as Arc<dyn Disk>;
        let mut durable = Durable::begin(directory, disk_of, identity, 0, &save_point);
        for _ in 0..30 {
            durable.append(&record);
        }
        assert!(durable.degraded().is_some(), "{room}");
        let now = Instant::now();
        assert!(!durable.wants_save(now), "not at once");
        let later = now + Duration::from_secs(31);
        assert!(durable.wants_save(later));
        assert!(
            durable
                .save(aggregate.save_point(world.now()), later)
                .unwrap()
                .is_err()
        );
        assert!(
            recover(copy(dir.path()).path(), &boot()).found.is_none(),
            "{room}"
        );
        disk.room.store(1_000_000, Ordering::SeqCst);
        durable
            .save(aggregate.save_point(world.now()), later)
            .unwrap()
            .unwrap();
        assert!(durable.degraded().is_none());
        let found = recover(copy(dir.path()).path(), &boot()).found.unwrap();
        assert_eq!(found.epoch, LedgerEpoch(1), "{room}");
    }
}

#[tokio::test]
async fn a_log_on_a_device_that_is_full() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    if !Path::new("/dev/full").exists() {
        return;
    }
    /// Writes to `/dev/full` instead of logs.
    #[derive(Debug)]
    struct Full;
    impl Disk for Full {
        fn write(&self, _: &mut File, bytes: &[u8]) -> io::Result<()> {
            File::options()
                .write(true)
                .open("/dev/full")?
                .write_all(bytes)
        }
    }
    let ledger = start_with(config(Some(dir.path()), &world), &world, Arc::new(Full));
    ledger.report(call(1, 1, &[("a", 1)])).await;
    let Durability::Degraded(error) = ledger.handle.durability() else {
        panic!("not degraded");
    };
    assert!(error.contains("No space left"), "{error}");
}
