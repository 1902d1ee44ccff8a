//! What one gateway may name: its targets by fingerprint, and counts whose name is not known yet.
//!
//! Definitions are kept per gateway, never shared: fingerprints are 64 bits and not cryptographic, so a tenant could
//! make a target of its own with the fingerprint of another's.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use gaugeway_wire::{Fingerprint, Generation, Layout, Target, UnixNanos};

use crate::{
    counts::Counts,
    limits::{REACH_MEMORY, TARGET_IDLE, UNNAMED_AGE},
    recent::Subjects,
    series::SeriesKey,
    store::Slot,
};

#[derive(Debug, Default)]
pub(crate) struct Gateway {
    pub(crate) entries: HashMap<Fingerprint, Entry, RandomState>,
    /// Pairs of a fingerprint and a route in unnamed entries.
    pub(crate) unnamed: usize,
    pub(crate) used: UnixNanos,
}

#[derive(Debug)]
pub(crate) enum Entry {
    Named(Named),
    Unnamed(Unnamed),
}

/// A target whose definition came.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) target: Arc<Target>,
    pub(crate) verdict: Option<Verdict>,
    /// Its series, by route. A link may be stale: the store is asked whether it holds.
    pub(crate) routes: Vec<Link>,
    /// Its series per gateway and Service.
    pub(crate) service: Option<Link>,
    /// Its windows.
    pub(crate) recent: Subjects,
    pub(crate) used: UnixNanos,
    /// When counts for it were last taken; 0 for never.
    pub(crate) taken: UnixNanos,
    /// The same before this process's life.
    pub(crate) taken_before: UnixNanos,
}

/// What the index said about a target's reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) generation: Generation,
    pub(crate) at: UnixNanos,
    pub(crate) allowed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) key: Arc<SeriesKey>,
    pub(crate) slot: Slot,
}

/// Counts that wait for their target's definition.
#[derive(Debug)]
pub(crate) struct Unnamed {
    pub(crate) since: UnixNanos,
    pub(crate) routes: Vec<(Box<str>, Arc<Counts>)>,
}

impl Named {
    pub(crate) fn new(target: Target, now: UnixNanos) -> Self {
        Self {
            target: Arc::new(target),
            verdict: None,
            routes: Vec::new(),
            service: None,
            recent: Subjects::default(),
            used: now,
            taken: UnixNanos(0),
            taken_before: UnixNanos(0),
        }
    }

    /// Whether its gateway may still bring what it counted before this process began, and the index with it: the index
    /// knows nothing of a Service that went while no controller ran.
    pub(crate) fn is_remembered(&self, now: UnixNanos) -> bool {
        self.taken_before.plus(REACH_MEMORY) > now
    }
}

impl Unnamed {
    pub(crate) fn new(now: UnixNanos) -> Self {
        Self {
            since: now,
            routes: Vec::new(),
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.routes.iter().fold(0, |sum, (_, counts)| {
            sum.saturating_add(counts.requests_total())
        })
    }
}

impl Gateway {
    /// Takes out what waited too long for its definition.
    pub(crate) fn take_overdue(&mut self, now: UnixNanos) -> Vec<Unnamed> {
        if self.unnamed == 0 {
            return Vec::new();
        }
        let horizon = now.minus(UNNAMED_AGE);
        let overdue = |entry: &Entry| matches!(entry, Entry::Unnamed(u) if u.since < horizon);
        let taken = self.entries.extract_if(|_, entry| overdue(entry));
        let taken: Vec<_> = taken
            .filter_map(|(_, entry)| match entry {
                Entry::Unnamed(unnamed) => Some(unnamed),
                Entry::Named(_) => None,
            })
            .collect();
        let gone: usize = taken.iter().map(|unnamed| unnamed.routes.len()).sum();
        self.unnamed = self.unnamed.saturating_sub(gone);
        taken
    }

    /// Forgets definitions that are not used; returns how many.
    pub(crate) fn forget_idle(&mut self, now: UnixNanos) -> usize {
        let before = self.entries.len();
        let horizon = now.minus(TARGET_IDLE);
        self.entries.retain(|_, entry| match entry {
            Entry::Named(named) => named.used >= horizon,
            Entry::Unnamed(_) => true,
        });
        before - self.entries.len()
    }

    /// A process's life begins.
    pub(crate) fn begin(&mut self) {
        for entry in self.entries.values_mut() {
            if let Entry::Named(named) = entry {
                named.taken_before = named.taken;
            }
        }
    }

    pub(crate) fn rebucket(&mut self, layout: &Layout) {
        let waiting = self.entries.values_mut().filter_map(|entry| match entry {
            Entry::Named(_) => None,
            Entry::Unnamed(unnamed) => Some(unnamed),
        });
        for (_, counts) in waiting.flat_map(|unnamed| &mut unnamed.routes) {
            Arc::make_mut(counts).latency.rebucket(layout);
        }
    }
}
