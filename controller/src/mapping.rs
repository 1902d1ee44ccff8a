//! The mapping's shell: one task that writes the index and owns the VMs' subscriptions.
//!
//! Others hold a [`MappingHandle`] (to poll), an [`Objects`] (to ask the index from any thread) or a [`Feed`] (to bring
//! objects). Invariants: the index has one writer, and no lock on it is held across an await or for longer than one
//! small batch; until the source has said [`Event::Synced`] nobody gets an answer, since an absent address would mean
//! nothing.

mod clock;
mod objects;
mod task;

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::Duration,
};

use bytes::Bytes;
use gaugeway_index::{
    Hub, HubLimits, Index, Object, ObjectId, RecordingPolicy, Scope, WorkerFacts,
};
use gaugeway_wire::{GatewayName, MappingEpoch, MappingRequest};
use tokio::sync::{mpsc, oneshot, watch};

use crate::telemetry::Telemetry;

use clock::Clock;
pub use objects::Objects;
use task::{Ask, Call, Channels, NewPolicies, Task};

/// Calls that wait for the task, at most. A held poll does not wait here.
const CALLS: usize = 4096;
/// Questions about worker VMs that wait for the task, at most.
const ASKS: usize = 16;
/// Batches of a source that wait for the task, at most.
const BATCHES: usize = 16;

/// Talks to the mapping's task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MappingHandle {
    calls: mpsc::Sender<Call>,
    policies: mpsc::Sender<NewPolicies>,
    asks: mpsc::Sender<Ask>,
    workers: watch::Receiver<Workers>,
    objects: Objects,
    stop: Arc<watch::Sender<bool>>,
    telemetry: Arc<Telemetry>,
}

/// Connected worker VMs per gateway.
pub type Workers = Arc<BTreeMap<GatewayName, usize>>;

/// Why a poll has no answer. 503 with `Retry-After`: the filter keeps what it has and asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The source has not been read completely, so an absent address means nothing yet.
    #[error("the controller has not read all objects yet; ask again later")]
    NotSynced,
    /// Too many worker VMs or calls.
    #[error("too many worker VMs ask at once; ask again later")]
    Full,
    /// The controller stops.
    #[error("the controller is stopping; ask again later")]
    Stopping,
}

impl Unavailable {
    /// For `Retry-After`.
    #[must_use]
    pub const fn retry_after(self) -> Duration {
        Duration::from_secs(1)
    }
}

/// How a source feeds the mapping. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed {
    batches: mpsc::Sender<Vec<Event>>,
}

/// What a source says.
#[derive(Clone, Debug)]
pub enum Event {
    /// An object as it is now.
    Apply(Object),
    /// An object is gone.
    Delete(ObjectId),
    /// All objects of a scope follow anew.
    BeginReset(Scope),
    /// Those that did not follow are gone.
    EndReset(Scope),
    /// Everything that there is has been said once.
    Synced,
}

/// The mapping's task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mapping has stopped")]
pub struct MappingStopped;

/// Starts the task on the current runtime. It ends with [`MappingHandle::stop`].
///
/// # Errors
/// When the system gives no randomness.
pub fn start(
    policy: RecordingPolicy,
    cluster_domain: Option<&str>,
    telemetry: Arc<Telemetry>,
) -> Result<(MappingHandle, Feed), std::io::Error> {
    let epoch = MappingEpoch(getrandom::u64().map_err(std::io::Error::other)?);
    let (calls, called) = mpsc::channel(CALLS);
    let (batches, fed) = mpsc::channel(BATCHES);
    let (stop, stopped) = watch::channel(false);
    let (synced, sync) = watch::channel(false);
    let mut index = Index::new(policy);
    if let Some(domain) = cluster_domain {
        index = index.in_domain(domain);
    }
    let index = Arc::new(RwLock::new(index));
    let clock = Clock::start();
    let objects = Objects::new(Arc::clone(&index), sync, clock);
    let hub = Hub::new(epoch, HubLimits::default());
    let (workers, counted) = watch::channel(Arc::default());
    let (policies, told) = mpsc::channel(1);
    let (asks, asked) = mpsc::channel(ASKS);
    let task = Task::new(index, hub, clock, synced, workers, Arc::clone(&telemetry));
    let channels = Channels {
        calls: called,
        batches: fed,
        policies: told,
        asks: asked,
        stop: stopped,
    };
    tokio::spawn(task.run(channels));
    let handle = MappingHandle {
        calls,
        policies,
        asks,
        workers: counted,
        objects,
        stop: Arc::new(stop),
        telemetry,
    };
    Ok((handle, Feed { batches }))
}

impl MappingHandle {
    /// Answers a worker VM: at once if there is something to say, else when there is, at the latest after 25 s.
    /// Dropping the future gives the poll up.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn poll(
        &self,
        gateway: GatewayName,
        request: MappingRequest,
    ) -> Result<Bytes, Unavailable> {
        if !self.synced() {
            return Err(Unavailable::NotSynced);
        }
        let (answer, answered) = oneshot::channel();
        let call = Call {
            gateway,
            request,
            answer,
        };
        self.calls.try_send(call).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Unavailable::Full,
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopping,
        })?;
        answered.await.unwrap_or(Err(Unavailable::Stopping))
    }

    /// Answers at once, for `ReportAnswer.mapping`; as a request with `no_wait`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn poll_now(
        &self,
        gateway: GatewayName,
        request: MappingRequest,
    ) -> Result<Bytes, Unavailable> {
        let at_once = MappingRequest {
            no_wait: true,
            ..request
        };
        self.poll(gateway, at_once).await
    }

    /// What is recorded for these gateways from now on, and for all others. Returns when it is in force.
    ///
    /// # Errors
    /// When the mapping has stopped.
    pub async fn set_policies(
        &self,
        others: RecordingPolicy,
        policies: BTreeMap<GatewayName, RecordingPolicy>,
    ) -> Result<(), MappingStopped> {
        let (done, in_force) = oneshot::channel();
        let new = NewPolicies {
            others,
            policies,
            done,
        };
        self.policies.send(new).await.map_err(|_| MappingStopped)?;
        in_force.await.map_err(|_| MappingStopped)
    }

    /// Connected worker VMs per gateway, at most a second old.
    #[must_use]
    pub fn workers(&self) -> Workers {
        self.workers.borrow().clone()
    }

    /// A gateway's worker VMs, and which of some upstream keys they have seen. `None` when too many ask.
    pub async fn worker_facts(
        &self,
        gateway: GatewayName,
        keys: Vec<String>,
    ) -> Option<WorkerFacts> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            gateway,
            keys,
            answer,
        };
        self.asks.try_send(ask).ok()?;
        answered.await.ok()
    }

    /// Questions to the index.
    #[must_use]
    pub fn objects(&self) -> Objects {
        self.objects.clone()
    }

    /// Whether the source has been read completely.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.objects.synced()
    }

    /// Waits until the source has been read completely. Never returns if the mapping stops before.
    pub async fn until_synced(&self) {
        self.objects.until_synced().await;
    }

    /// Brings the gauges of what the index holds up to date; to be called before own metrics are shown.
    pub fn observe(&self) {
        self.objects.observe(&self.telemetry);
    }

    /// Resolves when the task has ended: stopped, or broken.
    pub async fn ended(&self) {
        self.calls.closed().await;
    }

    /// Ends the task; held polls are answered with [`Unavailable::Stopping`].
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        self.calls.closed().await;
    }
}

impl Feed {
    /// Brings a batch; waits while the task is behind. Large batches are worked off in small ones.
    ///
    /// # Errors
    /// When the mapping has stopped.
    pub async fn send(&self, batch: Vec<Event>) -> Result<(), MappingStopped> {
        self.batches.send(batch).await.map_err(|_| MappingStopped)
    }
}

#[cfg(test)]
mod tests;
