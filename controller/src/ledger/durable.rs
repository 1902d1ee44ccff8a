//! The ledger on disk: appends what was applied, writes snapshots beside, and survives a disk that fails.
//!
//! **Invariant**: snapshot *n* is the state at the beginning of log *n*, and on disk there is always a whole snapshot
//! with all logs from its number on, or a mark that what is there is behind.

mod save;

use std::{
    fs::File,
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use gaugeway_aggregate::state::SavePoint;

use super::{
    directory::{Directory, Kind, Name},
    disk::Disk,
    frame,
    header::{self, Identity},
    recovery::Found,
};

/// A log shorter than this is not worth a snapshot.
const LOG_BYTES: u64 = 16 * 1024 * 1024;
/// Every start begins a log; so many are folded into a snapshot whatever their length.
const LOGS: u64 = 16;
/// After a failure, until the next try.
const RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Durable {
    dir: Arc<Directory>,
    disk: Arc<dyn Disk>,
    identity: Identity,
    state: State,
    /// Number of the log that is written, or was when the disk failed.
    number: u64,
    /// Number of the newest whole snapshot.
    snapshot: u64,
    snapshot_bytes: u64,
    log_bytes: u64,
    job: Option<Job>,
    not_before: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Logged(File),
    /// The disk failed: totals are in memory only.
    Degraded(String),
}

/// A snapshot that is being written.
#[derive(Debug)]
struct Job {
    number: u64,
    thread: JoinHandle<io::Result<u64>>,
}

/// What became of a snapshot.
pub(super) type Finished = io::Result<()>;

impl Durable {
    /// Begins a new ledger. If the disk fails, it begins in memory only.
    pub(super) fn begin(
        dir: Directory,
        disk: Arc<dyn Disk>,
        identity: Identity,
        number: u64,
        save_point: &SavePoint,
    ) -> Self {
        let mut durable = Self::new(dir, disk, identity, number);
        if let Err(error) = durable.resume(save_point) {
            durable.degrade(&error);
        }
        durable
    }

    /// Continues a ledger in a log of its own.
    pub(super) fn go_on(
        dir: Directory,
        disk: Arc<dyn Disk>,
        identity: Identity,
        found: &Found,
    ) -> Self {
        let mut durable = Self::new(dir, disk, identity, found.next);
        durable.snapshot = found.snapshot;
        durable.snapshot_bytes = found.snapshot_bytes;
        match durable.continue_chain(found) {
            Ok(log) => durable.state = State::Logged(log),
            Err(error) => durable.degrade(&error),
        }
        durable
    }

    fn new(dir: Directory, disk: Arc<dyn Disk>, identity: Identity, number: u64) -> Self {
        Self {
            dir: Arc::new(dir),
            disk,
            identity,
            state: State::Degraded(String::new()),
            number,
            snapshot: number,
            snapshot_bytes: 0,
            log_bytes: 0,
            job: None,
            not_before: None,
        }
    }

    /// Appends frames. From a failure on, totals are in memory only.
    pub(super) fn append(&mut self, frames: &[u8]) {
        let State::Logged(log) = &mut self.state else {
            return;
        };
        if frames.is_empty() {
            return;
        }
        match self.disk.write(log, frames) {
            Ok(()) => self.log_bytes += frames.len() as u64,
            Err(error) => self.degrade(&error),
        }
    }

    /// Why totals are in memory only.
    pub(super) fn degraded(&self) -> Option<&str> {
        match &self.state {
            State::Logged(_) => None,
            State::Degraded(error) => Some(error),
        }
    }

    /// Length of the log since the last snapshot began.
    pub(super) const fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    /// Whether to call [`Durable::save`] with the present state.
    pub(super) fn wants_save(&self, now: Instant) -> bool {
        let due = self.not_before.is_none_or(|not_before| now >= not_before);
        let long = self.log_bytes > LOG_BYTES.max(self.snapshot_bytes.saturating_mul(2));
        due && self.job.is_none() && (self.degraded().is_some() || long || self.is_many())
    }

    const fn is_many(&self) -> bool {
        self.number - self.snapshot >= LOGS
    }

    /// Begins a snapshot of the state, beside; or, after a failure, tries to begin anew. Everything appended so far
    /// is in `save_point`.
    pub(super) fn save(&mut self, save_point: SavePoint, now: Instant) -> Option<Finished> {
        self.not_before = Some(now + RETRY);
        if self.degraded().is_some() {
            return Some(self.resume(&save_point));
        }
        match self.rotate(save_point) {
            Ok(()) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Folds a long chain of logs into a snapshot before anything is appended: a process that is killed again and
    /// again right after its start would never finish one beside.
    pub(super) fn fold(&mut self, save_point: impl FnOnce() -> SavePoint) -> Option<Finished> {
        if self.degraded().is_some() || !self.is_many() {
            return None;
        }
        Some(self.renew(&save_point()).map(|log| {
            self.state = State::Logged(log);
        }))
    }

    /// Takes note of a snapshot that was finished.
    pub(super) fn poll(&mut self) -> Option<Finished> {
        let job = self.job.take_if(|job| job.thread.is_finished())?;
        Some(self.finish(job))
    }

    /// Writes the last snapshot and closes the log, so that the ledger can be continued even after a restart of the
    /// machine.
    pub(super) fn close(&mut self, save_point: &SavePoint) -> Finished {
        if let Some(job) = self.job.take() {
            let _ = self.finish(job);
        }
        let mut log = self.renew(save_point)?;
        let mut end = Vec::new();
        frame::put(&mut end, &[]);
        self.disk.write(&mut log, &end)?;
        log.sync_all()
    }

    /// Tries to leave the memory.
    fn resume(&mut self, save_point: &SavePoint) -> Finished {
        match self.renew(save_point) {
            Ok(log) => {
                self.state = State::Logged(log);
                self.not_before = None;
                Ok(())
            }
            Err(error) => {
                self.state = State::Degraded(error.to_string());
                Err(error)
            }
        }
    }

    /// Writes everything anew under the next number and removes what was before.
    fn renew(&mut self, save_point: &SavePoint) -> io::Result<File> {
        let number = self.number + 1;
        if self.degraded().is_some() {
            // Behind what was acknowledged: of no use, and its space may be what is missing.
            self.dir
                .remove(|name| name.kind != Kind::Stale && name.number < number)?;
        }
        let log = self.write_generation(number, save_point).inspect_err(|_| {
            // Half a generation could be taken for a whole one.
            let _ = self.dir.remove(|name| name.number == number);
        })?;
        self.number = number;
        self.snapshot = number;
        self.log_bytes = 0;
        // From here on the new generation counts. What cannot be removed costs space; a mark that stays costs the
        // ledger at the next start, which is safe.
        let removed = self.dir.remove(|name| name.number < number);
        if let Err(error) = removed.and_then(|()| self.dir.sync()) {
            tracing::warn!(%error, "old files of the ledger cannot be removed");
        }
        Ok(log)
    }

    fn write_generation(&mut self, number: u64, save_point: &SavePoint) -> io::Result<File> {
        let log = self.create_log(number)?;
        let name = Name::snapshot(number);
        self.snapshot_bytes =
            save::write(&self.dir, &*self.disk, name, &self.identity, save_point)?;
        Ok(log)
    }

    fn continue_chain(&mut self, found: &Found) -> io::Result<File> {
        if let Some((torn, good)) = found.torn {
            let log = File::options().write(true).open(self.dir.of(torn))?;
            log.set_len(good)?;
        }
        self.create_log(found.next)
    }

    fn create_log(&self, number: u64) -> io::Result<File> {
        let name = Name::log(number);
        let mut log = File::create(self.dir.of(name))?;
        self.disk
            .write(&mut log, &header::encode(name, &self.identity))?;
        Ok(log)
    }

    /// Begins the next log and writes the snapshot that belongs to its beginning on a thread of its own.
    fn rotate(&mut self, save_point: SavePoint) -> io::Result<()> {
        let number = self.number + 1;
        let log = self.create_log(number).inspect_err(|_| {
            let _ = self.dir.remove(|name| name == Name::log(number));
        })?;
        self.state = State::Logged(log);
        self.number = number;
        self.log_bytes = 0;
        let (dir, disk) = (Arc::clone(&self.dir), Arc::clone(&self.disk));
        let identity = self.identity.clone();
        let thread = std::thread::Builder::new()
            .name("ledger-snapshot".into())
            .spawn(move || {
                save::write(&dir, &*disk, Name::snapshot(number), &identity, &save_point)
            })?;
        self.job = Some(Job { number, thread });
        Ok(())
    }

    fn finish(&mut self, job: Job) -> Finished {
        let written = job.thread.join();
        let bytes = written.unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))?;
        self.snapshot_bytes = bytes;
        self.not_before = None;
        // The snapshot before stays, should this one turn out to be damaged.
        let before = std::mem::replace(&mut self.snapshot, job.number);
        self.dir.remove(|name| name.number < before)
    }

    fn degrade(&mut self, error: &io::Error) {
        tracing::error!(
            directory = %self.dir.path().display(),
            %error,
            "the ledger's log cannot be written: totals are in memory only, a restart now begins a new ledger; \
             free space or repair the disk, it is tried again every 30 s"
        );
        if let Err(error) = self.dir.mark_stale(self.number) {
            tracing::error!(
                %error,
                "the log cannot be marked as stale either: after a restart now counters may go back"
            );
        }
        self.state = State::Degraded(error.to_string());
        self.not_before = Some(Instant::now() + RETRY);
    }
}
