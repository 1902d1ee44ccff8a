//! Distributions of delay.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// How long a server takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// Always the same.
    Constant(Duration),
    /// Anything between two, equally likely.
    Uniform(Duration, Duration),
    /// Log-normal, the usual shape of service times: half the requests are faster than `median`, `sigma` is the
    /// standard deviation of the logarithm. Cut off at 20 medians.
    LogNormal {
        /// Half are faster.
        median: Duration,
        /// Spread.
        sigma: f64,
    },
    /// Anything between two, but for `slow_share` of the requests `slow`.
    UniformWithTail {
        /// Fastest of the usual.
        low: Duration,
        /// Slowest of the usual.
        high: Duration,
        /// The others.
        slow: Duration,
        /// Share of the others, 0 to 1.
        slow_share: f64,
    },
}

impl Latency {
    /// Draws one.
    pub fn draw(&self, random: &mut impl Rng) -> Duration {
        match *self {
            Self::Constant(delay) => delay,
            Self::Uniform(low, high) => random.random_range(low..=high.max(low)),
            Self::LogNormal { median, sigma } => {
                median.mul_f64((sigma * normal(random)).exp().min(20.0))
            }
            Self::UniformWithTail {
                low,
                high,
                slow,
                slow_share,
            } => {
                if random.random_bool(slow_share.clamp(0.0, 1.0)) {
                    slow
                } else {
                    random.random_range(low..=high.max(low))
                }
            }
        }
    }
}

/// Standard normal, Box and Muller's way.
fn normal(random: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::quantile;
    use rand::{SeedableRng as _, rngs::StdRng};

    #[test]
    fn log_normal_has_its_median() {
        let latency = Latency::LogNormal {
            median: Duration::from_millis(20),
            sigma: 0.5,
        };
        let mut random = StdRng::seed_from_u64(1);
        let mut drawn: Vec<_> = (0..10_000).map(|_| latency.draw(&mut random)).collect();
        let median = quantile(&mut drawn, 0.5).unwrap().as_secs_f64();
        assert!((0.0195..0.0205).contains(&median), "{median}");
    }
}
