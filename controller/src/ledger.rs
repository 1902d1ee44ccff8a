//! The ledger's shell: a dedicated writer thread that owns the aggregate, its log and its snapshots.
//!
//! Reports are taken in batches: decoded, applied, written to the log with one `write(2)`, and only then answered; what
//! a scrape shows is in the log too. No fsync per batch: a killed process loses nothing that it has written.
//!
//! A log of our own, because the ledger needs append, replay and an atomic snapshot of one value: an embedded store
//! (redb, fjall, SQLite) would keep every series a second time, pay a tree update per series instead of one append
//! per batch, and would still leave what a damaged or full disk means to the totals for us to decide.

mod directory;
mod disk;
mod durable;
mod frame;
mod header;
mod queue;
mod recent;
mod recovery;
mod start;
mod writer;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use gaugeway_aggregate::{ChangeNumber, DataplaneUrls, Liveness, Reach, Refused, Snapshot, View};
use gaugeway_wire::{
    DecodeError, Fingerprint, GatewayName, Layout, LedgerEpoch, MappingRequest, Nanos, Seq,
    UnixNanos,
};
use queue::Queue;
pub(crate) use recent::{Question, Recently, Wanted};
pub use start::start;
use tokio::sync::{oneshot, watch};
use writer::Command;

pub use crate::lease::Tenure;

/// What the ledger is told.
#[derive(Clone)]
pub struct LedgerConfig {
    /// Where log and snapshots live; `None` keeps the totals in memory only.
    pub state_dir: Option<PathBuf>,
    /// Who writes. Kept in the log's header.
    pub owner: Owner,
    /// Whose log is continued; with that of any other a new ledger begins.
    pub continues: Option<Owner>,
    /// Reports are acknowledged while it holds only.
    pub tenure: Tenure,
    /// How totals are kept.
    pub shape: Shape,
    /// Policies follow that decide the shape ([`LedgerHandle::configure`]): a ledger that goes on keeps its own until then, since what was joined cannot be taken apart again, nor what was dropped be had back.
    pub policies_follow: bool,
    /// Series at most; further ones are counted in one overflow series.
    pub max_series: usize,
    /// A series of a target that is gone is dropped after this long without a change.
    pub series_expiry: Duration,
    /// What `kong_upstream_latency_ms` shows of them.
    pub kong: DataplaneUrls,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> UnixNanos + Send + Sync>,
}

/// How totals are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Of histograms; reports of another layout are re-cut, counted.
    pub layout: Layout,
    /// Also keep totals per gateway and Service, for `kong_upstream_latency_ms`.
    pub by_service: bool,
}

/// Who holds the Lease, and in which of its terms: two that are equal had nobody in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The holder's identity.
    pub identity: String,
    /// The Lease's transitions.
    pub term: u32,
}

impl Owner {
    /// Where no Lease decides who writes.
    #[must_use]
    pub fn sole() -> Self {
        Self {
            identity: "sole".to_owned(),
            term: 0,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (term {})", self.identity, self.term)
    }
}

/// What the ledger asks of the index.
pub trait Objects: Reach + Liveness + Send + Sync {}
impl<T: Reach + Liveness + Send + Sync> Objects for T {}

/// Talks to the ledger's thread. Cheap to clone. The thread ends, with a last snapshot, when the last handle is gone.
#[derive(Clone, Debug)]
pub struct LedgerHandle {
    queue: Queue,
    durability: Arc<Mutex<Durability>>,
    refusing: watch::Receiver<Arc<BTreeSet<Arc<str>>>>,
    ended: watch::Receiver<()>,
}

/// What a report call brought, for `ReportAnswer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportOutcome {
    /// Names the ledger's life.
    pub ledger_epoch: LedgerEpoch,
    /// Highest sequence applied for the VM; 0 when the call had no report.
    pub seq: Seq,
    /// Targets without a definition.
    pub undefined: Vec<Fingerprint>,
    /// Series dropped because the gateway may not report for them.
    pub rejected_series: u64,
    /// The call's mapping request, for the mapping hub.
    pub mapping: Option<MappingRequest>,
    /// Span of the report, if it was applied now.
    pub span: Option<Nanos>,
}

/// Why a report call was refused; its report was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Not a report call. Final for the filter (400).
    #[error("the body is not a report call: {0}")]
    Undecodable(#[from] DecodeError),
    /// The VM reports for another gateway. Final for the filter (422).
    #[error("this worker VM reports for another gateway")]
    ForeignVm,
    /// The queue or a table is full, or the source has not synced (503: keep and retry).
    #[error("{0}; send the report again later")]
    Busy(&'static str),
    /// This replica leads no more, or cannot tell (503: keep and retry). What was applied is known by its sequence.
    #[error("this replica could not renew its Lease; send the report again later")]
    NotLeader,
    /// The ledger has stopped (503: keep and retry).
    #[error("the controller is stopping; send the report again later")]
    Stopped,
}

/// Why the ledger does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process uses the directory.
    #[error("{0:?}: another controller uses this state directory; give each its own")]
    Locked(PathBuf),
    /// The directory cannot be used.
    #[error(
        "{0:?}: {1}; make the state directory usable for this user, or name another with --state-dir"
    )]
    Directory(PathBuf, std::io::Error),
    /// No thread, no randomness.
    #[error("the ledger cannot start: {0}")]
    System(std::io::Error),
}

/// Who scrapes: peer address and user agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scraper(pub String);

/// What to answer to one scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The totals.
    pub snapshot: Snapshot,
    /// How this scraper sees them.
    pub view: View,
    /// Whether `kong_upstream_latency_ms` is shown.
    pub kong: Option<DataplaneUrls>,
}

/// Where the ledger stands, for `/readyz` and people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// No state directory.
    MemoryOnly,
    /// Logged before acknowledged.
    Logged,
    /// The log cannot be written: totals are in memory only until it can.
    Degraded(String),
}

impl LedgerHandle {
    /// Applies one call's report (exactly once) and definitions; answers when they are in the log.
    ///
    /// # Errors
    /// [`ReportError`]. Definitions that came with a refused report may have been taken: they are facts by themselves.
    pub async fn report(
        &self,
        gateway: GatewayName,
        call: Bytes,
    ) -> Result<ReportOutcome, ReportError> {
        let (reply, answer) = oneshot::channel();
        self.queue.report(gateway, call, reply)?;
        answer.await.unwrap_or(Err(ReportError::Stopped))
    }

    /// The totals for one scraper. Waits for at most one batch of reports; `None` when the ledger has stopped or too
    /// many scrapes wait.
    pub async fn scrape(&self, scraper: Scraper) -> Option<Scrape> {
        let (reply, answer) = oneshot::channel();
        self.queue.read(|permit| Command::Scrape {
            scraper,
            reply,
            permit,
        })?;
        answer.await.ok()
    }

    /// What windows have of some objects. Waits for at most one report; `None` when the ledger has stopped or too many
    /// reads wait.
    pub(crate) async fn recent(&self, question: Question) -> Option<Recently> {
        let (reply, answer) = oneshot::channel();
        self.queue.ask(question, reply)?;
        answer.await.ok()
    }

    /// To be called when the body of a scrape was sent completely: what was new in it is then known to its scraper.
    pub fn delivered(&self, scraper: Scraper, change: ChangeNumber) {
        // When the queue is full the scraper is shown the same again: no harm.
        let _ = self.queue.read(|permit| Command::Delivered {
            scraper,
            change,
            permit,
        });
    }

    /// Whether acknowledged reports survive a restart.
    #[must_use]
    pub fn durability(&self) -> Durability {
        let durability = self.durability.lock();
        durability.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Policies that were refused a series lately because they have as many as they may; by their names, as the index
    /// says them.
    pub(crate) fn refusing(&self) -> Arc<BTreeSet<Arc<str>>> {
        Arc::clone(&self.refusing.borrow())
    }

    /// Keeps totals in another shape from now on; histograms that are there are converted.
    pub fn configure(&self, shape: Shape) {
        // A thread that has ended keeps nothing any more.
        let _ = self.queue.control(Command::Configure(shape));
    }

    /// Forgets what is due now, instead of within ten seconds; for tests with a clock of their own.
    pub async fn sweep(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.control(Command::Sweep(reply)) {
            let _ = done.await;
        }
    }

    /// Resolves when the thread has ended: stopped, or broken.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Applies and answers what is queued; later reports are refused. What is read from then on is final.
    pub async fn seal(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.control(Command::Seal(reply)) {
            let _ = done.await;
        }
    }

    /// Applies what is queued, writes a last snapshot, ends the thread.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.queue.control(Command::Stop(reply)) {
            let _ = done.await;
        }
    }
}

impl From<Refused> for ReportError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::ForeignVm => Self::ForeignVm,
            Refused::TooManyVms => Self::Busy("too many worker VMs are known"),
            Refused::TooManyGateways => Self::Busy("too many gateways are known"),
            Refused::NotSynced => Self::Busy(NOT_SYNCED),
        }
    }
}

const NOT_SYNCED: &str = "the controller has not read all objects yet";
