//! One worker VM's side of the mapping.

use std::collections::BTreeSet;

use gaugeway_wire::{Answer, GatewayName, Generation, MappingEpoch, VmId};
use hashbrown::HashSet;

use super::{SPACING, Ticket, keys::KeyId};
use crate::moment::Moment;

#[derive(Debug)]
pub(super) struct Vm {
    pub(super) gateway: GatewayName,
    pub(super) id: VmId,
    pub(super) epoch: MappingEpoch,
    pub(super) keys: HashSet<KeyId>,
    /// To be said.
    pub(super) due: BTreeSet<KeyId>,
    pub(super) policy_due: bool,
    /// Something due answers the VM's own question, so it is not spaced.
    urgent: bool,
    unconfirmed: Option<Unconfirmed>,
    pub(super) held: Option<Held>,
    pub(super) seen: Moment,
    /// When something was last said.
    spoken: Option<Moment>,
    /// State of the mapping that the answers so far describe.
    pub(super) told: Generation,
    /// When the index made the first of what is due due.
    changed: Option<Moment>,
    answers: u64,
}

/// What the last answer said.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    answer: Answer,
    pub(super) keys: Vec<KeyId>,
    pub(super) policy: bool,
    changed: Option<Moment>,
}

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) ticket: Ticket,
    pub(super) until: Moment,
    /// Its place in the hub's order of wakes.
    pub(super) wake: Moment,
}

/// Whether the VM holds what it was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// It does; the change that the answer carried happened then.
    Yes(Option<Moment>),
    /// It does not: all of it is due again.
    No,
}

impl Vm {
    pub(super) fn new(gateway: GatewayName, id: VmId, epoch: MappingEpoch, now: Moment) -> Self {
        Self {
            gateway,
            id,
            epoch,
            keys: HashSet::new(),
            due: BTreeSet::new(),
            policy_due: true,
            urgent: true,
            unconfirmed: None,
            held: None,
            seen: now,
            spoken: None,
            told: Generation(0),
            changed: None,
            answers: 0,
        }
    }

    /// It holds nothing (any more). Its subscriptions were dropped before.
    pub(super) fn start_anew(&mut self) {
        self.policy_due = true;
        self.urgent = true;
        self.unconfirmed = None;
        self.told = Generation(0);
        self.changed = None;
    }

    pub(super) fn confirm(&mut self, received: Answer) -> Confirmed {
        let Some(last) = self.unconfirmed.take() else {
            return Confirmed::Yes(None);
        };
        if last.answer == received {
            return Confirmed::Yes(last.changed);
        }
        let still = last.keys.into_iter().filter(|k| self.keys.contains(k));
        self.due.extend(still);
        self.policy_due |= last.policy;
        self.urgent = true;
        self.changed = [self.changed, last.changed].into_iter().flatten().min();
        Confirmed::No
    }

    pub(super) fn subscribe(&mut self, key: KeyId) {
        self.keys.insert(key);
        self.ask_again(key);
    }

    pub(super) fn ask_again(&mut self, key: KeyId) {
        self.due.insert(key);
        self.urgent = true;
    }

    /// True if it was subscribed.
    pub(super) fn release(&mut self, key: KeyId) -> bool {
        self.due.remove(&key);
        self.keys.remove(&key)
    }

    pub(super) fn note_change(&mut self, now: Moment) {
        self.changed.get_or_insert(now);
    }

    /// Entries, and the policy, that it was not told, or did not confirm.
    pub(super) fn behind(&self) -> usize {
        let told = self.unconfirmed.as_ref();
        let unconfirmed = told.map_or(0, |t| t.keys.len() + usize::from(t.policy));
        self.due.len() + usize::from(self.policy_due) + unconfirmed
    }

    /// When it may be told what is due; `None` if nothing is.
    pub(super) fn speaks_at(&self) -> Option<Moment> {
        if self.due.is_empty() && !self.policy_due {
            return None;
        }
        let spaced = self.spoken.map(|spoken| spoken.plus(SPACING));
        Some(spaced.filter(|_| !self.urgent).unwrap_or_default())
    }

    /// Number of the next answer.
    pub(super) fn next_answer(&self) -> Answer {
        Answer(self.answers + 1)
    }

    /// It was told this; what is left is due still.
    pub(super) fn told(&mut self, keys: Vec<KeyId>, generation: Generation, now: Moment) {
        for key in &keys {
            self.due.remove(key);
        }
        let complete = self.due.is_empty();
        self.answers += 1;
        self.unconfirmed = Some(Unconfirmed {
            answer: Answer(self.answers),
            keys,
            policy: std::mem::take(&mut self.policy_due),
            changed: if complete { self.changed.take() } else { None },
        });
        self.spoken = Some(now);
        self.urgent = !complete;
        if complete {
            self.told = generation;
        }
    }
}
