//! What the aggregate asks of the index. Small traits by role; the controller implements them over its index.

use gaugeway_wire::{GatewayName, Generation, Target};

use crate::makers::Maker;

/// Which targets a gateway may report for.
pub trait Reach {
    /// State of what [`Reach::allows`] answers from; verdicts are kept until it changes (and for a minute at most).
    /// `None` until the source has synced: reports are then refused for the moment, or their counts would be dropped.
    fn generation(&self) -> Option<Generation>;

    /// Whether `gateway` routes to the Service of `target`, or did within the last 24 h. Asked only for targets of kind
    /// Kubernetes.
    fn allows(&self, gateway: &GatewayName, target: &Target) -> bool;

    /// Which policy makes the series of `target` at `gateway`, and how many it may make; `None` where none does. Asked only
    /// for a series that is not there yet.
    fn maker(&self, gateway: &GatewayName, target: &Target) -> Option<Maker>;
}

/// Which targets still exist.
pub trait Liveness {
    /// Whether all that `target` names exists: its Service, and its Pod if it names one. A target with only namespace
    /// and Service asks for the Service. Asked only for targets of kind Kubernetes, and never before the source has
    /// synced.
    fn is_live(&self, target: &Target) -> bool;
}
