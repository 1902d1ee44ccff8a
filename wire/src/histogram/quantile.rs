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
        let native = self.native.iter().enumerate().map(|(offset, &count)| {
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
