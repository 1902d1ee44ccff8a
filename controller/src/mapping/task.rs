//! The task: calls and batches in, answers out, in the order in which they come.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use bytes::Bytes;
use gaugeway_index::{
    Changes, Hub, HubCounters, Index, Issue, RecordingPolicy, Ticket, WorkerFacts,
};
use gaugeway_wire::{GatewayName, MappingRequest};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};
use tracing::warn;

use super::{Event, Unavailable, Workers, clock::Clock, objects::gauge_value};
use crate::telemetry::Telemetry;

/// Events applied under one lock, at most: well under a millisecond.
const CHUNK: usize = 64;
/// Problems of objects logged per batch, at most.
const LOGGED_ISSUES: usize = 20;
/// How often what lingers and who is silent is looked at.
const TICK: Duration = Duration::from_secs(1);

/// A poll.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) gateway: GatewayName,
    pub(super) request: MappingRequest,
    pub(super) answer: oneshot::Sender<Result<Bytes, Unavailable>>,
}

/// A question about a gateway's worker VMs.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) gateway: GatewayName,
    pub(super) keys: Vec<String>,
    pub(super) answer: oneshot::Sender<WorkerFacts>,
}

/// Another policy for some gateways.
#[derive(Debug)]
pub(super) struct NewPolicies {
    pub(super) others: RecordingPolicy,
    pub(super) policies: BTreeMap<GatewayName, RecordingPolicy>,
    pub(super) done: oneshot::Sender<()>,
}

/// What the task listens to.
pub(super) struct Channels {
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) batches: mpsc::Receiver<Vec<Event>>,
    pub(super) policies: mpsc::Receiver<NewPolicies>,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) stop: watch::Receiver<bool>,
}

pub(super) struct Task {
    index: Arc<RwLock<Index>>,
    hub: Hub,
    clock: Clock,
    waiting: HashMap<Ticket, oneshot::Sender<Result<Bytes, Unavailable>>>,
    tickets: u64,
    synced: watch::Sender<bool>,
    workers: watch::Sender<Workers>,
    telemetry: Arc<Telemetry>,
    counted: HubCounters,
    forgotten: u64,
    /// What is left of a batch.
    pending: std::vec::IntoIter<Event>,
    /// Problems of the batch so far.
    logged: usize,
}

impl Task {
    pub(super) fn new(
        index: Arc<RwLock<Index>>,
        hub: Hub,
        clock: Clock,
        synced: watch::Sender<bool>,
        workers: watch::Sender<Workers>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            index,
            hub,
            clock,
            waiting: HashMap::new(),
            tickets: 0,
            synced,
            workers,
            telemetry,
            counted: HubCounters::default(),
            forgotten: 0,
            pending: Vec::new().into_iter(),
            logged: 0,
        }
    }

    pub(super) async fn run(mut self, channels: Channels) {
        let Channels {
            mut calls,
            mut batches,
            mut policies,
            mut asks,
            mut stop,
        } = channels;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.hub.next_wake().map(|m| self.clock.instant(m));
            let working = !self.pending.as_slice().is_empty();
            // In no fixed order, so that neither calls nor a source can starve the other.
            tokio::select! {
                // An error means that every handle is gone: nobody could ask any more.
                _ = stop.changed() => break,
                () = until(wake) => {}
                Some(call) = calls.recv() => self.call(call),
                Some(ask) = asks.recv() => self.tell_workers(ask),
                Some(new) = policies.recv() => self.take_policies(new),
                () = tokio::task::yield_now(), if working => self.work(),
                Some(batch) = batches.recv(), if !working => self.pending = batch.into_iter(),
                _ = tick.tick() => self.pass_time(),
            }
            self.answer();
        }
        self.end();
    }

    fn call(&mut self, call: Call) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, call.answer);
        let now = self.clock.now();
        let index = read(&self.index);
        self.hub
            .on_request(&index, now, ticket, &call.gateway, &call.request);
    }

    fn tell_workers(&self, ask: Ask) {
        let keys = ask.keys.iter().map(String::as_str);
        let facts = self.hub.facts(&ask.gateway, keys, self.clock.now());
        // Nobody waits any more: no matter.
        let _ = ask.answer.send(facts);
    }

    fn take_policies(&mut self, new: NewPolicies) {
        let now = self.clock.now();
        let changed = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            let mut changed = BTreeSet::new();
            if index.set_default_policy(new.others) {
                let workers = self.hub.workers().map(|(gateway, _)| gateway.clone());
                changed.extend(workers.filter(|g| !new.policies.contains_key(g)));
            }
            let own: Vec<_> = index.gateways_with_policies().collect();
            let own = own.into_iter().filter_map(|g| GatewayName::try_new(g).ok());
            let gone: Vec<_> = own.filter(|g| !new.policies.contains_key(g)).collect();
            let none = gone.into_iter().map(|gateway| (gateway, None));
            let some = new
                .policies
                .into_iter()
                .map(|(g, policy)| (g, Some(policy)));
            for (gateway, policy) in none.chain(some) {
                if index.set_policy(&gateway, policy) {
                    changed.insert(gateway);
                }
            }
            changed
        };
        let index = read(&self.index);
        for gateway in changed {
            self.hub.on_policy(&index, &gateway, now);
        }
        // Nobody waits any more: no matter.
        let _ = new.done.send(());
    }

    /// A small part of a batch, so that neither calls nor the index's other readers wait long.
    fn work(&mut self) {
        let events: Vec<_> = self.pending.by_ref().take(CHUNK).collect();
        let changes = self.apply(events);
        for issue in changes.issues() {
            self.log(issue);
        }
        self.tell(&changes);
        if self.pending.as_slice().is_empty() {
            if let Some(more) = self.logged.checked_sub(LOGGED_ISSUES)
                && more > 0
            {
                warn!(more, "more objects have parts that cannot be used");
            }
            self.logged = 0;
        }
    }

    fn log(&mut self, issue: &Issue) {
        self.logged += 1;
        if self.logged <= LOGGED_ISSUES {
            warn!("{issue}");
        }
    }

    fn apply(&mut self, events: Vec<Event>) -> Changes {
        let now = self.clock.now();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Changes::default();
        for event in events {
            match event {
                Event::Apply(object) => changes.merge(index.apply(&object, now)),
                Event::Delete(id) => changes.merge(index.delete(&id, now)),
                Event::BeginReset(scope) => index.begin_reset(scope),
                Event::EndReset(scope) => changes.merge(index.end_reset(scope, now)),
                Event::Synced => {
                    if !self.synced.send_replace(true) {
                        index.forget_changes();
                        self.telemetry.source.synced.set(1);
                    }
                }
            }
        }
        changes
    }

    fn tell(&mut self, changes: &Changes) {
        let now = self.clock.now();
        let index = read(&self.index);
        self.hub.on_change(&index, changes, now);
    }

    fn pass_time(&mut self) {
        let now = self.clock.now();
        let (changes, forgotten) = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            (index.advance(now), index.counts().forgotten)
        };
        let increase = forgotten.saturating_sub(self.forgotten);
        self.telemetry.mapping.forgotten.inc_by(increase);
        self.forgotten = forgotten;
        self.tell(&changes);
        self.hub.forget_silent(now);
        let workers: BTreeMap<_, _> = self.hub.workers().map(|(g, n)| (g.clone(), n)).collect();
        self.workers.send_if_modified(|held| {
            let changed = **held != workers;
            if changed {
                *held = Arc::new(workers);
            }
            changed
        });
    }

    /// Sends what is to be sent. A caller that has gone is told again when it asks again: its answer stays unconfirmed.
    fn answer(&mut self) {
        self.hub.advance(&read(&self.index), self.clock.now());
        for reply in self.hub.take_replies() {
            if let Some(answer) = self.waiting.remove(&reply.ticket) {
                let result = reply.answer.map(Bytes::from);
                let _ = answer.send(result.map_err(|_| Unavailable::Full));
            }
        }
        self.observe();
    }

    fn observe(&mut self) {
        let metrics = &self.telemetry.mapping;
        let counts = self.hub.counts();
        metrics.vms.set(gauge_value(counts.vms));
        metrics.keys.set(gauge_value(counts.subscriptions));
        metrics.held.set(gauge_value(counts.held));
        let generation = i64::try_from(self.hub.generation().0);
        metrics.generation.set(generation.unwrap_or(i64::MAX));
        for lag in self.hub.take_lags() {
            metrics
                .lag
                .observe(Duration::from_nanos(lag.0).as_secs_f64());
        }
        let (now, before) = (self.hub.counters(), self.counted);
        metrics.answers.inc_by(now.answers - before.answers);
        metrics.repeated.inc_by(now.repeated - before.repeated);
        for (bound, increase) in [
            ("vms", now.refused_vms - before.refused_vms),
            ("keys", now.refused_keys - before.refused_keys),
        ] {
            if increase > 0 {
                metrics.refused.with_label_values(&[bound]).inc_by(increase);
            }
        }
        self.counted = now;
    }

    fn end(&mut self) {
        for ticket in self.hub.stop() {
            if let Some(answer) = self.waiting.remove(&ticket) {
                let _ = answer.send(Err(Unavailable::Stopping));
            }
        }
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

fn read(index: &RwLock<Index>) -> RwLockReadGuard<'_, Index> {
    index.read().unwrap_or_else(PoisonError::into_inner)
}
