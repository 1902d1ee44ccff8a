//! Series: counts by (owner, route), and the queue of those that have something to report.
//!
//! A series is *open* while samples may come to it: then it is in the index under its owner and route and has the
//! layout in force. A *retired* one only waits to be reported; the same owner and route may have an open one beside it.

use core::hash::BuildHasher as _;
use std::{collections::VecDeque, rc::Rc};

use foldhash::fast::FixedState;
use gaugeway_wire::{Layout, UnixNanos};
use hashbrown::HashTable;

use super::{
    buckets::Budget,
    entries::EntryId,
    interned::NameId,
    tally::{Counted, Tally},
    targets::TargetId,
};
use crate::{
    slab::{Id, Slab},
    time::Instant,
};

pub(crate) type SeriesId = Id<Series>;

/// Whose counts they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A target's.
    Target(TargetId),
    /// A key's, until its target is known. Apart by cluster: an address of several Services is told apart by it.
    Waiting(EntryId, NameId),
}

/// One series.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) owner: Owner,
    pub(crate) route: NameId,
    pub(crate) layout: Rc<Layout>,
    pub(crate) tally: Tally,
    /// Nothing that is counted in it happened before.
    pub(crate) since: UnixNanos,
    /// Latest start of a request in it, while it waits for its owner.
    pub(crate) latest_start: UnixNanos,
    /// The next that waits for the same owner.
    pub(crate) next_waiting: Option<SeriesId>,
    dirty: bool,
    retired: bool,
    used: Instant,
}

/// All series.
#[derive(Debug)]
pub(crate) struct SeriesTable {
    slab: Slab<Series>,
    index: HashTable<SeriesId>,
    hasher: FixedState,
    /// Series of targets with something to report, dirty the longest first.
    dirty: VecDeque<SeriesId>,
    /// Bound for all but the owners that must never be refused.
    ordinary: u32,
    budget: Budget,
    cursor: u32,
    /// Series of keys.
    waiting: u32,
    /// When the last round of reports began; before the first, when the first request did.
    last_round: Option<UnixNanos>,
}

/// Room beyond the bound for unknown and overflow.
const SPARE: u32 = 8;

impl SeriesTable {
    pub(crate) fn new(bound: u32, bucket_bytes: usize, seed: u64) -> Self {
        Self {
            slab: Slab::new(bound + SPARE),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            dirty: VecDeque::new(),
            ordinary: bound,
            budget: Budget::new(bucket_bytes),
            cursor: 0,
            waiting: 0,
            last_round: None,
        }
    }

    pub(crate) fn get(&self, id: SeriesId) -> Option<&Series> {
        self.slab.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: SeriesId) -> Option<&mut Series> {
        self.slab.get_mut(id)
    }

    /// Whether a remembered series is still the open one of its owner.
    pub(crate) fn is_open(&self, id: SeriesId) -> bool {
        self.slab.get(id).is_some_and(|series| !series.retired)
    }

    fn hash(hasher: &FixedState, owner: Owner, route: NameId) -> u64 {
        let (bits, cluster) = match owner {
            Owner::Target(id) => (id.bits(), u64::MAX),
            Owner::Waiting(id, cluster) => (id.bits(), cluster.bits()),
        };
        hasher.hash_one((bits, cluster, route.bits()))
    }

    /// The open series of an owner and route.
    pub(crate) fn find(&self, owner: Owner, route: NameId) -> Option<SeriesId> {
        let same = |&id: &SeriesId| {
            let series = self.slab.get(id);
            series.is_some_and(|series| series.owner == owner && series.route == route)
        };
        let hash = Self::hash(&self.hasher, owner, route);
        self.index.find(hash, same).copied()
    }

    /// Makes one, which must not exist; `None` at the bound (`spare` owners have some room beyond it) or when memory is
    /// refused.
    pub(crate) fn open(
        &mut self,
        owner: Owner,
        route: NameId,
        layout: &Rc<Layout>,
        spare: bool,
    ) -> Option<SeriesId> {
        if !spare && self.slab.len() >= self.ordinary as usize {
            return None;
        }
        self.reserve_index()?;
        // A series is in the queue at most once: with this, queueing never allocates.
        let queue = (self.slab.len() + 1).saturating_sub(self.dirty.len());
        self.dirty.try_reserve(queue).ok()?;
        let id = self.slab.insert(Series {
            owner,
            route,
            layout: Rc::clone(layout),
            tally: Tally::new(),
            since: self.last_round.unwrap_or_default(),
            latest_start: UnixNanos(0),
            next_waiting: None,
            dirty: false,
            retired: false,
            used: Instant::default(),
        })?;
        let hash = Self::hash(&self.hasher, owner, route);
        self.index.insert_unique(hash, id, |_| 0);
        self.waiting += u32::from(matches!(owner, Owner::Waiting(..)));
        Some(id)
    }

    /// Room for one more in the index, so that inserting hashes nothing again.
    fn reserve_index(&mut self) -> Option<()> {
        let Self {
            slab,
            index,
            hasher,
            ..
        } = self;
        let rehash = |&id: &SeriesId| {
            slab.get(id)
                .map_or(0, |series| Self::hash(hasher, series.owner, series.route))
        };
        index.try_reserve(1, rehash).ok()
    }

    /// Counts a request; false, with nothing counted, when there is no room for its bucket.
    pub(crate) fn count(
        &mut self,
        id: SeriesId,
        counted: &Counted,
        start: UnixNanos,
        now: Instant,
        spare: bool,
    ) -> bool {
        let Some(series) = self.slab.get_mut(id) else {
            return false;
        };
        let budget = (!spare).then_some(&mut self.budget);
        let Some(room) = series.tally.reserve(counted, &series.layout, budget) else {
            return false;
        };
        series.tally.add(counted, &room);
        series.latest_start = series.latest_start.max(start);
        series.used = now;
        self.begin(id);
        true
    }

    /// Counts an abort.
    pub(crate) fn abort(&mut self, id: SeriesId) {
        if let Some(series) = self.slab.get_mut(id) {
            series.tally.abort();
            self.begin(id);
        }
    }

    /// Something was counted. A series that was not in the queue when the last round began was empty then.
    fn begin(&mut self, id: SeriesId) {
        if let Some(series) = self.slab.get_mut(id)
            && !series.dirty
            && matches!(series.owner, Owner::Target(_))
        {
            series.since = series.since.max(self.last_round.unwrap_or_default());
            self.queue(id);
        }
    }

    /// Puts a target's series into the queue of what is to be reported.
    pub(crate) fn queue(&mut self, id: SeriesId) {
        if let Some(series) = self.slab.get_mut(id)
            && !series.dirty
            && matches!(series.owner, Owner::Target(_))
        {
            series.dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// Takes a series out of the index: it gets no more samples.
    pub(crate) fn retire(&mut self, id: SeriesId) {
        let Some(series) = self.slab.get_mut(id) else {
            return;
        };
        if series.retired {
            return;
        }
        series.retired = true;
        let hash = Self::hash(&self.hasher, series.owner, series.route);
        if let Ok(found) = self.index.find_entry(hash, |&other| other == id) {
            found.remove();
        }
    }

    /// Gives a waiting series its target. It stays open when the target has no other open series of that route.
    pub(crate) fn adopt(&mut self, id: SeriesId, target: TargetId) {
        let Some(route) = self.slab.get(id).map(|series| series.route) else {
            return;
        };
        let owner = Owner::Target(target);
        let was_open = self.is_open(id);
        let taken = self.find(owner, route).is_some();
        self.retire(id);
        let reopened = was_open && !taken && self.reserve_index().is_some();
        if let Some(series) = self.slab.get_mut(id) {
            let waited = matches!(series.owner, Owner::Waiting(..));
            self.waiting -= u32::from(waited).min(self.waiting);
            series.owner = owner;
            series.next_waiting = None;
            series.retired = !reopened;
        }
        if reopened {
            let hash = Self::hash(&self.hasher, owner, route);
            self.index.insert_unique(hash, id, |_| 0);
        }
        self.queue(id);
    }

    /// Whether any waits for its owner.
    pub(crate) const fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Retires all: the layout changes.
    pub(crate) fn retire_all(&mut self) {
        self.index.clear();
        let ids: Vec<_> = self.slab.iter().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(series) = self.slab.get_mut(id) {
                series.retired = true;
            }
        }
    }

    /// Notes when a round began, and before the first one that something is counted.
    pub(crate) const fn set_last_round(&mut self, at: UnixNanos) {
        self.last_round = Some(at);
    }

    /// Whether there was a first request.
    pub(crate) const fn has_begun(&self) -> bool {
        self.last_round.is_some()
    }

    /// Series in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.dirty.len()
    }

    /// The first in the queue.
    pub(crate) fn first(&self) -> Option<(SeriesId, &Series)> {
        let id = *self.dirty.front()?;
        Some((id, self.slab.get(id)?))
    }

    /// Series at the front of the queue.
    pub(crate) fn front(&self, most: usize) -> impl Iterator<Item = &Series> {
        self.dirty
            .iter()
            .take(most)
            .filter_map(|&id| self.slab.get(id))
    }

    /// The first in the queue was reported: it starts at zero, or goes when it was retired. Returns the target of one
    /// that went.
    pub(crate) fn pop_reported(&mut self, at: UnixNanos) -> Option<TargetId> {
        let id = self.dirty.pop_front()?;
        let series = self.slab.get_mut(id)?;
        series.dirty = false;
        series.since = at;
        series.tally.reset();
        if series.retired {
            self.remove(id)
        } else {
            None
        }
    }

    /// Removes a series; returns its target.
    fn remove(&mut self, id: SeriesId) -> Option<TargetId> {
        self.retire(id);
        let series = self.slab.remove(id)?;
        self.budget.give_back(series.tally.charged());
        match series.owner {
            Owner::Target(target) => Some(target),
            Owner::Waiting(..) => None,
        }
    }

    /// Looks at the next `steps` series and removes those of targets that have nothing to report and were not used
    /// for `idle`; returns their targets.
    pub(crate) fn sweep(
        &mut self,
        steps: u32,
        now: Instant,
        idle: gaugeway_wire::Nanos,
    ) -> Vec<TargetId> {
        let mut gone = Vec::new();
        let mut cursor = self.cursor;
        for id in self.slab.walk(&mut cursor, steps) {
            let unused = |series: &Series| {
                !series.dirty
                    && matches!(series.owner, Owner::Target(_))
                    && (series.retired || now.since(series.used) >= idle)
            };
            if self.slab.get(id).is_some_and(unused) {
                gone.extend(self.remove(id));
            }
        }
        self.cursor = cursor;
        gone
    }

    /// Whether little room is left.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.slab.is_nearly_full()
    }
}
