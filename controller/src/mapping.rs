//! The mapping's shell: one task that owns the subscriptions and writes the index.
//!
//! Others hold a [`MappingHandle`] (to poll) and an [`Objects`] (to ask the index from any thread).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gaugeway_index::RecordingPolicy;
use gaugeway_wire::{GatewayName, Generation, MappingRequest, Target};

use crate::telemetry::Telemetry;

/// Talks to the mapping's task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MappingHandle {}

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

/// Questions to the index, from any thread. A look-up under a lock that is held for microseconds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects {}

/// How a source feeds the mapping. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed {}

/// Starts the task on the current runtime. It ends with [`MappingHandle::stop`].
///
/// # Errors
/// When the system gives no randomness.
pub fn start(
    _policy: RecordingPolicy,
    _telemetry: Arc<Telemetry>,
) -> Result<(MappingHandle, Feed), std::io::Error> {
    todo!()
}

impl MappingHandle {
    /// Answers a worker VM: at once if there is something to say, else when there is, at the latest after 25 s.
    /// Dropping the future gives the poll up.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn poll(
        &self,
        _gateway: GatewayName,
        _request: MappingRequest,
    ) -> Result<Bytes, Unavailable> {
        todo!()
    }

    /// Answers at once, for `ReportAnswer.mapping`; as a request with `no_wait`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn poll_now(
        &self,
        _gateway: GatewayName,
        _request: MappingRequest,
    ) -> Result<Bytes, Unavailable> {
        todo!()
    }

    /// Questions to the index.
    #[must_use]
    pub fn objects(&self) -> Objects {
        todo!()
    }

    /// Whether the source has been read completely.
    #[must_use]
    pub fn synced(&self) -> bool {
        todo!()
    }

    /// Waits until the source has been read completely.
    pub async fn until_synced(&self) {
        todo!()
    }

    /// Brings the mapping's gauges up to date; to be called before own metrics are shown.
    pub fn observe(&self) {
        todo!()
    }

    /// Ends the task; held polls are answered with [`Unavailable::Stopping`].
    pub async fn stop(&self) {
        todo!()
    }
}

impl Objects {
    /// State of what [`Objects::may_report`] answers from; `None` until the source has synced.
    #[must_use]
    pub fn reach_generation(&self) -> Option<Generation> {
        todo!()
    }

    /// Whether `gateway` routes to the Service of `target`, or did within the last 24 h. Unknown and overflow targets
    /// are everybody's.
    #[must_use]
    pub fn may_report(&self, _gateway: &GatewayName, _target: &Target) -> bool {
        todo!()
    }

    /// Whether all that `target` names exists.
    #[must_use]
    pub fn is_live(&self, _target: &Target) -> bool {
        todo!()
    }
}

impl gaugeway_aggregate::Reach for Objects {
    fn generation(&self) -> Option<Generation> {
        self.reach_generation()
    }

    fn allows(&self, gateway: &GatewayName, target: &Target) -> bool {
        self.may_report(gateway, target)
    }
}

impl gaugeway_aggregate::Liveness for Objects {
    fn is_live(&self, target: &Target) -> bool {
        Self::is_live(self, target)
    }
}
