//! A simulated controller: real wire messages, a mapping that tests change, a ledger that applies each report once, and
//! a network that loses, delays, doubles and garbles by script.
//!
//! It notes what a filter must never do (`violations`): a sequence number with other bytes, a gap, a span that runs
//! backwards, a wrong token, a message over its bound.

mod ledger;
mod mapping;
mod network;

use std::collections::{BTreeMap, VecDeque};

use gaugeway_wire::{
    mapping::MappingRequest,
    report::ReportCall,
    units::{MappingEpoch, Nanos, UnixNanos, VmId},
};

pub use ledger::{Ledger, ReportedVm};
pub use mapping::{Index, Owner, service, unnamed};
pub use network::{Delivery, Fate};

use crate::host::HttpCall;
use mapping::{Held, Subscriptions};

/// Names a call of the simulation: worker and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId {
    /// Worker; [`CallId::GHOST`] for a VM that never runs (a canary).
    pub worker: usize,
    /// The host's token.
    pub token: u32,
}

impl CallId {
    /// Worker of a canary VM: nobody waits for the answer.
    pub const GHOST: usize = usize::MAX;
}

/// The simulated controller.
pub struct Controller {
    /// What keys belong to.
    pub index: Index,
    /// What was reported.
    pub ledger: Ledger,
    /// What happens to the next calls, in order; then [`Controller::fate`].
    pub fates: VecDeque<Fate>,
    /// What happens to calls when nothing is scripted.
    pub fate: Fate,
    /// Time between call and answer when nothing delays it.
    pub round_trip: Nanos,
    /// Token that calls must carry.
    pub token: String,
    /// Gateway that calls must name.
    pub gateway: String,
    /// What a filter must never do, at most 100 lines.
    pub violations: Vec<String>,
    /// Calls that arrived, by path.
    pub calls: BTreeMap<String, u64>,
    subscriptions: BTreeMap<VmId, Subscriptions>,
    held: Vec<Held>,
    outgoing: Vec<(UnixNanos, CallId, Delivery)>,
}

/// How long a mapping request is held at most.
pub const HOLD: Nanos = Nanos(25_000_000_000);
/// Least time between two answers with changes to one VM.
pub const SPACING: Nanos = Nanos(200_000_000);

impl Controller {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(now: UnixNanos) -> Self {
        Self {
            index: Index::new(now),
            ledger: Ledger::new(),
            fates: VecDeque::new(),
            fate: Fate::Deliver,
            round_trip: Nanos::from_millis(1),
            token: "00ff".repeat(16),
            gateway: "demo/edge".to_owned(),
            violations: Vec::new(),
            calls: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            held: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    /// The filter configuration that fits this controller: Envoy's reads the cluster, Kong's the address.
    #[must_use]
    pub fn configuration(&self) -> String {
        format!(
            r#"{{"gateway":"{}","cluster":"gaugeway-controller","controller":"10.96.0.9:7080","authority":"gaugeway","token":"{}"}}"#,
            self.gateway, self.token
        )
    }

    /// A new process without memory of subscriptions, under a new mapping epoch; the ledger went on.
    pub fn restart(&mut self) {
        self.index.epoch = MappingEpoch(self.index.epoch.0 + 1);
        self.subscriptions.clear();
        self.held.clear();
    }

    /// VMs that ever subscribed or reported.
    #[must_use]
    pub fn vms(&self) -> Vec<VmId> {
        let mut vms: Vec<VmId> = self
            .subscriptions
            .keys()
            .chain(self.ledger.vms.keys())
            .copied()
            .collect();
        vms.sort_unstable();
        vms.dedup();
        vms
    }

    /// Keys that a VM is subscribed to.
    #[must_use]
    pub fn subscribed(&self, vm: VmId) -> Vec<&str> {
        self.subscriptions
            .get(&vm)
            .map(Subscriptions::keys)
            .unwrap_or_default()
    }

    /// A call left a gateway.
    pub fn receive(&mut self, now: UnixNanos, id: CallId, call: &HttpCall) {
        let fate = self.fates.pop_front().unwrap_or_else(|| self.fate.clone());
        let lost_at = now.plus(Nanos::from_millis(call.timeout_ms.into()));
        match fate {
            Fate::LoseRequest => self.outgoing.push((lost_at, id, Delivery::TimedOut)),
            Fate::Reset => self
                .outgoing
                .push((now.plus(self.round_trip), id, Delivery::Reset)),
            Fate::Answer { status, body } => {
                self.send(now, id, Delivery::Answer { status, body });
            }
            Fate::Deliver => self.arrive(now, id, call, lost_at),
            Fate::LoseAnswer => {
                self.arrive(
                    now,
                    CallId {
                        worker: CallId::GHOST,
                        ..id
                    },
                    call,
                    lost_at,
                );
                self.outgoing.push((lost_at, id, Delivery::TimedOut));
            }
            Fate::Duplicate => {
                self.arrive(
                    now,
                    CallId {
                        worker: CallId::GHOST,
                        ..id
                    },
                    call,
                    lost_at,
                );
                self.arrive(now, id, call, lost_at);
            }
            Fate::Delay(by) => {
                let from = self.outgoing.len();
                self.arrive(now, id, call, lost_at);
                for (at, ..) in &mut self.outgoing[from..] {
                    *at = at.plus(by);
                }
            }
            Fate::Garble(seed) => {
                let from = self.outgoing.len();
                self.arrive(now, id, call, lost_at);
                for (_, _, delivery) in &mut self.outgoing[from..] {
                    delivery.garble(seed);
                }
            }
        }
    }

    /// The earliest time at which it has something to do by itself.
    #[must_use]
    pub fn wake_at(&self, now: UnixNanos) -> Option<UnixNanos> {
        self.held
            .iter()
            .map(|held| self.held_until(held).max(now))
            .min()
    }

    /// Answers what was held long enough, or has something to say by now.
    pub fn wake(&mut self, now: UnixNanos) {
        let (due, held): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|h| self.held_until(h) <= now);
        self.held = held;
        for held in due {
            let body = self.mapping_answer(now, held.vm);
            self.send(now, held.id, Delivery::Answer { status: 200, body });
        }
    }

    /// What is on its way back.
    pub fn take_outgoing(&mut self) -> Vec<(UnixNanos, CallId, Delivery)> {
        std::mem::take(&mut self.outgoing)
    }

    fn held_until(&self, held: &Held) -> UnixNanos {
        let subscriptions = self.subscriptions.get(&held.vm);
        match subscriptions.filter(|s| s.is_dirty(&self.index)) {
            Some(dirty) => dirty.answered.plus(SPACING).min(held.deadline),
            None => held.deadline,
        }
    }

    fn arrive(&mut self, now: UnixNanos, id: CallId, call: &HttpCall, timed_out: UnixNanos) {
        let path = call.header(":path").unwrap_or_default().to_owned();
        *self.calls.entry(path.clone()).or_default() += 1;
        self.check_headers(call);
        match path.as_str() {
            "/v1/mapping" => match MappingRequest::decode(&call.body) {
                Ok(request) => self.mapping(now, id, &request, timed_out),
                Err(error) => self.refuse(now, id, &error.to_string()),
            },
            "/v1/report" => match ReportCall::decode(&call.body) {
                Ok(report) => self.report(now, id, &report),
                Err(error) => self.refuse(now, id, &error.to_string()),
            },
            _ => self.refuse(now, id, &format!("path {path:?}")),
        }
    }

    fn check_headers(&mut self, call: &HttpCall) {
        let bearer = format!("Bearer {}", self.token);
        let wanted = [
            (":method", "POST"),
            ("authorization", bearer.as_str()),
            ("x-gaugeway-gateway", self.gateway.as_str()),
            ("content-type", "application/x-protobuf"),
        ];
        let wrong: Vec<String> = wanted
            .into_iter()
            .filter(|(name, value)| call.header(name) != Some(value))
            .map(|(name, _)| format!("header {name} is {:?}", call.header(name)))
            .collect();
        wrong.into_iter().for_each(|text| self.violation(text));
    }

    fn violation(&mut self, text: String) {
        if self.violations.len() < 100 {
            self.violations.push(text);
        }
    }

    fn refuse(&mut self, now: UnixNanos, id: CallId, why: &str) {
        self.violation(format!("refused: {why}"));
        self.send(
            now,
            id,
            Delivery::Answer {
                status: 400,
                body: why.as_bytes().to_vec(),
            },
        );
    }

    fn send(&mut self, now: UnixNanos, id: CallId, delivery: Delivery) {
        if id.worker != CallId::GHOST {
            self.outgoing
                .push((now.plus(self.round_trip), id, delivery));
        }
    }
}
