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
            Self::Wide(_) => *self = Self::zeros(0),
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

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::{collection::vec as list, prelude::*, sample::select};
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::Run;

    #[derive(Clone, Debug)]
    enum Step {
        Add(usize, u64),
        Grow(usize, usize),
        Zero,
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let top = u64::from(u32::MAX);
        let count = select(vec![0, 1, top - 1, top, top + 1, u64::MAX]);
        prop_oneof![
            8 => (0..20_usize, count).prop_map(|(at, count)| Step::Add(at, count)),
            4 => (0..4_usize, 0..12_usize).prop_map(|(before, after)| Step::Grow(before, after)),
            1 => Just(Step::Zero),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn it_counts_as_eight_bytes_would_and_is_wide_only_where_it_must(steps in list(step(), 0..40)) {
            let (mut run, mut model) = (Run::zeros(3), vec![0_u64; 3]);
            for step in steps {
                match step {
                    Step::Add(at, count) => {
                        let held = model.get_mut(at);
                        prop_assert_eq!(run.add(at, count), held.is_some());
                        if let Some(held) = held {
                            *held = held.saturating_add(count);
                        }
                    }
                    Step::Grow(before, after) => {
                        run.grow(before, after);
                        model.splice(0..0, vec![0; before]);
                        model.resize(model.len() + after, 0);
                    }
                    Step::Zero => {
                        run.zero();
                        model.fill(0);
                    }
                    Step::Clear => {
                        run.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!(run.iter().collect::<Vec<_>>(), model.clone());
                let wide = model.iter().any(|count| *count > u64::from(u32::MAX));
                prop_assert_eq!(matches!(run, Run::Wide(_)), wide);
            }
        }
    }
}
