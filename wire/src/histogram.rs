//! Native (exponential) and classic histograms of one series, exact in integers.
//!
//! Laws (each a property test of that name): `merge_is_associative`, `merge_is_commutative`, `merge_is_lossless`
//! (merging two halves equals recording all), `native_and_classic_agree_on_the_count`.

use alloc::vec::Vec;

use crate::{
    policy::{ClassicBounds, Schema},
    units::Nanos,
};

/// How a histogram's buckets are cut. Histograms merge losslessly when their layouts are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Native schema.
    pub schema: Schema,
    /// Classic bounds.
    pub bounds: ClassicBounds,
}

/// Index of the native bucket that holds `value`, exactly what Prometheus computes for the float `ns / 1e9`;
/// `None` for zero (the zero bucket). Bucket `i` holds `2^((i-1)/2^schema) < seconds <= 2^(i/2^schema)`.
/// O(1) by table, no floats. Source: client_golang `prometheus/histogram.go`, `histogramCounts.observe`.
#[must_use]
pub fn bucket_index(_schema: Schema, _value: Nanos) -> Option<i32> {
    todo!()
}

/// Upper bound in seconds of a native bucket.
#[must_use]
pub fn bucket_upper_bound(_schema: Schema, _index: i32) -> f64 {
    todo!()
}

/// Position of the classic bucket that holds `value`: the first bound that is not below it, `bounds.len()` for +Inf.
#[must_use]
pub fn classic_position(_bounds: &ClassicBounds, _value: Nanos) -> usize {
    todo!()
}

/// Native and classic counts of one series. Sparse native storage: a contiguous run of buckets around those in use.
/// Counts are `u64`, the sum is `u128` nanoseconds: neither can wrap in a process's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    layout: Layout,
    sum: u128,
    zero: u64,
    first_index: i32,
    native: Vec<u64>,
    classic: Vec<u64>,
}

impl Histogram {
    /// Empty.
    #[must_use]
    pub fn new(_layout: Layout) -> Self {
        todo!()
    }

    /// Adds one sample.
    pub fn record(&mut self, _value: Nanos) {
        todo!()
    }

    /// Adds another's counts. Equal layouts merge losslessly. Otherwise the native part goes to the lower schema
    /// (exact), and the classic part of `other` is re-bucketed to this layout (see [`Histogram::rebucket`]).
    pub fn merge(&mut self, _other: &Self) {
        todo!()
    }

    /// Changes the layout. Native counts move down to a lower schema exactly and never up. A classic bound that the
    /// old layout has keeps its exact cumulative count; a new one gets the count of the native buckets and classic
    /// buckets known to lie at or below it (a lower bound, monotone).
    pub fn rebucket(&mut self, _layout: &Layout) {
        todo!()
    }

    /// How its buckets are cut.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.zero + self.native.iter().sum::<u64>()
    }

    /// Sum of the samples in nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u128 {
        self.sum
    }

    /// Samples of exactly zero.
    #[must_use]
    pub fn zero_count(&self) -> u64 {
        self.zero
    }

    /// Native buckets with a count, ascending by index.
    pub fn native(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        (self.first_index..)
            .zip(self.native.iter().copied())
            .filter(|&(_, count)| count > 0)
    }

    /// Counts per classic bucket, not cumulative; one per bound, then +Inf.
    #[must_use]
    pub fn classic(&self) -> &[u64] {
        &self.classic
    }

    /// Estimates a quantile from the native buckets, in seconds, as Prometheus's `histogram_quantile` does for native
    /// histograms (exponential interpolation); `None` when empty.
    #[must_use]
    pub fn quantile(&self, _q: f64) -> Option<f64> {
        todo!()
    }
}
