//! Quantiles from native buckets, as Prometheus estimates them.

use super::Histogram;

/// A bucket with a count: its index (`None`: the zero bucket) and the count.
type Bucket = (Option<i32>, f64);

impl Histogram {
    /// Estimates a quantile from the native buckets, in seconds, as Prometheus's `histogram_quantile` does for native
    /// histograms (exponential interpolation); `None` when empty. Below 0 it is -Inf, above 1 +Inf.
    /// Source: prometheus `promql/quantile.go`, `HistogramQuantile`.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        if q.is_nan() {
            return Some(q);
        }
        if !(0.0..=1.0).contains(&q) {
            return Some(if q < 0.0 {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        let total = as_float(total);
        // The walk starts at the nearer end, as Prometheus's does: the same roundings.
        let (bucket, fraction) = if q < 0.5 {
            let rank = q * total;
            let (bucket, below) = reach(rank, self.buckets())?;
            (bucket, (rank - below) / bucket.1)
        } else {
            let rank = (1.0 - q) * total;
            let (bucket, above) = reach(rank, self.buckets().rev())?;
            (bucket, (above + bucket.1 - rank) / bucket.1)
        };
        Some(self.interpolate(bucket.0, fraction.clamp(0.0, 1.0)))
    }

    /// All buckets with a count, the zero bucket first.
    fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let native = self.native.iter().enumerate().map(|(offset, count)| {
            let offset = i32::try_from(offset).unwrap_or(i32::MAX);
            (Some(self.first_index.saturating_add(offset)), count)
        });
        core::iter::once((None, self.zero))
            .chain(native)
            .filter(|&(_, count)| count > 0)
            .map(|(index, count)| (index, as_float(count)))
    }

    /// The value `fraction` of the way through a bucket, on a logarithmic scale.
    fn interpolate(&self, index: Option<i32>, fraction: f64) -> f64 {
        let Some(index) = index else { return 0.0 };
        let per_octave = f64::from(1 << self.layout.schema.get());
        libm::exp2((f64::from(index) - 1.0 + fraction) / per_octave)
    }
}

/// The bucket with which the walk reaches `rank`, and the count of those before it; the last one if none does.
fn reach(rank: f64, buckets: impl Iterator<Item = Bucket>) -> Option<(Bucket, f64)> {
    let mut count = 0.0;
    let mut last = None;
    for bucket in buckets {
        last = Some((bucket, count));
        count += bucket.1;
        if count >= rank {
            break;
        }
    }
    last
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
const fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::super::{Layout, bucket_upper_bound};
    use super::*;
    use crate::{
        policy::{ClassicBounds, Schema},
        units::Nanos,
    };
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn of(samples: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::new(Layout {
            schema: Schema::DEFAULT,
            bounds: ClassicBounds::default(),
        });
        samples
            .into_iter()
            .for_each(|ns| histogram.record(Nanos(ns)));
        histogram
    }

    #[track_caller]
    fn assert_near(histogram: &Histogram, q: f64, expected: f64) {
        let got = histogram.quantile(q).unwrap();
        assert!(
            (got - expected).abs() <= 1e-12 * expected,
            "{q}: {got}, not {expected}"
        );
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(of([]).quantile(0.5), None);
    }

    #[test]
    fn outside_of_its_range_it_is_infinite() {
        let one = of([1]);
        assert_eq!(one.quantile(-0.1), Some(f64::NEG_INFINITY));
        assert_eq!(one.quantile(1.1), Some(f64::INFINITY));
        assert!(one.quantile(f64::NAN).unwrap().is_nan());
    }

    #[test]
    fn zeros_are_zero() {
        let zeros = of([0; 10]);
        for q in [0.0, 0.3, 0.5, 1.0] {
            assert_eq!(zeros.quantile(q), Some(0.0));
        }
        let half = of([0, 0, 1_000_000_000, 1_000_000_000]);
        assert_eq!(half.quantile(0.4), Some(0.0));
        assert!(half.quantile(0.9).unwrap() > 0.9);
    }

    /// One bucket, (2^(-1/8), 1] s: Prometheus interpolates on the logarithm.
    #[test]
    fn within_a_bucket_it_is_exponential() {
        let one = of([1_000_000_000; 4]);
        let lower = bucket_upper_bound(Schema::DEFAULT, -1);
        assert_near(&one, 0.0, lower);
        assert_near(&one, 0.25, libm::pow(lower, 0.75));
        assert_near(&one, 0.5, libm::sqrt(lower));
        assert_near(&one, 0.75, libm::pow(lower, 0.25));
        assert_near(&one, 1.0, 1.0);
    }

    #[test]
    fn ranks_are_found_from_both_ends() {
        // 1 s, 2 s, 4 s and 8 s each end a bucket of schema 3. A rank between two samples belongs to the upper one in
        // the upper half: Prometheus walks down from the top there.
        let four = of([1, 2, 4, 8].map(|s| s * 1_000_000_000));
        assert_near(&four, 0.25, 1.0);
        assert_near(&four, 0.4375, 2.0 * libm::exp2(-1.0 / 32.0));
        assert_near(&four, 0.5, 4.0 * libm::exp2(-1.0 / 8.0));
        assert_near(&four, 0.75, 8.0 * libm::exp2(-1.0 / 8.0));
        assert_near(&four, 1.0, 8.0);
        assert_near(&four, 0.625, 4.0 * libm::exp2(-1.0 / 16.0));
    }

    #[test]
    fn it_is_within_a_bucket_of_the_truth_and_monotone() {
        let samples = (1..=1000).map(|n| n * n * 1000);
        let histogram = of(samples.clone());
        let samples: alloc::vec::Vec<u64> = samples.collect();
        let mut last = 0.0;
        for percent in 1..=100_usize {
            let q = f64::from(u32::try_from(percent).unwrap()) / 100.0;
            let truth = samples[percent * 10 - 1] as f64 / 1e9;
            let got = histogram.quantile(q).unwrap();
            // A bucket is ln 2 / 8 = 0.0867 wide, and at most one sample further the truth is.
            let error = libm::log(got / truth).abs();
            assert!(
                error <= 0.0867 + 2.0 / percent as f64 / 10.0,
                "p{percent}: {got}, truth {truth}"
            );
            assert!(got >= last);
            last = got;
        }
    }
}
