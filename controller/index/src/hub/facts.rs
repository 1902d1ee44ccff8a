//! What a gateway's worker VMs hold of the mapping, for people.

use gaugeway_wire::{GatewayName, Nanos, VmId};

use super::{Hub, vm::Vm};
use crate::moment::Moment;

/// Worker VMs shown, at most.
const MOST: usize = 1000;

/// A gateway's worker VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Those that ask; the one that asked longest ago first.
    pub workers: Vec<Worker>,
    /// Of the keys that were asked about, those that some worker has seen.
    pub seen: Vec<String>,
}

/// A worker VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Which.
    pub id: VmId,
    /// Since it last asked; zero while it waits for an answer.
    pub silent: Nanos,
    /// Entries that it was not told yet, or did not confirm.
    pub behind: usize,
    /// Upstream keys that it has seen.
    pub keys: usize,
}

impl Hub {
    /// A gateway's worker VMs, and which of some keys they have seen.
    pub fn facts<'a>(
        &self,
        gateway: &GatewayName,
        keys: impl IntoIterator<Item = &'a str>,
        now: Moment,
    ) -> WorkerFacts {
        let of_gateway = self.vms.iter().filter(|(_, vm)| vm.gateway == *gateway);
        let worker = |(_, vm): (usize, &Vm)| Worker {
            id: vm.id,
            silent: if vm.held.is_some() {
                Nanos::default()
            } else {
                now.since(vm.seen)
            },
            behind: vm.behind(),
            keys: vm.keys.len(),
        };
        let mut workers: Vec<_> = of_gateway.map(worker).collect();
        workers.sort_by(|a, b| (b.silent, a.id).cmp(&(a.silent, b.id)));
        workers.truncate(MOST);
        let seen = |key: &&str| self.keys.find(gateway, key).is_some();
        WorkerFacts {
            workers,
            seen: keys.into_iter().filter(seen).map(str::to_owned).collect(),
        }
    }
}
