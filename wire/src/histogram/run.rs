//! Counts of consecutive buckets: in four bytes each, until one needs eight.

use alloc::{vec, vec::Vec};

/// Buckets that room is made for at once. Not doubled: there are many histograms, and each soon has all its buckets.
const ROOM: usize = 8;

/// **Invariant**: wide if and only if a count needs it, so that equal counts are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

impl Run {
    pub(super) const fn new() -> Self {
        Self::Narrow(Vec::new())
    }

    /// Buckets of 0.
    pub(super) fn zeros(length: usize) -> Self {
        Self::Narrow(vec![0; length])
    }

    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Narrow(counts) => counts.len(),
            Self::Wide(counts) => counts.len(),
        }
    }

    pub(super) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = u64> + ExactSizeIterator + Clone + '_ {
        let count = |at| match self {
            Self::Narrow(counts) => counts.get(at).map_or(0, |count| u64::from(*count)),
            Self::Wide(counts) => counts.get(at).copied().unwrap_or(0),
        };
        (0..self.len()).map(count)
    }

    /// Adds to a bucket. A count stops at the top. False if there is no such bucket.
    #[inline]
    pub(super) fn add(&mut self, at: usize, count: u64) -> bool {
        match self {
            Self::Narrow(counts) => {
                let Some(held) = counts.get_mut(at) else {
                    return false;
                };
                let narrow = u32::try_from(count).ok();
                match narrow.and_then(|count| held.checked_add(count)) {
                    Some(sum) => *held = sum,
                    None => *self = Self::Wide(widened(counts, at, count)),
                }
                true
            }
            Self::Wide(counts) => add(counts, at, count),
        }
    }

    /// Forgets all buckets, and keeps their room.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Narrow(counts) => counts.clear(),
            Self::Wide(_) => *self = Self::new(),
        }
    }

    /// Makes all counts 0.
    pub(super) fn zero(&mut self) {
        match self {
            Self::Narrow(counts) => counts.fill(0),
            Self::Wide(counts) => *self = Self::zeros(counts.len()),
        }
    }

    /// Puts buckets of 0 before the first one, and after the last one.
    pub(super) fn grow(&mut self, before: usize, after: usize) {
        match self {
            Self::Narrow(counts) => grow(counts, before, after),
            Self::Wide(counts) => grow(counts, before, after),
        }
    }
}

/// With `count` added to one that exceeds four bytes by it.
#[cold]
fn widened(counts: &[u32], at: usize, count: u64) -> Vec<u64> {
    let mut wide: Vec<_> = counts.iter().copied().map(u64::from).collect();
    add(&mut wide, at, count);
    wide
}

fn add(counts: &mut [u64], at: usize, count: u64) -> bool {
    let held = counts.get_mut(at);
    held.map(|held| *held = held.saturating_add(count))
        .is_some()
}

fn grow<T: Clone + Default>(counts: &mut Vec<T>, before: usize, after: usize) {
    let grown = counts.len() + before + after;
    counts.reserve_exact(grown.next_multiple_of(ROOM) - counts.len());
    counts.resize(grown, T::default());
    counts.rotate_right(before);
}
