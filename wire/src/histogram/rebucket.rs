//! Changing a histogram's layout.

use alloc::vec::Vec;

use super::{Histogram, Layout, Run, coarser, index::bucket_end};
use crate::{
    policy::{ClassicBounds, Schema},
    units::Nanos,
};

impl Histogram {
    /// Changes the layout. Native counts move down to a lower schema exactly and never up. A classic bound that the
    /// old layout has keeps its exact cumulative count; a new one gets the count of the native buckets and classic
    /// buckets known to lie at or below it (a lower bound, monotone).
    pub fn rebucket(&mut self, layout: &Layout) {
        if self.layout.bounds != layout.bounds {
            let classic = self.classic_for(&layout.bounds);
            self.classic = Run::zeros(classic.len());
            self.add_all_classic(classic.into_iter());
            self.layout.bounds = layout.bounds.clone();
        }
        self.lower_to(layout.schema);
    }

    /// Moves native counts to `schema` when it is below the present one.
    pub(super) fn lower_to(&mut self, schema: Schema) {
        if schema >= self.layout.schema {
            return;
        }
        let down = self.layout.schema.get() - schema.get();
        let held = core::mem::replace(&mut self.native, Run::zeros(0));
        let first = core::mem::take(&mut self.first_index);
        for (index, count) in (first..).zip(held.iter()) {
            self.add_native(coarser(index, down), count);
        }
        self.layout.schema = schema;
    }

    /// Counts per bucket of other bounds: at each bound the larger of what classic and native buckets that end at or
    /// below it hold. Where the bound is an old one, the classic count is exact and the native one not above it.
    pub(super) fn classic_for(&self, bounds: &ClassicBounds) -> Vec<u64> {
        let mut classic = Below::new(self.classic_ends(), 0);
        let mut native = Below::new(self.native_ends(), self.zero);
        let mut counts = Vec::with_capacity(bounds.len() + 1);
        let mut below = 0;
        for &bound in bounds.as_slice() {
            let known = classic.count(bound).max(native.count(bound));
            counts.push(known.saturating_sub(below));
            below = known;
        }
        let total = self.classic.iter().fold(0, u64::saturating_add);
        counts.push(total.saturating_sub(below));
        counts
    }

    fn classic_ends(&self) -> impl Iterator<Item = (Nanos, u64)> + '_ {
        let ends = self.layout.bounds.as_slice().iter().copied();
        ends.zip(self.classic.iter())
    }

    fn native_ends(&self) -> impl Iterator<Item = (Nanos, u64)> + '_ {
        let schema = self.layout.schema;
        self.native()
            .map(move |(index, count)| (bucket_end(schema, index), count))
    }
}

/// Counts the samples of buckets that end at or below a bound that only grows.
struct Below<I: Iterator> {
    ends: core::iter::Peekable<I>,
    count: u64,
}

impl<I: Iterator<Item = (Nanos, u64)>> Below<I> {
    fn new(ends: I, count: u64) -> Self {
        Self {
            ends: ends.peekable(),
            count,
        }
    }

    fn count(&mut self, bound: Nanos) -> u64 {
        while let Some((_, count)) = self.ends.next_if(|&(end, _)| end <= bound) {
            self.count = self.count.saturating_add(count);
        }
        self.count
    }
}
