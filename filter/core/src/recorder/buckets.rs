//! Storage of counts: narrow while they fit, sparse where few buckets are in use.

use core::ops::RangeInclusive;

/// Counts that start at 32 bits each and widen when one of them no longer fits.
#[derive(Debug)]
enum Width {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

/// A row of counts.
#[derive(Debug)]
pub(crate) struct Counts(Width);

impl Counts {
    pub(crate) const fn new() -> Self {
        Self(Width::Narrow(Vec::new()))
    }

    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Width::Narrow(counts) => counts.len(),
            Width::Wide(counts) => counts.len(),
        }
    }

    /// Heap bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        match &self.0 {
            Width::Narrow(counts) => size_of_val(counts.as_slice()),
            Width::Wide(counts) => size_of_val(counts.as_slice()),
        }
    }

    /// Adds one to a count that exists. A count at its end whose widening is refused stays there.
    pub(crate) fn bump(&mut self, at: usize) {
        match &mut self.0 {
            Width::Narrow(counts) => {
                let Some(count) = counts.get_mut(at) else {
                    return;
                };
                match count.checked_add(1) {
                    Some(more) => *count = more,
                    None => self.widen(at),
                }
            }
            Width::Wide(counts) => {
                if let Some(count) = counts.get_mut(at) {
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    #[cold]
    fn widen(&mut self, at: usize) {
        let Width::Narrow(narrow) = &self.0 else {
            return;
        };
        let mut wide = Vec::new();
        if wide.try_reserve_exact(narrow.len()).is_err() {
            return;
        }
        wide.extend(narrow.iter().map(|&count| u64::from(count)));
        self.0 = Width::Wide(wide);
        self.bump(at);
    }

    /// Makes it `len` long, with `before` new zeros at the front. False when memory is refused.
    pub(crate) fn grow(&mut self, before: usize, len: usize) -> bool {
        match &mut self.0 {
            Width::Narrow(counts) => grow(counts, before, len),
            Width::Wide(counts) => grow(counts, before, len),
        }
    }

    /// Sets all to zero and keeps the memory.
    pub(crate) fn reset(&mut self) {
        match &mut self.0 {
            Width::Narrow(counts) => counts.fill(0),
            Width::Wide(counts) => counts.fill(0),
        }
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + Clone + '_ {
        let (narrow, wide) = match &self.0 {
            Width::Narrow(counts) => (counts.as_slice(), [].as_slice()),
            Width::Wide(counts) => ([].as_slice(), counts.as_slice()),
        };
        let narrow = narrow.iter().map(|&count| u64::from(count));
        narrow.chain(wide.iter().copied())
    }
}

fn grow<T: Copy + Default>(counts: &mut Vec<T>, before: usize, len: usize) -> bool {
    let mut grown = Vec::new();
    if grown.try_reserve_exact(len).is_err() {
        return false;
    }
    grown.resize(before, T::default());
    grown.extend_from_slice(counts);
    grown.resize(len, T::default());
    *counts = grown;
    true
}

/// Memory that all native buckets of a recorder may take together.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self { left: bytes }
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    pub(crate) const fn give_back(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes);
    }
}

/// Native buckets: a run of counts around those in use.
#[derive(Debug)]
pub(crate) struct Native {
    first: i32,
    counts: Counts,
    /// Bytes taken from the budget.
    charged: usize,
}

/// Buckets are made in rows of so many.
const ROW: i32 = 8;

impl Native {
    pub(crate) const fn new() -> Self {
        Self {
            first: 0,
            counts: Counts::new(),
            charged: 0,
        }
    }

    /// Bytes taken from the budget.
    pub(crate) const fn charged(&self) -> usize {
        self.charged
    }

    fn position(&self, index: i32) -> Option<usize> {
        let position = usize::try_from(index.checked_sub(self.first)?).ok()?;
        (position < self.counts.len()).then_some(position)
    }

    /// Makes room for a count at `index`, which must lie in `legal`. False when the budget or memory is refused;
    /// without a budget only memory can be.
    pub(crate) fn reserve(
        &mut self,
        index: i32,
        legal: &RangeInclusive<i32>,
        budget: Option<&mut Budget>,
    ) -> bool {
        self.position(index).is_some() || (legal.contains(&index) && self.grow(index, budget))
    }

    #[cold]
    fn grow(&mut self, index: i32, budget: Option<&mut Budget>) -> bool {
        let row = index.div_euclid(ROW) * ROW;
        let len = i32::try_from(self.counts.len()).unwrap_or(i32::MAX);
        let (first, end) = match len {
            0 => (row, row + ROW),
            _ => (
                row.min(self.first),
                (row + ROW).max(self.first.saturating_add(len)),
            ),
        };
        let before = if len == 0 { 0 } else { self.first - first };
        let (Ok(before), Ok(len)) = (usize::try_from(before), usize::try_from(end - first)) else {
            return false;
        };
        let width = self
            .counts
            .bytes()
            .checked_div(self.counts.len())
            .unwrap_or(size_of::<u32>());
        let more = (len - self.counts.len()) * width;
        if let Some(budget) = budget {
            if !budget.take(more) {
                return false;
            }
            if !self.counts.grow(before, len) {
                budget.give_back(more);
                return false;
            }
            self.charged += more;
        } else if !self.counts.grow(before, len) {
            return false;
        }
        self.first = first;
        true
    }

    /// Adds one at an index that has room.
    pub(crate) fn bump(&mut self, index: i32) {
        if let Some(position) = self.position(index) {
            self.counts.bump(position);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.counts.reset();
    }

    /// Index and count of every bucket there is room for, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, u64)> + Clone + '_ {
        (self.first..).zip(self.counts.iter())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEGAL: RangeInclusive<i32> = -960..=544;

    proptest! {
        #[test]
        fn every_count_is_found_again(indexes in prop::collection::vec(LEGAL, 0..300)) {
            let mut native = Native::new();
            let mut budget = Budget::new(1 << 20);
            for &index in &indexes {
                prop_assert!(native.reserve(index, &LEGAL, Some(&mut budget)));
                native.bump(index);
            }
            for &index in &indexes {
                let expected = indexes.iter().filter(|&&other| other == index).count() as u64;
                let found = native.iter().find(|&(at, _)| at == index);
                prop_assert_eq!(found, Some((index, expected)));
            }
            let total: u64 = native.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(total, indexes.len() as u64);
            prop_assert_eq!(budget.left + native.charged(), 1 << 20);
        }
    }

    #[test]
    fn counts_widen_when_they_must() {
        let mut counts = Counts(Width::Narrow(vec![1, u32::MAX]));
        counts.bump(1);
        counts.bump(0);
        assert_eq!(
            counts.iter().collect::<Vec<_>>(),
            [2, u64::from(u32::MAX) + 1]
        );
    }

    #[test]
    fn a_budget_refuses_and_nothing_changes() {
        let mut native = Native::new();
        let mut budget = Budget::new(40);
        assert!(native.reserve(3, &LEGAL, Some(&mut budget)));
        assert!(!native.reserve(100, &LEGAL, Some(&mut budget)));
        assert!(native.reserve(7, &LEGAL, Some(&mut budget)));
        assert!(native.reserve(100, &LEGAL, None));
        assert!(!native.reserve(545, &LEGAL, None));
    }
}
