//! Who owns a key: what a mapping says, what gathered until then, and what nobody ever claims.

use gaugeway_wire::{
    FilterCounter, Fingerprint, MappingEntry, Nanos, Target, TargetDefinition, UnixNanos,
};

use super::{
    Carries, Recorder,
    entries::{Candidate, Current, EntryId, Key, Subscription},
    interned::NameId,
    series::{Owner, SeriesId},
    targets::TargetId,
};
use crate::{host::Names, identity, identity::Metadata, time::Instant};

/// Entries, series and targets that one [`Recorder::sweep`] looks at. A full table is through in some 3 s of ticks.
const SWEEP: u32 = 128;
/// Keys and series without a request for so long are given up.
const IDLE: Nanos = Nanos::from_millis(900_000);
/// The same while their table is nearly full.
const IDLE_IN_NEED: Nanos = Nanos::from_millis(60_000);

impl Recorder {
    /// Keeps a definition that a mapping answer brought.
    pub(crate) fn define(&mut self, definition: TargetDefinition<'_>) {
        self.targets.define(definition, self.now);
    }

    /// Takes over what a mapping answer says of one key. A key that is not held is given up again.
    pub(crate) fn apply(&mut self, told: &MappingEntry<'_>, wall: UnixNanos) {
        let Some(id) = self.entries.find(Key::parse(told.key)) else {
            self.entries.release(told.key.to_owned());
            return;
        };
        let next = self.read_current(told);
        let told_previous = told.previous.and_then(|previous| self.target(previous));
        let since = wall.minus(told.age);
        self.replace(id, next, since, told_previous);
        self.settle(id);
    }

    /// A target by fingerprint, as `overflow` when there is no room for it.
    fn target(&mut self, fingerprint: Fingerprint) -> Option<TargetId> {
        self.targets.name(fingerprint, self.now).or(self.overflow)
    }

    fn read_current(&mut self, told: &MappingEntry<'_>) -> Current {
        let mut candidates = Vec::new();
        for candidate in told.candidates() {
            if let Some(target) = self.target(candidate.target) {
                candidates.push((target, candidate));
            }
        }
        match candidates.as_slice() {
            [] => Current::Waiting(Some(self.answering)),
            [(target, _)] => Current::One(*target),
            _ => {
                let candidates = candidates.iter().map(|(target, candidate)| Candidate {
                    target: *target,
                    hints: candidate.hints().map(Into::into).collect(),
                });
                Current::Several(candidates.collect())
            }
        }
    }

    /// Puts a new owner in force. The old one is remembered for requests that began before.
    fn replace(
        &mut self,
        id: EntryId,
        mut next: Current,
        since: UnixNanos,
        told_previous: Option<TargetId>,
    ) {
        let hints = next.hint_bytes();
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        entry.subscription = Subscription::Confirmed;
        let freed = entry.current.hint_bytes();
        if hints > self.hint_bytes_left.saturating_add(freed)
            && let Current::Several(candidates) = &mut next
        {
            // Without hints the first candidate gets everything, and that is counted as ambiguous.
            candidates
                .iter_mut()
                .for_each(|candidate| candidate.hints = Box::default());
        }
        let nobody = matches!(next, Current::Waiting(_));
        if nobody && matches!(entry.current, Current::Waiting(_) | Current::Unknown) {
            // Still nobody: the grace goes on.
            if let Current::Waiting(from @ None) = &mut entry.current {
                *from = Some(self.answering);
            }
            if told_previous.is_none() {
                return;
            }
        } else if entry.current == next && told_previous.is_none() {
            return;
        }
        let held = entry
            .current
            .first()
            .filter(|&first| Some(first) != next.first());
        let previous = told_previous.or(held).or(entry.previous);
        let still_nobody = nobody && entry.current.first().is_none();
        self.hint_bytes_left = self
            .hint_bytes_left
            .saturating_add(freed)
            .saturating_sub(next.hint_bytes());
        for target in next.targets().chain(previous) {
            self.targets.acquire(target);
        }
        let old_previous = core::mem::replace(&mut entry.previous, previous);
        entry.since = since;
        let old = if still_nobody {
            next
        } else {
            core::mem::replace(&mut entry.current, next)
        };
        for target in old.targets().chain(old_previous) {
            self.targets.release(target, self.now);
        }
    }

    /// Gives what has gathered for a key to its owner, if there is one for it.
    fn settle(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        entry.recent = None;
        let mut next = entry.waiting.take();
        let mut kept: Option<SeriesId> = None;
        while let Some(series) = next {
            let Some(waiting) = self.series.get_mut(series) else {
                break;
            };
            next = waiting.next_waiting.take();
            if !self.settle_series(id, series)
                && let Some(waiting) = self.series.get_mut(series)
            {
                waiting.next_waiting = kept.replace(series);
            }
        }
        if let Some(entry) = self.entries.get_mut(id) {
            entry.waiting = kept;
        }
        // Carried identities are kept by name.
        if !self.series.has_waiting() && self.carries == Carries::Metadata {
            self.clusters.clear();
        }
    }

    /// Gives one series that gathered for a key to its owner. False when there is none for it.
    fn settle_series(&mut self, id: EntryId, series: SeriesId) -> bool {
        let (Some(entry), Some(waiting)) = (self.entries.get(id), self.series.get(series)) else {
            return false;
        };
        let cluster = match waiting.owner {
            Owner::Waiting(_, cluster) => self.clusters.name(cluster).as_bytes(),
            Owner::Target(_) => return false,
        };
        let cluster = entry.own_cluster().unwrap_or(cluster);
        let before = entry
            .previous
            .filter(|_| waiting.latest_start < entry.since);
        let owner = match before {
            Some(target) => Some((target, false)),
            None => entry.current.owner(|| Some(cluster)),
        };
        let unknown = self
            .unknown
            .filter(|_| entry.current == Current::Unknown)
            .map(|target| (target, false));
        let requests = waiting.tally.requests();
        let carried = match owner {
            None if self.asks_carried(&entry.current) => match self.carries {
                Carries::Metadata => entry.carried.and_then(|(_, target)| target),
                Carries::Names => identity::of_name(cluster).and_then(|told| self.keep(&told)),
            },
            _ => None,
        };
        let owner = owner.or(carried.map(|target| (target, false)));
        let Some((target, guessed)) = owner.or(unknown) else {
            return false;
        };
        self.counters.add(
            match owner {
                Some(_) => FilterCounter::Reattributed,
                None => FilterCounter::Unknown,
            },
            requests,
        );
        if guessed {
            self.counters.add(FilterCounter::Ambiguous, requests);
        }
        self.targets.acquire(target);
        self.series.adopt(series, target);
        true
    }

    /// Notes for how long a mapping was wanted, and whether there ever was one. After the grace of unknown keys without
    /// any, what the gateway itself carries decides.
    pub(crate) fn set_unreached(&mut self, waited: Nanos, is_known: bool) {
        self.unreached = !is_known && waited >= self.grace;
    }

    /// Whether a key is in a state in which what the gateway carries decides.
    pub(super) fn asks_carried(&self, current: &Current) -> bool {
        match current {
            Current::Waiting(_) => self.unreached,
            Current::Unknown => self.carries == Carries::Names,
            Current::One(_) | Current::Several(_) => false,
        }
    }

    /// Who owns a key by what the gateway carries: asked once per key, in Kong once per key and name.
    pub(super) fn carried(&mut self, id: EntryId, names: &mut impl Names) -> Option<TargetId> {
        let name = match self.carries {
            Carries::Metadata => NameId::NONE,
            Carries::Names => {
                let name = names.cluster().unwrap_or_default();
                self.clusters.intern(name).named()
            }
        };
        let entry = self.entries.get(id)?;
        if let Some((of, target)) = entry.carried
            && of == name
        {
            return target;
        }
        let told = match self.carries {
            // A request without an address has no endpoint either.
            Carries::Metadata if entry.own_cluster().is_some() => None,
            Carries::Metadata => Metadata::ALL
                .into_iter()
                .find_map(|of| of.read(names.metadata(of)?)),
            Carries::Names => identity::of_name(self.clusters.name(name).as_bytes()),
        };
        let target = told.and_then(|told| self.keep(&told));
        if let Some(target) = target {
            self.targets.acquire(target);
        }
        let entry = self.entries.get_mut(id)?;
        let before = entry.carried.replace((name, target));
        if let Some(before) = before.and_then(|(_, target)| target) {
            self.targets.release(before, self.now);
        }
        if target.is_some() {
            self.settle(id);
        }
        target
    }

    /// A target that no mapping told.
    fn keep(&mut self, target: &Target) -> Option<TargetId> {
        let definition = TargetDefinition {
            fingerprint: target.fingerprint(),
            target: &target.encode(),
        };
        self.targets.define(definition, self.now)
    }

    /// A request with these keys was answered (or not).
    pub(crate) fn subscribed(&mut self, sent: &[EntryId], confirmed: bool) {
        self.entries.settle(sent, confirmed);
    }

    /// Whether the controller has more to say than its last answer held.
    pub(crate) fn set_mapping_lacks(&mut self, more: bool) {
        self.mapping_lacks = more;
    }

    /// See [`Recorder::set_mapping_lacks`].
    pub(crate) const fn mapping_lacks(&self) -> bool {
        self.mapping_lacks
    }

    /// Notes the time, and for how long the controller has been answering.
    pub(crate) fn set_time(&mut self, now: Instant, answering: Nanos) {
        self.now = now;
        self.answering = answering;
    }

    /// Ends graces and gives up what is long unused, a bounded part at a time.
    pub(crate) fn sweep(&mut self) {
        for id in self.entries.walk(SWEEP) {
            self.sweep_entry(id);
        }
        let idle = idle(self.series.is_nearly_full());
        for target in self.series.sweep(SWEEP, self.now, idle) {
            self.targets.release(target, self.now);
        }
        self.targets.sweep(SWEEP, self.now);
    }

    fn sweep_entry(&mut self, id: EntryId) {
        let idle = idle(self.entries.is_nearly_full());
        let answering = self.answering;
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        // Told of nobody, and not about to be told.
        if let Current::Waiting(from @ None) = &mut entry.current
            && entry.subscription == Subscription::Confirmed
            && !self.mapping_lacks
        {
            *from = Some(answering);
        }
        if let Current::Waiting(Some(from)) = entry.current
            && self.answering.0.saturating_sub(from.0) >= self.grace.0
        {
            entry.current = Current::Unknown;
            self.settle(id);
            return;
        }
        let unused =
            entry.open == 0 && entry.waiting.is_none() && self.now.since(entry.used) >= idle;
        if unused && let Some(entry) = self.entries.remove(id) {
            self.hint_bytes_left = self
                .hint_bytes_left
                .saturating_add(entry.current.hint_bytes());
            for target in entry.targets() {
                self.targets.release(target, self.now);
            }
        }
    }

    /// The last chance to report: what still waits for its owner goes to `unknown`.
    pub(crate) fn give_up_waiting(&mut self) {
        for id in self.entries.ids() {
            if let Some(entry) = self.entries.get_mut(id)
                && entry.waiting.is_some()
                && matches!(entry.current, Current::Waiting(_))
            {
                entry.current = Current::Unknown;
                self.settle(id);
            }
        }
    }
}

const fn idle(in_need: bool) -> Nanos {
    if in_need { IDLE_IN_NEED } else { IDLE }
}
