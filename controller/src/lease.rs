//! The election of a leader among replicas, by a `coordination.k8s.io/v1` Lease.
//!
//! A loop of our own: what decides is a pure machine with properties of its own (`machine`); what talks to the API
//! server only does what it says (`elector`). The protocol is that of Kubernetes's own components, so `kubectl get
//! lease` shows what one is used to.

mod elector;
mod machine;
mod record;
mod tenure;

use std::{net::IpAddr, net::SocketAddr};

pub(crate) use elector::{Elector, Peer, Standing};
pub(crate) use machine::Began;
pub use machine::{Timing, TimingError};
pub use tenure::Tenure;

/// How this replica takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Names this replica and no other that ever was: its Pod's UID.
    pub identity: String,
    /// Where the Lease is: the controller's own namespace.
    pub namespace: String,
    /// The Lease's name.
    pub lease: String,
    /// Where other replicas reach this one; with the filters port.
    pub advertise: IpAddr,
    /// Its times.
    pub timing: Timing,
}

/// An hour from now.
#[cfg(test)]
pub(crate) fn soon() -> machine::Moment {
    tenure::now().plus(std::time::Duration::from_secs(3600))
}

impl Election {
    pub(crate) fn address(&self, filters: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.advertise, filters.port())
    }
}
