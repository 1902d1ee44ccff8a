//! Quantiles; the median with its interval, from order statistics: no assumption on how the noise is distributed.

use std::time::Duration;

use serde::Serialize;

/// A median with a confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Median {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

/// The interval holds the true median at least this often.
pub(crate) const CONFIDENCE: f64 = 0.95;

impl Median {
    /// `None` for fewer than 6 values: no interval of theirs reaches [`CONFIDENCE`].
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let cut = cut(values.len())?;
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = if values.len() % 2 == 1 {
            upper
        } else {
            f64::midpoint(*values.get(middle - 1)?, upper)
        };
        Some(Self {
            low: *values.get(cut)?,
            median,
            high: *values.get(values.len() - 1 - cut)?,
        })
    }
}

/// How many of `n` values may be cut from each end so that [`CONFIDENCE`] stays. A value lies below the median as a
/// coin falls: both tails of a binomial distribution with p = ½ must hold at most 1 − confidence.
fn cut(n: usize) -> Option<usize> {
    let exponent = i32::try_from(n).ok()?;
    let mut term = 0.5_f64.powi(exponent);
    let mut tail = term;
    let mut cut = None;
    let mut k = 0_u32;
    while 2.0 * tail <= 1.0 - CONFIDENCE {
        cut = Some(usize::try_from(k).ok()?);
        k += 1;
        term *= f64::from(u32::try_from(n).ok()? - k + 1) / f64::from(k);
        tail += term;
    }
    cut
}

/// The value of that rank; `None` of nothing.
pub(crate) fn quantile(mut values: Vec<Duration>, q: f64) -> Option<Duration> {
    values.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank within the list"
    )]
    let rank = (values.len() as f64 * q).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let values: Vec<_> = (1..=200).rev().map(Duration::from_micros).collect();
        assert_eq!(
            quantile(values.clone(), 0.99),
            Some(Duration::from_micros(198))
        );
        assert_eq!(quantile(values, 1.0), Some(Duration::from_micros(200)));
        assert_eq!(quantile(Vec::new(), 0.99), None);
    }

    /// Ranks from tables of the sign test: 1-based (low, high) for 95 %.
    #[test]
    fn ranks_are_those_of_the_sign_test() {
        for (n, low) in [(6, 1), (8, 1), (9, 2), (15, 4), (20, 6), (25, 8), (31, 10)] {
            assert_eq!(cut(n), Some(low - 1), "n = {n}");
        }
        assert_eq!(cut(5), None);
    }

    #[test]
    fn median_of_odd_and_even() {
        let of = |values: &[f64]| Median::of(values.to_vec());
        assert_eq!(of(&[1.0; 5]), None);
        let seven = of(&[7.0, 1.0, 6.0, 2.0, 5.0, 3.0, 4.0]).unwrap();
        assert_eq!(
            seven,
            Median {
                low: 1.0,
                median: 4.0,
                high: 7.0
            }
        );
        let eight = of(&[8.0, 7.0, 1.0, 6.0, 2.0, 5.0, 3.0, 4.0]).unwrap();
        assert_eq!(
            eight,
            Median {
                low: 1.0,
                median: 4.5,
                high: 8.0
            }
        );
    }
}
