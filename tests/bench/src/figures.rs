//! What was measured, and what follows from it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cost::COPIES;
use crate::statistics::Median;
use crate::variant::Variant;

/// CPU microseconds of Envoy per request, by variant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round(Vec<(Variant, f64)>);

/// All rounds.
#[derive(Debug)]
pub(crate) struct Figures {
    requests: u64,
    concurrency: u64,
    rounds: Vec<Round>,
}

/// What is told of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) rounds: usize,
    pub(crate) requests_per_round: u64,
    pub(crate) concurrency: u64,
    pub(crate) copies: u32,
    /// Of a request without any filter, µs.
    pub(crate) request_us: Median,
    /// Added per request by one filter, µs.
    pub(crate) empty_us: Median,
    pub(crate) plain_us: Median,
    pub(crate) ours_us: Median,
    /// The budgets: ratios of what is added, by round.
    pub(crate) ours_to_empty: Median,
    pub(crate) ours_to_plain: Median,
    /// Of the comparison filters, for judging the harness.
    pub(crate) plain_to_empty: Median,
    /// Other builds, each compared with ours.
    pub(crate) beside_to_ours: Vec<Median>,
}

impl Round {
    pub(crate) fn set(&mut self, variant: Variant, used: Duration, requests: u64) {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        let per_request = used.as_secs_f64() * 1e6 / requests as f64;
        self.0.push((variant, per_request));
    }

    fn get(&self, variant: Variant) -> f64 {
        let found = self.0.iter().find(|(of, _)| *of == variant);
        found.map_or(0.0, |&(_, us)| us)
    }

    /// What one copy adds to a request, µs.
    fn added(&self, variant: Variant) -> f64 {
        (self.get(variant) - self.get(Variant::None)) / f64::from(COPIES)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.clone();
        parts.sort_by_key(|(variant, _)| variant.to_string());
        let parts: Vec<_> = parts
            .iter()
            .map(|(variant, us)| format!("{variant} {us:.1} µs"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

impl Figures {
    pub(crate) fn new(requests: u64, concurrency: u64) -> Self {
        Self {
            requests,
            concurrency,
            rounds: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// `None` with too few rounds.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let median = |of: &dyn Fn(&Round) -> f64| Median::of(self.rounds.iter().map(of).collect());
        let added = |variant: Variant| median(&|round| round.added(variant));
        let ratio = |a: Variant, b: Variant| median(&|round| round.added(a) / round.added(b));
        let beside = (0..).map(Variant::Beside).take_while(|beside| {
            let first = self.rounds.first();
            first.is_some_and(|round| round.0.iter().any(|(variant, _)| variant == beside))
        });
        Some(Summary {
            rounds: self.rounds.len(),
            requests_per_round: self.requests,
            concurrency: self.concurrency,
            copies: COPIES,
            request_us: median(&|round| round.get(Variant::None))?,
            empty_us: added(Variant::Empty)?,
            plain_us: added(Variant::Plain)?,
            ours_us: added(Variant::Ours)?,
            ours_to_empty: ratio(Variant::Ours, Variant::Empty)?,
            ours_to_plain: ratio(Variant::Ours, Variant::Plain)?,
            plain_to_empty: ratio(Variant::Plain, Variant::Empty)?,
            beside_to_ours: beside
                .map(|beside| ratio(beside, Variant::Ours))
                .collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_per_copy_and_compared_within_a_round() {
        let mut figures = Figures::new(1000, 16);
        for noise in 1..=6_u32 {
            let mut round = Round::default();
            for (variant, us) in Variant::ALL.into_iter().zip([50, 66, 130, 82]) {
                round.set(variant, Duration::from_millis(us) * noise, 1000);
            }
            figures.push(round);
        }
        let summary = figures.summary().unwrap();
        let near = |median: Median, expected: f64| {
            assert!(
                (median.low - expected).abs() < 1e-9 && (median.high - expected).abs() < 1e-9,
                "{median:?}"
            );
        };
        near(summary.ours_to_empty, 2.0);
        near(summary.ours_to_plain, 0.4);
        assert!(
            (summary.empty_us.median - 7.0).abs() < 1e-9,
            "{:?}",
            summary.empty_us
        );
    }
}
