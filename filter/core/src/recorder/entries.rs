//! Keys that requests went to, and who owns each of them.

use core::hash::BuildHasher as _;
use std::collections::VecDeque;

use foldhash::fast::FixedState;
use gaugeway_wire::{Nanos, UnixNanos, limits::KEY_BYTES, mapping::CLUSTER_PREFIX};
use hashbrown::HashTable;

use super::{
    interned::NameId,
    series::{Owner, SeriesId},
    targets::TargetId,
};
use crate::{
    slab::{Id, Slab},
    time::Instant,
};

pub(crate) type EntryId = Id<Entry>;

/// What a request went to, as the host names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key<'a> {
    /// An upstream address.
    Address(&'a [u8]),
    /// The cluster of a request that never had an address.
    Cluster(&'a [u8]),
}

impl<'a> Key<'a> {
    /// As the mapping names it.
    pub(crate) fn parse(key: &'a str) -> Self {
        match key.strip_prefix(CLUSTER_PREFIX) {
            Some(cluster) => Self::Cluster(cluster.as_bytes()),
            None => Self::Address(key.as_bytes()),
        }
    }

    /// Whether a mapping can name it.
    pub(crate) fn is_legal(self) -> bool {
        self.checked().is_some()
    }

    /// Its name as text within the mapping's bounds, or nothing.
    fn checked(self) -> Option<&'a str> {
        let (name, bound) = match self {
            Self::Address(name) => (name, KEY_BYTES),
            Self::Cluster(name) => (name, KEY_BYTES - CLUSTER_PREFIX.len()),
        };
        let fits = (1..=bound).contains(&name.len());
        core::str::from_utf8(name).ok().filter(|_| fits)
    }
}

/// Whether the controller knows that this VM wants a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscription {
    /// In the queue of [`Entries::take_new`].
    Queued,
    /// In a request that is under way.
    Sent,
    /// In a request that was answered.
    Confirmed,
}

/// Who owns a key now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Current {
    /// Not told yet. Holds the controller's answering time when the grace began.
    Waiting(Option<Nanos>),
    /// Nobody, and the grace has passed.
    Unknown,
    /// One target.
    One(TargetId),
    /// Several, in (namespace, name) order; a hint decides. At least two.
    Several(Box<[Candidate]>),
}

/// One owner of a shared key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) target: TargetId,
    /// Clusters through which a gateway reaches it.
    pub(crate) hints: Box<[Box<str>]>,
}

impl Candidate {
    fn is_reached_through(&self, cluster: &[u8]) -> bool {
        self.hints.iter().any(|hint| hint.as_bytes() == cluster)
    }
}

impl Current {
    /// The owner that counts when nothing else decides.
    pub(crate) fn first(&self) -> Option<TargetId> {
        match self {
            Self::Waiting(_) | Self::Unknown => None,
            Self::One(target) => Some(*target),
            Self::Several(candidates) => candidates.first().map(|candidate| candidate.target),
        }
    }

    /// The owner of a request through that cluster, and whether that was a guess; `None` while there is none. Asks for
    /// the cluster only where it decides.
    pub(crate) fn owner<'a>(
        &self,
        cluster: impl FnOnce() -> Option<&'a [u8]>,
    ) -> Option<(TargetId, bool)> {
        match self {
            Self::Waiting(_) | Self::Unknown => None,
            Self::One(target) => Some((*target, false)),
            Self::Several(candidates) => {
                let cluster = cluster().unwrap_or_default();
                let reached = |candidate: &&Candidate| candidate.is_reached_through(cluster);
                let named = candidates.iter().find(reached);
                let chosen = named.or_else(|| candidates.first())?;
                Some((chosen.target, named.is_none()))
            }
        }
    }

    /// All targets that it names.
    pub(crate) fn targets(&self) -> impl Iterator<Item = TargetId> + '_ {
        let (one, several) = match self {
            Self::Waiting(_) | Self::Unknown => (None, [].as_slice()),
            Self::One(target) => (Some(*target), [].as_slice()),
            Self::Several(candidates) => (None, &**candidates),
        };
        one.into_iter()
            .chain(several.iter().map(|candidate| candidate.target))
    }

    /// Memory of its hints.
    pub(crate) fn hint_bytes(&self) -> usize {
        match self {
            Self::Several(candidates) => candidates
                .iter()
                .flat_map(|c| &c.hints)
                .map(|hint| hint.len() + 16)
                .sum(),
            _ => 0,
        }
    }
}

/// One key.
#[derive(Debug)]
pub(crate) struct Entry {
    cluster: bool,
    name: Box<str>,
    pub(crate) subscription: Subscription,
    pub(crate) current: Current,
    /// Since when `current` is in force; requests that began before belong to `previous`.
    pub(crate) since: UnixNanos,
    pub(crate) previous: Option<TargetId>,
    /// What the gateway itself carries: for which name it was asked (none in Envoy), and the target, if there was one.
    pub(crate) carried: Option<(NameId, Option<TargetId>)>,
    /// First of the series that gather until an owner is known.
    pub(crate) waiting: Option<SeriesId>,
    /// The series used last: what an ordinary request finds without another look-up.
    pub(crate) recent: Option<(Owner, NameId, SeriesId)>,
    /// Requests that were counted here and still have a body under way: they may yet be aborted.
    pub(crate) open: u32,
    pub(crate) used: Instant,
}

impl Entry {
    fn key(&self) -> Key<'_> {
        match self.cluster {
            true => Key::Cluster(self.name.as_bytes()),
            false => Key::Address(self.name.as_bytes()),
        }
    }

    /// The cluster that all its requests went to, if the key tells.
    pub(crate) fn own_cluster(&self) -> Option<&[u8]> {
        self.cluster.then_some(self.name.as_bytes())
    }

    /// The targets that it holds.
    pub(crate) fn targets(&self) -> impl Iterator<Item = TargetId> + '_ {
        let carried = self.carried.and_then(|(_, target)| target);
        self.current.targets().chain(self.previous).chain(carried)
    }

    /// As the mapping names it.
    pub(crate) fn wire_key(&self) -> String {
        match self.cluster {
            true => format!("{CLUSTER_PREFIX}{}", self.name),
            false => (*self.name).to_owned(),
        }
    }
}

/// All keys.
#[derive(Debug)]
pub(crate) struct Entries {
    slab: Slab<Entry>,
    index: HashTable<EntryId>,
    hasher: FixedState,
    /// Keys to subscribe to.
    new: VecDeque<EntryId>,
    /// Keys given up.
    released: VecDeque<String>,
    cursor: u32,
}

impl Entries {
    pub(crate) fn new(bound: u32, seed: u64) -> Self {
        Self {
            slab: Slab::new(bound),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            new: VecDeque::new(),
            released: VecDeque::new(),
            cursor: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_nearly_full(&self) -> bool {
        self.slab.is_nearly_full()
    }

    pub(crate) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.slab.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.slab.get_mut(id)
    }

    fn hash(hasher: &FixedState, key: Key<'_>) -> u64 {
        hasher.hash_one(key)
    }

    pub(crate) fn find(&self, key: Key<'_>) -> Option<EntryId> {
        self.find_hashed(Self::hash(&self.hasher, key), key)
    }

    fn find_hashed(&self, hash: u64, key: Key<'_>) -> Option<EntryId> {
        let same = |&id: &EntryId| self.slab.get(id).is_some_and(|entry| entry.key() == key);
        self.index.find(hash, same).copied()
    }

    /// The key's entry, made if need be; `None` when the table is full or the key is none that a mapping can name.
    pub(crate) fn locate(&mut self, key: Key<'_>, now: Instant) -> Option<EntryId> {
        let hash = Self::hash(&self.hasher, key);
        match self.find_hashed(hash, key) {
            Some(id) => Some(id),
            None => self.insert(hash, key, now),
        }
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: Key<'_>, now: Instant) -> Option<EntryId> {
        let name = key.checked()?;
        let Self {
            slab,
            index,
            hasher,
            ..
        } = self;
        let rehash = |&id: &EntryId| {
            slab.get(id)
                .map_or(0, |entry| Self::hash(hasher, entry.key()))
        };
        index.try_reserve(1, rehash).ok()?;
        self.new.try_reserve(1).ok()?;
        let id = self.slab.insert(Entry {
            cluster: matches!(key, Key::Cluster(_)),
            name: name.into(),
            subscription: Subscription::Queued,
            current: Current::Waiting(None),
            since: UnixNanos(0),
            previous: None,
            carried: None,
            waiting: None,
            recent: None,
            open: 0,
            used: now,
        })?;
        // Room was reserved: nothing is hashed again.
        self.index.insert_unique(hash, id, |_| 0);
        self.new.push_back(id);
        Some(id)
    }

    /// Forgets a key and tells the controller.
    pub(crate) fn remove(&mut self, id: EntryId) -> Option<Entry> {
        let entry = self.slab.remove(id)?;
        let hash = Self::hash(&self.hasher, entry.key());
        if let Ok(found) = self.index.find_entry(hash, |&other| other == id) {
            found.remove();
        }
        if entry.subscription != Subscription::Queued {
            self.release(entry.wire_key());
        }
        Some(entry)
    }

    /// Tells the controller that a key is not wanted, unless too many wait for that already: then it learns it when
    /// it next speaks of that key.
    pub(crate) fn release(&mut self, key: String) {
        if self.released.len() < self.slab.bound() as usize {
            self.released.push_back(key);
        }
    }

    /// Takes the next key to subscribe to and marks it as sent.
    pub(crate) fn take_new(&mut self) -> Option<(EntryId, String)> {
        while let Some(id) = self.new.pop_front() {
            if let Some(entry) = self.slab.get_mut(id)
                && entry.subscription == Subscription::Queued
            {
                entry.subscription = Subscription::Sent;
                return Some((id, entry.wire_key()));
            }
        }
        None
    }

    /// Takes the next key that was given up, unless it is wanted again meanwhile.
    pub(crate) fn take_released(&mut self) -> Option<String> {
        while let Some(key) = self.released.pop_front() {
            if self.find(Key::parse(&key)).is_none() {
                return Some(key);
            }
        }
        None
    }

    /// Whether the controller should hear of keys.
    pub(crate) fn has_news(&self) -> bool {
        !self.new.is_empty()
    }

    pub(crate) fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// A request with these keys was answered (or was not): they are subscribed (or to be sent again).
    pub(crate) fn settle(&mut self, sent: &[EntryId], confirmed: bool) {
        for &id in sent {
            let Some(entry) = self.slab.get_mut(id) else {
                continue;
            };
            match (entry.subscription, confirmed) {
                (Subscription::Sent, true) => entry.subscription = Subscription::Confirmed,
                (Subscription::Sent, false) => {
                    entry.subscription = Subscription::Queued;
                    self.new.push_back(id);
                }
                _ => {}
            }
        }
    }

    /// The controller knows nothing of this VM any more: every key is to be subscribed again.
    pub(crate) fn subscribe_anew(&mut self) {
        self.subscribe_anew_but(&[]);
    }

    /// The controller knows nothing of this VM but these keys.
    pub(crate) fn subscribe_anew_but(&mut self, known: &[EntryId]) {
        self.released.clear();
        self.new.clear();
        for id in self.ids() {
            if let Some(entry) = self.slab.get_mut(id) {
                entry.subscription = Subscription::Queued;
            }
        }
        for &id in known {
            if let Some(entry) = self.slab.get_mut(id) {
                entry.subscription = Subscription::Confirmed;
            }
        }
        let lacking = self
            .slab
            .iter()
            .filter(|(_, entry)| entry.subscription == Subscription::Queued);
        self.new.extend(lacking.map(|(id, _)| id));
    }

    /// The next `steps` keys, for a sweep.
    pub(crate) fn walk(&mut self, steps: u32) -> impl Iterator<Item = EntryId> + use<> {
        self.slab.walk(&mut self.cursor, steps)
    }

    pub(crate) fn ids(&self) -> Vec<EntryId> {
        self.slab.iter().map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_by_kind_and_name() {
        let mut entries = Entries::new(8, 1);
        let now = Instant::default();
        let address = entries.locate(Key::Address(b"10.0.0.1:80"), now).unwrap();
        let cluster = entries.locate(Key::Cluster(b"10.0.0.1:80"), now).unwrap();
        assert_ne!(address, cluster);
        assert_eq!(
            entries.locate(Key::parse("10.0.0.1:80"), now),
            Some(address)
        );
        assert_eq!(
            entries.find(Key::parse("cluster:10.0.0.1:80")),
            Some(cluster)
        );
        assert_eq!(
            entries.take_new(),
            Some((address, "10.0.0.1:80".to_owned()))
        );
        assert_eq!(
            entries.take_new(),
            Some((cluster, "cluster:10.0.0.1:80".to_owned()))
        );
        assert_eq!(entries.take_new(), None);
        for bad in [b"".as_slice(), &[0xff], &[b'x'; 513]] {
            assert_eq!(entries.locate(Key::Address(bad), now), None);
        }
    }

    #[test]
    fn a_lost_request_is_sent_again() {
        let mut entries = Entries::new(8, 1);
        let id = entries
            .locate(Key::Address(b"a"), Instant::default())
            .unwrap();
        entries.take_new();
        entries.settle(&[id], false);
        assert_eq!(entries.take_new().map(|(id, _)| id), Some(id));
        entries.settle(&[id], true);
        assert!(!entries.has_news());
        entries.subscribe_anew();
        assert_eq!(entries.take_new().map(|(id, _)| id), Some(id));
    }

    #[test]
    fn a_key_that_came_back_is_not_released() {
        let mut entries = Entries::new(8, 1);
        for key in [b"a", b"b"] {
            let id = entries
                .locate(Key::Address(key), Instant::default())
                .unwrap();
            entries.take_new();
            entries.remove(id);
        }
        entries.locate(Key::Address(b"a"), Instant::default());
        assert_eq!(entries.take_released().as_deref(), Some("b"));
        assert_eq!(entries.take_released(), None);
    }
}
