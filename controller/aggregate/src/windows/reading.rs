//! The signals of one window.
//!
//! **Invariant**: no latency sample, no latency; no request, no rate of errors. Absent is never 0 here.

use gaugeway_wire::{CodeClass, Nanos, Outcome, RequestClass};

use crate::counts::Counts;

const NANOS_PER_SECOND: f64 = 1e9;

/// What was counted in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    length: Nanos,
    counts: Counts,
}

impl Reading {
    pub(super) const fn new(length: Nanos, counts: Counts) -> Self {
        Self { length, counts }
    }

    /// The time that was summed.
    #[must_use]
    pub const fn length(&self) -> Nanos {
        self.length
    }

    /// The merged counts.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Requests per second, whatever their outcome.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        float(self.counts.requests_total().into()) / self.seconds()
    }

    /// Average upstream latency in seconds.
    #[must_use]
    pub fn average_seconds(&self) -> Option<f64> {
        let count = self.counts.latency.count();
        (count > 0).then(|| self.latency_seconds() / float(count.into()))
    }

    /// A quantile of upstream latency in seconds, within the histogram's schema.
    #[must_use]
    pub fn quantile_seconds(&self, q: f64) -> Option<f64> {
        self.counts.latency.quantile(q)
    }

    /// Share of requests that failed: answered with 5xx, or by no upstream at all. The client's leaving is no failure.
    #[must_use]
    pub fn error_ratio(&self) -> Option<f64> {
        let total = self.counts.requests_total();
        let failed = self.counts.requests.iter().filter(|of| failed(of.class));
        let failed = failed.fold(0_u64, |sum, of| sum.saturating_add(of.count));
        (total > 0).then(|| float(failed.into()) / float(total.into()))
    }

    /// Requests that waited at a time, on average, by Little's law: time waited per second. It holds where requests are
    /// short beside the window; a request counts in the window where it ended, with all it waited.
    #[must_use]
    pub fn concurrency(&self) -> f64 {
        let cancelled = float(self.counts.cancelled_wait_ns) / NANOS_PER_SECOND;
        (self.latency_seconds() + cancelled) / self.seconds()
    }

    fn latency_seconds(&self) -> f64 {
        float(self.counts.latency.sum_ns()) / NANOS_PER_SECOND
    }

    fn seconds(&self) -> f64 {
        float(self.length.0.into()) / NANOS_PER_SECOND
    }
}

fn failed(class: RequestClass) -> bool {
    match class.outcome {
        Outcome::Response => class.code == CodeClass::ServerError,
        Outcome::Cancelled => false,
        _ => true,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a signal needs no more than 53 bits"
)]
const fn float(n: u128) -> f64 {
    n as f64
}
