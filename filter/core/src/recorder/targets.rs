//! Targets by fingerprint. Their definitions are opaque bytes, kept only to be sent back when a ledger lacks them.

use foldhash::fast::FixedState;
use gaugeway_wire::{Fingerprint, LedgerEpoch, Nanos, TargetDefinition};
use hashbrown::HashTable;

use crate::{
    slab::{Id, Slab},
    time::Instant,
};

/// How long a target that nothing uses is kept.
const KEPT: Nanos = Nanos::from_millis(600_000);
/// The same while the table is nearly full.
const KEPT_IN_NEED: Nanos = Nanos::from_millis(30_000);

pub(crate) type TargetId = Id<Target>;

/// One target.
#[derive(Debug)]
pub(crate) struct Target {
    fingerprint: Fingerprint,
    /// Empty when the definition was never received or could not be kept.
    definition: Box<[u8]>,
    /// The ledger that is known to have the definition.
    known_to: Option<LedgerEpoch>,
    uses: u32,
    unused_since: Instant,
}

/// All targets.
#[derive(Debug)]
pub(crate) struct Targets {
    slab: Slab<Target>,
    index: HashTable<TargetId>,
    hasher: FixedState,
    /// Bytes that definitions may still take.
    bytes_left: usize,
    cursor: u32,
}

impl Targets {
    pub(crate) fn new(bound: u32, definition_bytes: usize, seed: u64) -> Self {
        Self {
            slab: Slab::new(bound),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            bytes_left: definition_bytes,
            cursor: 0,
        }
    }

    fn hash(hasher: &FixedState, fingerprint: Fingerprint) -> u64 {
        core::hash::BuildHasher::hash_one(hasher, fingerprint)
    }

    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Option<TargetId> {
        let hash = Self::hash(&self.hasher, fingerprint);
        let same = |&id: &TargetId| self.fingerprint(id) == Some(fingerprint);
        self.index.find(hash, same).copied()
    }

    /// The target of that fingerprint, made if need be; `None` when the table is full.
    pub(crate) fn name(&mut self, fingerprint: Fingerprint, now: Instant) -> Option<TargetId> {
        if let Some(id) = self.find(fingerprint) {
            return Some(id);
        }
        let Self {
            slab,
            index,
            hasher,
            ..
        } = self;
        let rehash = |&id: &TargetId| {
            let fingerprint = slab
                .get(id)
                .map_or(Fingerprint(0), |target| target.fingerprint);
            Self::hash(hasher, fingerprint)
        };
        index.try_reserve(1, rehash).ok()?;
        let id = self.slab.insert(Target {
            fingerprint,
            definition: Box::default(),
            known_to: None,
            uses: 0,
            unused_since: now,
        })?;
        let hash = Self::hash(&self.hasher, fingerprint);
        // Room was reserved: nothing is hashed again.
        self.index.insert_unique(hash, id, |_| 0);
        Some(id)
    }

    /// Keeps a definition, if it is new and there is room for it.
    pub(crate) fn define(
        &mut self,
        definition: TargetDefinition<'_>,
        now: Instant,
    ) -> Option<TargetId> {
        let id = self.name(definition.fingerprint, now)?;
        let target = self.slab.get_mut(id)?;
        let bytes = definition.target;
        if target.definition.is_empty() && bytes.len() <= self.bytes_left {
            let mut kept = Vec::new();
            if kept.try_reserve_exact(bytes.len()).is_ok() {
                kept.extend_from_slice(bytes);
                target.definition = kept.into_boxed_slice();
                self.bytes_left -= bytes.len();
            }
        }
        Some(id)
    }

    pub(crate) fn fingerprint(&self, id: TargetId) -> Option<Fingerprint> {
        self.slab.get(id).map(|target| target.fingerprint)
    }

    /// One more use: a target in use is kept.
    pub(crate) fn acquire(&mut self, id: TargetId) -> TargetId {
        if let Some(target) = self.slab.get_mut(id) {
            target.uses = target.uses.saturating_add(1);
        }
        id
    }

    /// One use less.
    pub(crate) fn release(&mut self, id: TargetId, now: Instant) {
        if let Some(target) = self.slab.get_mut(id) {
            target.uses = target.uses.saturating_sub(1);
            target.unused_since = now;
        }
    }

    /// The definition, unless it is not there or (given a ledger) that ledger has it.
    pub(crate) fn definition(
        &self,
        id: TargetId,
        unless: Option<LedgerEpoch>,
    ) -> Option<TargetDefinition<'_>> {
        let target = self.slab.get(id)?;
        let known = unless.is_some() && target.known_to == unless;
        (!known && !target.definition.is_empty()).then_some(TargetDefinition {
            fingerprint: target.fingerprint,
            target: &target.definition,
        })
    }

    /// Notes whether a ledger has a definition.
    pub(crate) fn set_known(&mut self, id: TargetId, to: Option<LedgerEpoch>) {
        if let Some(target) = self.slab.get_mut(id) {
            target.known_to = to;
        }
    }

    /// Looks at the next `steps` targets and forgets those long unused.
    pub(crate) fn sweep(&mut self, steps: u32, now: Instant) {
        let kept = if self.slab.is_nearly_full() {
            KEPT_IN_NEED
        } else {
            KEPT
        };
        let mut cursor = self.cursor;
        for id in self.slab.walk(&mut cursor, steps) {
            let unused =
                |target: &Target| target.uses == 0 && now.since(target.unused_since) >= kept;
            if self.slab.get(id).is_some_and(unused) {
                self.remove(id);
            }
        }
        self.cursor = cursor;
    }

    fn remove(&mut self, id: TargetId) {
        let Some(target) = self.slab.remove(id) else {
            return;
        };
        let hash = Self::hash(&self.hasher, target.fingerprint);
        if let Ok(found) = self.index.find_entry(hash, |&other| other == id) {
            found.remove();
        }
        self.bytes_left += target.definition.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(n: u64, target: &[u8]) -> TargetDefinition<'_> {
        TargetDefinition {
            fingerprint: Fingerprint(n),
            target,
        }
    }

    #[test]
    fn definitions_are_bounded_and_the_unused_forgotten() {
        let mut targets = Targets::new(8, 10, 1);
        let now = Instant::default();
        let a = targets.define(definition(1, b"12345"), now).unwrap();
        let b = targets.define(definition(2, b"123456"), now).unwrap();
        assert!(targets.definition(a, None).is_some());
        assert!(
            targets.definition(b, None).is_none(),
            "no room for its bytes"
        );
        targets.acquire(b);
        targets.sweep(100, now.plus(KEPT));
        assert_eq!(
            (targets.find(Fingerprint(1)), targets.find(Fingerprint(2))),
            (None, Some(b))
        );
        assert!(targets.define(definition(2, b"123456"), now).is_some());
        assert!(targets.definition(b, None).is_some(), "room again");
    }

    #[test]
    fn a_ledger_is_told_once() {
        let mut targets = Targets::new(8, 100, 1);
        let id = targets
            .define(definition(1, b"x"), Instant::default())
            .unwrap();
        targets.set_known(id, Some(LedgerEpoch(7)));
        assert!(targets.definition(id, Some(LedgerEpoch(7))).is_none());
        assert!(targets.definition(id, Some(LedgerEpoch(8))).is_some());
        assert!(targets.definition(id, None).is_some());
    }
}
