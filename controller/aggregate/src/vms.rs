//! Worker VMs and their last applied sequence: what makes every report count once.
//!
//! **Invariant**: a VM belongs to one gateway, and its sequence only grows while it is known.

use std::collections::{HashMap, hash_map};

use foldhash::fast::RandomState;
use gaugeway_wire::{GatewayName, Nanos, Seq, UnixNanos, VmId};

use crate::limits::{VM_IDLE, VM_IDLE_FULL, VMS};

#[derive(Clone, Debug)]
pub(crate) struct Vm {
    pub(crate) gateway: GatewayName,
    pub(crate) last: Seq,
    pub(crate) seen: UnixNanos,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Vms {
    known: HashMap<VmId, Vm, RandomState>,
}

/// Whether a sequence is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Fresh,
    /// Applied before; the highest sequence applied.
    Duplicate(Seq),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VmRefusal {
    Foreign,
    Full,
}

impl Vms {
    /// Notes the sequence if it is new. Changes nothing otherwise, but for making room.
    pub(crate) fn admit(
        &mut self,
        vm: VmId,
        gateway: &GatewayName,
        seq: Seq,
        now: UnixNanos,
    ) -> Result<Admission, VmRefusal> {
        if let Some(known) = self.known.get_mut(&vm) {
            return known.admit(gateway, seq, now);
        }
        if seq == Seq(0) {
            return Ok(Admission::Duplicate(seq));
        }
        if self.known.len() >= VMS && self.forget_idle(now, VM_IDLE_FULL) == 0 {
            return Err(VmRefusal::Full);
        }
        let gateway = gateway.clone();
        self.insert(
            vm,
            Vm {
                gateway,
                last: seq,
                seen: now,
            },
        );
        Ok(Admission::Fresh)
    }

    pub(crate) fn insert(&mut self, vm: VmId, state: Vm) {
        self.known.insert(vm, state);
    }

    pub(crate) fn forget(&mut self, now: UnixNanos) -> u64 {
        self.forget_idle(now, VM_IDLE)
    }

    pub(crate) fn iter(&self) -> hash_map::Iter<'_, VmId, Vm> {
        self.known.iter()
    }

    pub(crate) fn serves(&self, gateway: &GatewayName) -> bool {
        self.known.values().any(|vm| vm.gateway == *gateway)
    }

    fn forget_idle(&mut self, now: UnixNanos, idle: Nanos) -> u64 {
        let before = self.known.len();
        let horizon = now.minus(idle);
        self.known.retain(|_, vm| vm.seen >= horizon);
        (before - self.known.len()) as u64
    }
}

impl Vm {
    fn admit(
        &mut self,
        gateway: &GatewayName,
        seq: Seq,
        now: UnixNanos,
    ) -> Result<Admission, VmRefusal> {
        if self.gateway != *gateway {
            return Err(VmRefusal::Foreign);
        }
        if seq <= self.last {
            return Ok(Admission::Duplicate(self.last));
        }
        self.last = seq;
        self.seen = now;
        Ok(Admission::Fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::seconds;

    fn gateway(name: &str) -> GatewayName {
        GatewayName::try_new(name).unwrap()
    }

    fn vm(n: u32) -> VmId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_le_bytes());
        VmId(id)
    }

    #[test]
    fn a_sequence_is_admitted_once() {
        let (mut vms, g, now) = (Vms::default(), gateway("a/b"), UnixNanos(1));
        assert_eq!(vms.admit(vm(1), &g, Seq(3), now), Ok(Admission::Fresh));
        for old in 0..=3 {
            let again = vms.admit(vm(1), &g, Seq(old), now);
            assert_eq!(again, Ok(Admission::Duplicate(Seq(3))));
        }
        assert_eq!(vms.admit(vm(1), &g, Seq(4), now), Ok(Admission::Fresh));
    }

    #[test]
    fn a_vm_belongs_to_one_gateway() {
        let (mut vms, now) = (Vms::default(), UnixNanos(1));
        let _ = vms.admit(vm(1), &gateway("a/b"), Seq(1), now);
        let stolen = vms.admit(vm(1), &gateway("a/c"), Seq(2), now);
        assert_eq!(stolen, Err(VmRefusal::Foreign));
    }

    #[test]
    fn a_full_table_gives_up_only_what_is_idle() {
        let (mut vms, g, start) = (Vms::default(), gateway("a/b"), UnixNanos(1_000_000));
        for n in 0..u32::try_from(VMS).unwrap() {
            let _ = vms.admit(vm(n), &g, Seq(1), start);
        }
        let more = vm(u32::MAX);
        let soon = start.plus(seconds(3600));
        assert_eq!(vms.admit(more, &g, Seq(1), soon), Err(VmRefusal::Full));
        let later = start.plus(seconds(3601));
        let _ = vms.admit(vm(0), &g, Seq(2), later);
        assert_eq!(vms.admit(more, &g, Seq(1), later), Ok(Admission::Fresh));
        assert_eq!(
            vms.admit(vm(0), &g, Seq(2), later),
            Ok(Admission::Duplicate(Seq(2)))
        );
    }

    #[test]
    fn an_idle_vm_is_forgotten_after_a_week() {
        let (mut vms, g, start) = (Vms::default(), gateway("a/b"), UnixNanos(1));
        let _ = vms.admit(vm(1), &g, Seq(1), start);
        assert_eq!(vms.forget(start.plus(VM_IDLE)), 0);
        assert_eq!(vms.forget(start.plus(VM_IDLE).plus(seconds(1))), 1);
        assert!(!vms.serves(&g));
    }
}
