//! The hub: what each worker VM subscribes to, and when it is told what.
//!
//! A VM asks ([`Hub::on_request`]); it is answered at once if there is something to say, else when there is, at the
//! latest after [`HOLD`]. Answers that the index's changes cause are [`SPACING`] apart per VM; newly subscribed keys are
//! answered at once. What was in an answer that the VM's next request does not confirm is said again.
//!
//! Invariants:
//! - Every key that a VM subscribes to, and whose resolution is not what the VM confirmed, is due or in the one
//!   unconfirmed answer.
//! - A VM has at most one call held; a newer one ends it.
//! - A VM forgotten and come back finds another epoch, so it subscribes anew with all it holds: it can never believe
//!   in a subscription that is gone. Epochs are therefore counted up from the controller's random one.
//! - Everything is bounded by [`HubLimits`].

mod answer;
mod facts;
mod keys;
mod types;
mod vm;

use std::collections::BTreeSet;

use gaugeway_wire::{GatewayName, Generation, MappingEpoch, MappingRequest, Nanos, VmId};
use hashbrown::HashMap;
use slab::Slab;

use crate::{
    changes::Changes,
    index::Index,
    moment::{Moment, seconds},
};

pub use facts::{Worker, WorkerFacts};
use keys::{KeyId, Keys};
pub use types::{HubCounters, HubCounts, HubLimits, Refused, Reply, Ticket};
use vm::{Held, Vm};

/// Longest that a call is held: the contract's 25 s, less what timers and the network need.
pub const HOLD: Nanos = seconds(24);
/// Least time between two answers to one VM that the index's changes cause.
pub const SPACING: Nanos = Nanos::from_millis(200);
/// A VM that did not ask for so long is forgotten.
pub const FORGET: Nanos = seconds(90);

type VmIndex = usize;

/// See the module's documentation.
#[derive(Debug)]
pub struct Hub {
    epoch: MappingEpoch,
    limits: HubLimits,
    generation: Generation,
    keys: Keys,
    vms: Slab<Vm>,
    by_id: HashMap<(GatewayName, VmId), VmIndex>,
    vms_per_gateway: HashMap<GatewayName, usize>,
    /// When to look at a held call again.
    wakes: BTreeSet<(Moment, VmIndex)>,
    replies: Vec<Reply>,
    lags: Vec<Nanos>,
    counters: HubCounters,
    subscriptions: usize,
}

impl Hub {
    /// `epoch` is random, so that a VM that held another controller's mapping notices.
    #[must_use]
    pub fn new(epoch: MappingEpoch, limits: HubLimits) -> Self {
        Self {
            epoch,
            limits,
            generation: Generation(1),
            keys: Keys::default(),
            vms: Slab::new(),
            by_id: HashMap::new(),
            vms_per_gateway: HashMap::new(),
            wakes: BTreeSet::new(),
            replies: Vec::new(),
            lags: Vec::new(),
            counters: HubCounters::default(),
            subscriptions: 0,
        }
    }

    /// A VM asks. The answer comes through [`Hub::take_replies`], now or later.
    pub fn on_request(
        &mut self,
        index: &Index,
        now: Moment,
        ticket: Ticket,
        gateway: &GatewayName,
        request: &MappingRequest,
    ) {
        let Some(at) = self.find_or_add(gateway, request, now) else {
            self.counters.refused_vms += 1;
            self.replies.push(Reply {
                ticket,
                answer: Err(Refused::TooManyVms),
            });
            return;
        };
        self.end_held(at);
        self.take_request(at, request, now);
        self.change_subscriptions(index, at, request, now);
        if request.no_wait || self.may_speak(at, now) {
            self.speak(index, at, ticket, now);
        } else {
            self.hold(at, ticket, now);
        }
    }

    /// The index changed.
    pub fn on_change(&mut self, index: &Index, changes: &Changes, now: Moment) {
        if changes.is_empty() {
            return;
        }
        self.generation.0 += 1;
        for key in self.keys.touched(changes) {
            self.refresh(index, key, now);
        }
    }

    /// The index has another policy for a gateway.
    pub fn on_policy(&mut self, index: &Index, gateway: &GatewayName, now: Moment) {
        self.generation.0 += 1;
        let concerned = |g: &GatewayName| g == gateway;
        for key in self.keys.of_gateways(concerned) {
            self.refresh(index, key, now);
        }
        let mut due = Vec::new();
        for (at, vm) in &mut self.vms {
            if concerned(&vm.gateway) {
                vm.policy_due = true;
                vm.note_change(now);
                due.push(at);
            }
        }
        for at in due {
            self.plan(at, now);
        }
    }

    /// Answers what is due now. To be called at [`Hub::next_wake`] and after every other call.
    pub fn advance(&mut self, index: &Index, now: Moment) {
        while let Some((when, at)) = self.wakes.first().copied()
            && when <= now
        {
            self.wakes.remove(&(when, at));
            let Some(held) = self.vms.get_mut(at).and_then(|vm| vm.held.take()) else {
                continue;
            };
            self.speak(index, at, held.ticket, now);
        }
    }

    /// Forgets VMs that do not ask any more. To be called every few seconds.
    pub fn forget_silent(&mut self, now: Moment) {
        let silent = |vm: &Vm| vm.held.is_none() && vm.seen.plus(FORGET) <= now;
        let silent: Vec<_> = self.vms.iter().filter(|(_, vm)| silent(vm)).collect();
        let silent: Vec<_> = silent.into_iter().map(|(at, _)| at).collect();
        for at in silent {
            self.forget(at);
        }
    }

    /// When [`Hub::advance`] has something to do.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        self.wakes.first().map(|(when, _)| *when)
    }

    /// Answers to be sent, each once.
    pub fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// Times from a change of the index to the confirmation of the answer that carried it, each once.
    pub fn take_lags(&mut self) -> Vec<Nanos> {
        std::mem::take(&mut self.lags)
    }

    /// Ends all held calls; returns their tickets.
    pub fn stop(&mut self) -> Vec<Ticket> {
        self.wakes.clear();
        let held = self.vms.iter_mut().filter_map(|(_, vm)| vm.held.take());
        held.map(|held| held.ticket).collect()
    }

    /// Worker VMs per gateway.
    pub fn workers(&self) -> impl Iterator<Item = (&GatewayName, usize)> {
        self.vms_per_gateway
            .iter()
            .map(|(name, count)| (name, *count))
    }

    /// State of the mapping.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// What it did.
    #[must_use]
    pub const fn counters(&self) -> HubCounters {
        self.counters
    }

    /// How much it holds.
    #[must_use]
    pub fn counts(&self) -> HubCounts {
        HubCounts {
            vms: self.vms.len(),
            keys: self.keys.len(),
            subscriptions: self.subscriptions,
            held: self.wakes.len(),
        }
    }

    fn find_or_add(
        &mut self,
        gateway: &GatewayName,
        request: &MappingRequest,
        now: Moment,
    ) -> Option<VmIndex> {
        let id = (gateway.clone(), request.vm);
        if let Some(at) = self.by_id.get(&id) {
            return Some(*at);
        }
        let of_gateway = self.vms_per_gateway.get(gateway).copied().unwrap_or(0);
        if self.vms.len() >= self.limits.vms || of_gateway >= self.limits.vms_per_gateway {
            return None;
        }
        // Zero means "none held" on the wire.
        self.epoch = MappingEpoch(self.epoch.0.wrapping_add(1).max(1));
        let vm = Vm::new(gateway.clone(), request.vm, self.epoch, now);
        let at = self.vms.insert(vm);
        self.by_id.insert(id, at);
        *self.vms_per_gateway.entry(gateway.clone()).or_default() += 1;
        Some(at)
    }

    fn forget(&mut self, at: VmIndex) {
        self.drop_subscriptions(at);
        let Some(vm) = self.vms.try_remove(at) else {
            return;
        };
        if let Some(count) = self.vms_per_gateway.get_mut(&vm.gateway) {
            *count -= 1;
            if *count == 0 {
                self.vms_per_gateway.remove(&vm.gateway);
            }
        }
        self.by_id.remove(&(vm.gateway, vm.id));
    }

    /// Ends a call that is held, since a newer one is there. It confirms nothing and says nothing.
    fn end_held(&mut self, at: VmIndex) {
        let Some(vm) = self.vms.get_mut(at) else {
            return;
        };
        if let Some(held) = vm.held.take() {
            self.wakes.remove(&(held.wake, at));
            self.replies.push(Reply {
                ticket: held.ticket,
                answer: Ok(answer::empty(vm, vm.told)),
            });
        }
    }

    /// Epoch and confirmation.
    fn take_request(&mut self, at: VmIndex, request: &MappingRequest, now: Moment) {
        let Some(vm) = self.vms.get_mut(at) else {
            return;
        };
        vm.seen = now;
        if request.mapping_epoch != vm.epoch {
            self.drop_subscriptions(at);
            if let Some(vm) = self.vms.get_mut(at) {
                vm.start_anew();
            }
            return;
        }
        match vm.confirm(request.received) {
            vm::Confirmed::Yes(Some(changed)) => self.lags.push(now.since(changed)),
            vm::Confirmed::Yes(None) => {}
            vm::Confirmed::No => self.counters.repeated += 1,
        }
    }

    fn change_subscriptions(
        &mut self,
        index: &Index,
        at: VmIndex,
        request: &MappingRequest,
        now: Moment,
    ) {
        let Some(vm) = self.vms.get_mut(at) else {
            return;
        };
        for text in &request.release {
            if let Some(key) = self.keys.find(&vm.gateway, text)
                && vm.release(key)
            {
                self.keys.release(key, at);
                self.subscriptions -= 1;
            }
        }
        let policy = index.policy(&vm.gateway);
        for text in &request.subscribe {
            if let Some(key) = self.keys.find(&vm.gateway, text)
                && vm.keys.contains(&key)
            {
                vm.ask_again(key);
                continue;
            }
            let room = vm.keys.len() < self.limits.keys_per_vm;
            let added = room
                .then(|| {
                    self.keys
                        .add(&vm.gateway, text, at, &self.limits, |gateway, key| {
                            index.resolve(gateway, policy, key, now)
                        })
                })
                .flatten();
            match added {
                Some(key) => {
                    vm.subscribe(key);
                    self.subscriptions += 1;
                }
                None => self.counters.refused_keys += 1,
            }
        }
    }

    fn drop_subscriptions(&mut self, at: VmIndex) {
        let Some(vm) = self.vms.get_mut(at) else {
            return;
        };
        let keys = std::mem::take(&mut vm.keys);
        vm.due.clear();
        self.subscriptions -= keys.len();
        for key in keys {
            self.keys.release(key, at);
        }
    }

    /// Resolves a key again; if that changed something its subscribers are due.
    fn refresh(&mut self, index: &Index, key: KeyId, now: Moment) {
        let subscribers = self.keys.refresh(key, now, |gateway, key| {
            index.resolve(gateway, index.policy(gateway), key, now)
        });
        for at in subscribers.into_iter().flatten() {
            if let Some(vm) = self.vms.get_mut(at) {
                vm.due.insert(key);
                vm.note_change(now);
                self.plan(at, now);
            }
        }
    }

    fn may_speak(&self, at: VmIndex, now: Moment) -> bool {
        let vm = self.vms.get(at);
        vm.is_some_and(|vm| vm.speaks_at().is_some_and(|when| when <= now))
    }

    /// Answers with what is due; with nothing if nothing is.
    fn speak(&mut self, index: &Index, at: VmIndex, ticket: Ticket, now: Moment) {
        let Some(vm) = self.vms.get_mut(at) else {
            return;
        };
        let policy = &index.policy(&vm.gateway).wire;
        let (bytes, entries) = answer::write(vm, &self.keys, policy, self.generation, now);
        self.counters.answers += u64::from(entries > 0);
        self.counters.entries += entries as u64;
        self.replies.push(Reply {
            ticket,
            answer: Ok(bytes),
        });
    }

    fn hold(&mut self, at: VmIndex, ticket: Ticket, now: Moment) {
        if let Some(vm) = self.vms.get_mut(at) {
            let until = now.plus(HOLD);
            vm.held = Some(Held {
                ticket,
                until,
                wake: until,
            });
            self.wakes.insert((until, at));
            self.plan(at, now);
        }
    }

    /// Moves the look at a held call to when its VM may be told what is due.
    fn plan(&mut self, at: VmIndex, now: Moment) {
        let Some(vm) = self.vms.get_mut(at) else {
            return;
        };
        let Some(when) = vm.speaks_at() else {
            return;
        };
        if let Some(held) = &mut vm.held {
            let wake = when.max(now).min(held.until);
            self.wakes.remove(&(held.wake, at));
            self.wakes.insert((wake, at));
            held.wake = wake;
        }
    }
}
