//! Native (exponential) and classic histograms of one series, exact in integers.
//!
//! Laws (each a property test of that name): `merge_is_associative`, `merge_is_commutative`, `merge_is_lossless`
//! (merging two halves equals recording all), `native_and_classic_agree_on_the_count`.

mod index;
mod quantile;
mod rebucket;
mod run;

pub use index::{bucket_index, bucket_range, bucket_upper_bound};
use run::Run;

use crate::{
    policy::{ClassicBounds, Schema},
    report::Series,
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

/// Position of the classic bucket that holds `value`: the first bound that is not below it, `bounds.len()` for +Inf.
#[inline]
#[must_use]
pub fn classic_position(bounds: &ClassicBounds, value: Nanos) -> usize {
    bounds.position(value)
}

/// Native and classic counts of one series. Sparse native storage: the contiguous run of buckets from the first to
/// the last in use (never more than [`bucket_range`]).
/// Counts are `u64`, the sum is `u128` nanoseconds: neither can be filled in a process's life, and a hostile count
/// stops at the top instead of wrapping.
///
/// **Invariants**: `native` is empty with `first_index` 0, or begins and ends with a count above zero (so equal
/// histograms compare equal); `classic` has one count per bound and one for +Inf; both parts hold all samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    layout: Layout,
    sum: u128,
    zero: u64,
    first_index: i32,
    native: Run,
    classic: Run,
}

/// What adding did to the buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a conversion is counted"]
pub enum Merged {
    /// Layouts were equal: nothing lost.
    Lossless,
    /// Layouts differed: see [`Histogram::merge`].
    Rebucketed,
}

/// Counts that are no histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// An index outside [`bucket_range`].
    #[error("a native bucket's index is outside of its schema's range")]
    Index,
    /// Not one classic count per bound and one for +Inf.
    #[error("the number of classic counts does not fit the bounds")]
    Classic,
    /// Native and classic counts disagree, or overflow.
    #[error("native and classic counts do not agree")]
    Count,
}

impl Histogram {
    /// Empty.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let classic = Run::zeros(layout.bounds.len() + 1);
        Self {
            layout,
            sum: 0,
            zero: 0,
            first_index: 0,
            native: Run::zeros(0),
            classic,
        }
    }

    /// Empties it, and keeps its layout and memory.
    pub fn clear(&mut self) {
        self.sum = 0;
        self.zero = 0;
        self.first_index = 0;
        self.native.clear();
        self.classic.zero();
    }

    /// From counts that were kept elsewhere: what [`Histogram::sum_ns`], [`Histogram::zero_count`],
    /// [`Histogram::native`] and [`Histogram::classic`] said.
    ///
    /// # Errors
    /// [`PartsError`] when they cannot have come from a histogram of this layout.
    pub fn try_from_parts(
        layout: Layout,
        sum_ns: u128,
        zero_count: u64,
        native: impl IntoIterator<Item = (i32, u64)>,
        classic: impl IntoIterator<Item = u64>,
    ) -> Result<Self, PartsError> {
        let mut histogram = Self::new(layout);
        let range = bucket_range(histogram.layout.schema);
        histogram.sum = sum_ns;
        histogram.zero = zero_count;
        let mut total = zero_count;
        for (index, count) in native {
            if !range.contains(&index) {
                return Err(PartsError::Index);
            }
            total = total.checked_add(count).ok_or(PartsError::Count)?;
            histogram.add_native(index, count);
        }
        let mut counts = classic.into_iter();
        for position in 0..histogram.classic.len() {
            let count = counts.next().ok_or(PartsError::Classic)?;
            total = total.checked_sub(count).ok_or(PartsError::Count)?;
            histogram.classic.add(position, count);
        }
        match (counts.next(), total) {
            (Some(_), _) => Err(PartsError::Classic),
            (None, 0) => Ok(histogram),
            (None, _) => Err(PartsError::Count),
        }
    }

    /// Adds one sample.
    pub fn record(&mut self, value: Nanos) {
        match bucket_index(self.layout.schema, value) {
            Some(index) => self.add_native(index, 1),
            None => self.zero = self.zero.saturating_add(1),
        }
        self.classic.add(self.layout.bounds.position(value), 1);
        self.sum = self.sum.saturating_add(value.0.into());
    }

    /// Adds another's counts. Equal layouts merge losslessly. Otherwise the native part goes to the lower schema
    /// (exact), and the classic part of `other` is re-bucketed to this layout (see [`Histogram::rebucket`]).
    pub fn merge(&mut self, other: &Self) -> Merged {
        let merged = self.meet(&other.layout);
        for (index, count) in other.native_at(self.layout.schema) {
            self.add_native(index, count);
        }
        if self.layout.bounds == other.layout.bounds {
            self.add_all_classic(other.classic.iter());
        } else {
            self.add_all_classic(other.classic_for(&self.layout.bounds).into_iter());
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.zero = self.zero.saturating_add(other.zero);
        merged
    }

    /// Adds the increase that a checked report of layout `layout` brings: as merging a histogram of it, without
    /// building one where the classic bounds are equal.
    pub fn add_series(&mut self, layout: &Layout, series: &Series<'_>) -> Merged {
        if self.layout.bounds != layout.bounds {
            let mut increase = Self::new(layout.clone());
            let _ = increase.add_series(layout, series);
            return self.merge(&increase);
        }
        let merged = self.meet(layout);
        let down = layout.schema.get().saturating_sub(self.layout.schema.get());
        for (index, count) in series.native() {
            self.add_native(coarser(index, down), count);
        }
        for (position, count) in series.classic() {
            self.classic.add(position, count);
        }
        self.sum = self.sum.saturating_add(series.sum.0.into());
        self.zero = self.zero.saturating_add(series.zero_count);
        merged
    }

    /// How its buckets are cut.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.native.iter().fold(self.zero, u64::saturating_add)
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
    pub fn native(&self) -> impl Iterator<Item = (i32, u64)> + Clone + '_ {
        (self.first_index..)
            .zip(self.native.iter())
            .filter(|&(_, count)| count > 0)
    }

    /// Counts per classic bucket, not cumulative; one per bound, then +Inf.
    #[must_use]
    pub fn classic(&self) -> impl ExactSizeIterator<Item = u64> + Clone + '_ {
        self.classic.iter()
    }

    /// Goes down to `other`'s schema if that is lower.
    fn meet(&mut self, other: &Layout) -> Merged {
        let merged = if self.layout == *other {
            Merged::Lossless
        } else {
            Merged::Rebucketed
        };
        self.lower_to(other.schema);
        merged
    }

    /// Native buckets as they are in a schema that is not above this one's; an index may come several times.
    fn native_at(&self, schema: Schema) -> impl Iterator<Item = (i32, u64)> + '_ {
        let down = self.layout.schema.get().saturating_sub(schema.get());
        self.native()
            .map(move |(index, count)| (coarser(index, down), count))
    }

    fn add_all_classic(&mut self, counts: impl Iterator<Item = u64>) {
        for (position, count) in counts.enumerate() {
            self.classic.add(position, count);
        }
    }

    /// `index` is within [`bucket_range`].
    #[inline]
    fn add_native(&mut self, index: i32, count: u64) {
        if !self.add_to_held(index, count) && count > 0 {
            self.grow_to(index);
            self.add_to_held(index, count);
        }
    }

    /// False if the bucket is outside of the present run.
    #[inline]
    fn add_to_held(&mut self, index: i32, count: u64) -> bool {
        let position = index.checked_sub(self.first_index).map(usize::try_from);
        matches!(position, Some(Ok(at)) if self.native.add(at, count))
    }

    /// Makes room for a bucket outside of the present run, and for those between.
    #[cold]
    fn grow_to(&mut self, index: i32) {
        if self.native.len() == 0 {
            self.first_index = index;
        }
        let distance = index.abs_diff(self.first_index) as usize;
        if index < self.first_index {
            self.native.grow(distance, 0);
            self.first_index = index;
        } else {
            self.native.grow(0, distance + 1 - self.native.len());
        }
    }
}

/// Index, `down` schemas lower, of the bucket that holds all of bucket `index`.
#[inline]
pub(crate) const fn coarser(index: i32, down: u8) -> i32 {
    (index + (1 << down) - 1) >> down
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use proptest::{collection, prelude::*};

    use super::*;

    /// Samples of every magnitude up to a day, zero among them.
    fn samples() -> impl Strategy<Value = Vec<Nanos>> {
        let sample = (any::<u64>(), 17_u32..=64).prop_map(|(bits, shift)| {
            Nanos(bits.checked_shr(shift).unwrap_or(0).min(Nanos::DAY.0))
        });
        collection::vec(sample, 0..60)
    }

    fn layout() -> impl Strategy<Value = Layout> {
        let bounds = collection::btree_set(1..=10_000_000_000_u64, 0..=20);
        (0_u32..=5, bounds).prop_map(|(schema, bounds)| Layout {
            schema: Schema::try_new(schema).unwrap(),
            bounds: ClassicBounds::try_new(bounds.into_iter().map(Nanos).collect()).unwrap(),
        })
    }

    fn of(layout: &Layout, samples: &[Nanos]) -> Histogram {
        let mut histogram = Histogram::new(layout.clone());
        samples.iter().for_each(|&sample| histogram.record(sample));
        histogram
    }

    fn merged(mut one: Histogram, other: &Histogram) -> Histogram {
        assert_eq!(one.merge(other), Merged::Lossless);
        one
    }

    fn assert_invariants(histogram: &Histogram) {
        let native: u64 = histogram.native().map(|(_, count)| count).sum();
        let classic: u64 = histogram.classic.iter().sum();
        assert_eq!(histogram.zero + native, classic);
        assert_eq!(histogram.count(), classic);
        assert_eq!(histogram.classic.len(), histogram.layout.bounds.len() + 1);
        let mut run = histogram.native.iter();
        assert!(run.next().is_none_or(|count| count > 0));
        assert!(run.next_back().is_none_or(|count| count > 0));
        assert!(histogram.native.len() > 0 || histogram.first_index == 0);
    }

    fn cumulative(histogram: &Histogram) -> Vec<(Nanos, u64)> {
        let mut sum = 0;
        let bounds = histogram.layout.bounds.as_slice().iter().copied();
        bounds
            .zip(histogram.classic())
            .map(|(bound, count)| {
                sum += count;
                (bound, sum)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn merge_is_associative(layout in layout(), a in samples(), b in samples(), c in samples()) {
            let [a, b, c] = [a, b, c].map(|samples| of(&layout, &samples));
            let left = merged(merged(a.clone(), &b), &c);
            let right = merged(a, &merged(b, &c));
            prop_assert_eq!(left, right);
        }

        #[test]
        fn merge_is_commutative(layout in layout(), a in samples(), b in samples()) {
            let [a, b] = [a, b].map(|samples| of(&layout, &samples));
            prop_assert_eq!(merged(a.clone(), &b), merged(b, &a));
        }

        #[test]
        fn merge_is_lossless(layout in layout(), a in samples(), b in samples()) {
            let all = of(&layout, &[&a[..], &b[..]].concat());
            prop_assert_eq!(merged(of(&layout, &a), &of(&layout, &b)), all);
        }

        #[test]
        fn native_and_classic_agree_on_the_count(
            layout in layout(),
            other in layout(),
            a in samples(),
            b in samples(),
        ) {
            let mut histogram = of(&layout, &a);
            assert_invariants(&histogram);
            prop_assert_eq!(histogram.count(), a.len() as u64);
            let _ = histogram.merge(&of(&other, &b));
            assert_invariants(&histogram);
            prop_assert_eq!(histogram.count(), (a.len() + b.len()) as u64);
            histogram.rebucket(&other);
            assert_invariants(&histogram);
            prop_assert_eq!(histogram.count(), (a.len() + b.len()) as u64);
        }

        #[test]
        fn lowering_the_schema_is_recording_in_it(
            layout in layout(),
            lower in 0_u32..=5,
            a in samples(),
        ) {
            let schema = layout.schema.min(Schema::try_new(lower).unwrap());
            let lower = Layout { schema, ..layout.clone() };
            let mut histogram = of(&layout, &a);
            histogram.rebucket(&lower);
            prop_assert_eq!(&histogram, &of(&lower, &a));
            histogram.rebucket(&layout);
            prop_assert_eq!(histogram, of(&lower, &a));
        }

        #[test]
        fn merging_across_schemas_is_recording_in_the_lower(
            layout in layout(),
            other in 0_u32..=5,
            a in samples(),
            b in samples(),
        ) {
            let other = Layout { schema: Schema::try_new(other).unwrap(), ..layout.clone() };
            let lower = Layout { schema: layout.schema.min(other.schema), ..layout.clone() };
            let mut histogram = of(&layout, &a);
            let how = histogram.merge(&of(&other, &b));
            prop_assert_eq!(how == Merged::Lossless, layout == other);
            prop_assert_eq!(histogram, of(&lower, &[&a[..], &b[..]].concat()));
        }

        #[test]
        fn rebucketing_never_counts_too_much_and_keeps_old_bounds_exact(
            layout in layout(),
            extra in collection::btree_set(1..=10_000_000_000_u64, 0..=20),
            a in samples(),
        ) {
            let old = layout.bounds.as_slice();
            let mut bounds: Vec<_> = old.iter().copied().chain(extra.into_iter().map(Nanos)).collect();
            bounds.sort_unstable();
            bounds.dedup();
            let other = Layout {
                schema: layout.schema,
                bounds: ClassicBounds::try_new(bounds).unwrap(),
            };
            let mut histogram = of(&layout, &a);
            histogram.rebucket(&other);
            let exact = of(&other, &a);
            for ((bound, estimated), (_, exact)) in cumulative(&histogram).into_iter().zip(cumulative(&exact)) {
                prop_assert!(estimated <= exact);
                prop_assert!(estimated == exact || !old.contains(&bound));
            }
            prop_assert_eq!(histogram.sum_ns(), exact.sum_ns());
            // Back at the old bounds nothing is lost.
            histogram.rebucket(&layout);
            prop_assert_eq!(histogram, of(&layout, &a));
        }

        #[test]
        fn parts_make_the_same_histogram(layout in layout(), a in samples()) {
            let histogram = of(&layout, &a);
            let again = Histogram::try_from_parts(
                layout,
                histogram.sum_ns(),
                histogram.zero_count(),
                histogram.native(),
                histogram.classic(),
            );
            prop_assert_eq!(again, Ok(histogram));
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let layout = Layout {
            schema: Schema::DEFAULT,
            bounds: ClassicBounds::try_new(alloc::vec![Nanos(5)]).unwrap(),
        };
        let parts = |zero, native: &[(i32, u64)], classic: &[u64]| {
            let (native, classic) = (native.iter().copied(), classic.iter().copied());
            Histogram::try_from_parts(layout.clone(), 0, zero, native, classic).map(|h| h.count())
        };
        assert_eq!(parts(1, &[(3, 2)], &[1, 2]), Ok(3));
        assert_eq!(parts(1, &[(3, 2)], &[1, 3]), Err(PartsError::Count));
        assert_eq!(parts(1, &[(3, 2)], &[1, 1]), Err(PartsError::Count));
        assert_eq!(parts(1, &[(3, u64::MAX)], &[1, 1]), Err(PartsError::Count));
        assert_eq!(parts(1, &[], &[1]), Err(PartsError::Classic));
        assert_eq!(parts(1, &[], &[1, 0, 0]), Err(PartsError::Classic));
        assert_eq!(parts(0, &[(1000, 1)], &[0, 1]), Err(PartsError::Index));
        assert_eq!(parts(0, &[(i32::MIN, 1)], &[0, 1]), Err(PartsError::Index));
    }

    #[test]
    fn a_hostile_count_stops_at_the_top() {
        let layout = Layout {
            schema: Schema::DEFAULT,
            bounds: ClassicBounds::default(),
        };
        let mut classic = alloc::vec![0; 20];
        classic[19] = u64::MAX;
        let full = Histogram::try_from_parts(layout, u128::MAX, 0, [(136, u64::MAX)], classic);
        let mut full = full.unwrap();
        let _ = full.merge(&full.clone());
        full.record(Nanos::DAY);
        assert_eq!(full.count(), u64::MAX);
        assert_eq!(full.sum_ns(), u128::MAX);
    }
}
