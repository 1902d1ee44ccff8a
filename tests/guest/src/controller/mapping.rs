//! The simulated mapping: what keys belong to, who subscribed to what, which answers were confirmed.

use std::collections::BTreeMap;

use gaugeway_wire::{
    mapping::{MappingAnswerWriter, MappingRequest, OwnedCandidate},
    policy::Policy,
    target::{Fingerprint, Label, Target, TargetDefinition, TargetKind, names},
    units::{Answer, Generation, MappingEpoch, Nanos, UnixNanos, VmId},
};

use crate::controller::{CallId, Controller, Delivery, HOLD};

/// What keys belong to. Every change is a new generation.
pub struct Index {
    /// Random in the real one.
    pub epoch: MappingEpoch,
    generation: u64,
    policy: Policy,
    policy_generation: u64,
    began: UnixNanos,
    owners: BTreeMap<String, Owner>,
    definitions: BTreeMap<Fingerprint, Vec<u8>>,
}

/// Who owns a key.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// Candidates in order; none: nobody.
    pub candidates: Vec<OwnedCandidate>,
    /// Since when.
    pub since: UnixNanos,
    /// The first candidate before.
    pub previous: Option<Fingerprint>,
    generation: u64,
}

/// A target of a Service, and of a Pod where one is named.
#[must_use]
pub fn service(namespace: &str, service: &str, pod: Option<&str>) -> Target {
    let label = |name: &'static str, value: &str| Label {
        name: name.into(),
        value: value.to_owned(),
    };
    let labels = [
        Some(label(names::NAMESPACE, namespace)),
        Some(label(names::SERVICE, service)),
    ]
    .into_iter()
    .chain([pod.map(|pod| label(names::POD, pod))])
    .flatten()
    .collect();
    Target::try_new(TargetKind::Kubernetes, labels).unwrap_or_else(|_| unnamed(TargetKind::Unknown))
}

/// A target without labels.
#[must_use]
pub fn unnamed(kind: TargetKind) -> Target {
    // No label can be wrong where there is none.
    Target::try_new(kind, Vec::new()).unwrap_or_else(|error| unreachable!("{error}"))
}

impl Index {
    pub(super) fn new(now: UnixNanos) -> Self {
        Self {
            epoch: MappingEpoch(1),
            generation: 1,
            policy: Policy::default(),
            policy_generation: 1,
            began: now,
            owners: BTreeMap::new(),
            definitions: BTreeMap::new(),
        }
    }

    /// A key belongs to one target from now on.
    pub fn set(&mut self, now: UnixNanos, key: &str, target: &Target) {
        self.set_candidates(now, key, &[(target.clone(), Vec::new())]);
    }

    /// A key belongs to one of several targets, each reached through the clusters named beside it.
    pub fn set_candidates(
        &mut self,
        now: UnixNanos,
        key: &str,
        candidates: &[(Target, Vec<String>)],
    ) {
        self.generation += 1;
        for (target, _) in candidates {
            self.definitions
                .insert(target.fingerprint(), target.encode());
        }
        let candidates: Vec<OwnedCandidate> = candidates
            .iter()
            .map(|(target, hints)| OwnedCandidate {
                target: target.fingerprint(),
                hints: hints.clone(),
            })
            .collect();
        let previous = self
            .owners
            .get(key)
            .and_then(|o| o.candidates.first())
            .map(|c| c.target);
        let owner = Owner {
            candidates,
            since: now,
            previous,
            generation: self.generation,
        };
        self.owners.insert(key.to_owned(), owner);
    }

    /// A key belongs to nobody from now on.
    pub fn clear(&mut self, now: UnixNanos, key: &str) {
        self.set_candidates(now, key, &[]);
    }

    /// Another policy from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.generation += 1;
        self.policy = policy;
        self.policy_generation = self.generation;
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The target of a request to `key` through `cluster`, once the mapping is in force.
    #[must_use]
    pub fn target_of(&self, key: &str, cluster: &str) -> Fingerprint {
        let candidates = self
            .owners
            .get(key)
            .map_or(&[][..], |owner| &owner.candidates);
        candidates
            .iter()
            .find(|candidate| candidate.hints.iter().any(|hint| hint == cluster))
            .or(candidates.first())
            .map_or_else(
                || unnamed(TargetKind::Unknown).fingerprint(),
                |candidate| candidate.target,
            )
    }

    fn owner(&self, key: &str) -> Owner {
        let nobody = || Owner {
            since: self.began,
            generation: 1,
            ..Owner::default()
        };
        self.owners.get(key).cloned().unwrap_or_else(nobody)
    }

    fn generation_of(&self, key: &str) -> u64 {
        self.owners.get(key).map_or(1, |owner| owner.generation)
    }
}

/// A mapping request that is held.
pub(super) struct Held {
    pub(super) id: CallId,
    pub(super) vm: VmId,
    pub(super) deadline: UnixNanos,
}

/// What one VM is subscribed to, with the generation of each key that it confirmed (0: none).
#[derive(Default)]
pub(super) struct Subscriptions {
    confirmed: BTreeMap<String, u64>,
    policy: u64,
    answers: u64,
    unconfirmed: Option<Sent>,
    pub(super) answered: UnixNanos,
}

struct Sent {
    answer: u64,
    keys: Vec<(String, u64)>,
    policy: u64,
}

impl Subscriptions {
    pub(super) fn keys(&self) -> Vec<&str> {
        self.confirmed.keys().map(String::as_str).collect()
    }

    pub(super) fn is_dirty(&self, index: &Index) -> bool {
        self.policy != index.policy_generation
            || self
                .confirmed
                .iter()
                .any(|(key, generation)| *generation != index.generation_of(key))
    }

    fn confirm(&mut self, received: Answer) {
        if let Some(sent) = self
            .unconfirmed
            .take()
            .filter(|sent| sent.answer == received.0)
        {
            for (key, generation) in sent.keys {
                if let Some(confirmed) = self.confirmed.get_mut(&key) {
                    *confirmed = generation;
                }
            }
            self.policy = sent.policy;
        }
    }
}

impl Controller {
    pub(super) fn mapping(
        &mut self,
        now: UnixNanos,
        id: CallId,
        request: &MappingRequest,
        timed_out: UnixNanos,
    ) {
        let (superseded, held): (Vec<Held>, Vec<Held>) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|held| held.vm == request.vm);
        self.held = held;
        for old in superseded {
            let body = self.empty_answer();
            self.send(now, old.id, Delivery::Answer { status: 200, body });
        }
        self.subscribe(request);
        let dirty = self
            .subscriptions
            .get(&request.vm)
            .is_some_and(|s| s.is_dirty(&self.index));
        if dirty || request.no_wait {
            let body = self.mapping_answer(now, request.vm);
            self.send(now, id, Delivery::Answer { status: 200, body });
        } else {
            self.held.push(Held {
                id,
                vm: request.vm,
                deadline: now.plus(HOLD),
            });
            // What the gateway gives up by itself: whichever comes first is delivered, the other ignored.
            if id.worker != CallId::GHOST {
                self.outgoing.push((timed_out, id, Delivery::TimedOut));
            }
        }
    }

    /// Takes over what a request says.
    pub(super) fn subscribe(&mut self, request: &MappingRequest) {
        let epoch = self.index.epoch;
        let subscriptions = self.subscriptions.entry(request.vm).or_default();
        if request.mapping_epoch == epoch {
            subscriptions.confirm(request.received);
        } else {
            let answers = subscriptions.answers;
            *subscriptions = Subscriptions {
                answers,
                ..Subscriptions::default()
            };
        }
        for key in &request.subscribe {
            subscriptions.confirmed.insert(key.clone(), 0);
        }
        for key in &request.release {
            subscriptions.confirmed.remove(key);
        }
    }

    /// What a VM does not have, as much as fits.
    pub(super) fn mapping_answer(&mut self, now: UnixNanos, vm: VmId) -> Vec<u8> {
        let index = &self.index;
        let Some(subscriptions) = self
            .subscriptions
            .get_mut(&vm)
            .filter(|s| s.is_dirty(index))
        else {
            return self.empty_answer();
        };
        let mut writer = MappingAnswerWriter::new();
        if subscriptions.policy != index.policy_generation {
            writer.policy(&index.policy);
        }
        let mut sent = Vec::new();
        let mut more = false;
        for (key, confirmed) in &subscriptions.confirmed {
            let owner = index.owner(key);
            if owner.generation == *confirmed {
                continue;
            }
            if !write_entry(&mut writer, index, now, key, &owner) {
                more = true;
                break;
            }
            sent.push((key.clone(), owner.generation));
        }
        subscriptions.answers += 1;
        subscriptions.answered = now;
        let answer = subscriptions.answers;
        subscriptions.unconfirmed = Some(Sent {
            answer,
            keys: sent,
            policy: index.policy_generation,
        });
        let generation = if more { 0 } else { index.generation };
        writer.finish(index.epoch, Generation(generation), Answer(answer), more)
    }

    fn empty_answer(&self) -> Vec<u8> {
        let generation = Generation(self.index.generation);
        MappingAnswerWriter::new().finish(self.index.epoch, generation, Answer(0), false)
    }
}

fn write_entry(
    writer: &mut MappingAnswerWriter,
    index: &Index,
    now: UnixNanos,
    key: &str,
    owner: &Owner,
) -> bool {
    let needed = owner
        .candidates
        .iter()
        .map(|c| c.target)
        .chain(owner.previous);
    let definitions: Vec<TargetDefinition<'_>> = needed
        .filter_map(|fingerprint| {
            let target = index.definitions.get(&fingerprint)?;
            Some(TargetDefinition {
                fingerprint,
                target,
            })
        })
        .collect();
    let age = now.since(owner.since).unwrap_or(Nanos(0));
    writer.entry(key, &owner.candidates, age, owner.previous, &definitions)
}
