//! What the controller's `/metrics` says about one Service, as one value that tests compare.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use gaugeway_rig::Exposition;

/// Everything exact about a Service: sums over its series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// (outcome, code class) → requests, without zeros.
    pub(crate) requests: BTreeMap<(String, String), u64>,
    /// Latency samples.
    pub(crate) latencies: u64,
    pub(crate) retries: u64,
    pub(crate) aborted: u64,
    pub(crate) latency_unknown: u64,
}

impl Counts {
    /// Requests of one kind, all with a latency.
    pub(crate) fn responses(class: &str, count: u64) -> Self {
        Self::default()
            .and("response", class, count)
            .latencies(count)
    }

    /// Requests of one kind without latency.
    pub(crate) fn only(outcome: &str, class: &str, count: u64) -> Self {
        Self::default().and(outcome, class, count)
    }

    pub(crate) fn and(mut self, outcome: &str, class: &str, count: u64) -> Self {
        self.requests
            .insert((outcome.to_owned(), class.to_owned()), count);
        self
    }

    pub(crate) fn latencies(mut self, count: u64) -> Self {
        self.latencies = count;
        self
    }

    pub(crate) fn retries(mut self, count: u64) -> Self {
        self.retries = count;
        self
    }

    pub(crate) fn aborted(mut self, count: u64) -> Self {
        self.aborted = count;
        self
    }

    pub(crate) fn latency_unknown(mut self, count: u64) -> Self {
        self.latency_unknown = count;
        self
    }

    /// All requests.
    pub(crate) fn total(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Reads those of the series that include `labels`.
    pub(crate) fn read(page: &Exposition, labels: &[(&str, &str)]) -> Self {
        let sum = |name: &str| whole(page.sum(name, labels));
        let mut requests = BTreeMap::new();
        for (found, value) in page.select("gaugeway_upstream_requests_total", labels) {
            let label = |name: &str| found.get(name).cloned().unwrap_or_default();
            if value > 0.0 {
                *requests
                    .entry((label("outcome"), label("code_class")))
                    .or_default() += whole(value);
            }
        }
        Self {
            requests,
            latencies: sum("gaugeway_upstream_latency_seconds_count"),
            retries: sum("gaugeway_upstream_retries_total"),
            aborted: sum("gaugeway_upstream_aborted_total"),
            latency_unknown: sum("gaugeway_upstream_latency_unknown_total"),
        }
    }

    /// Those of one Service.
    pub(crate) fn of(page: &Exposition, service: &str) -> Self {
        Self::read(page, &[("kubernetes_service", service)])
    }

    /// Errs when they differ.
    pub(crate) fn must_be(&self, expected: &Self) -> Result<()> {
        if self != expected {
            bail!("expected {expected:?}, saw {self:?}");
        }
        Ok(())
    }
}

/// Sum of a Service's latency samples, in milliseconds.
pub(crate) fn latency_sum_ms(page: &Exposition, service: &str) -> f64 {
    1e3 * page.sum(
        "gaugeway_upstream_latency_seconds_sum",
        &[("kubernetes_service", service)],
    )
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters of a test are small whole numbers"
)]
pub(crate) fn whole(value: f64) -> u64 {
    assert!(value >= 0.0 && value.fract() == 0.0, "{value} is no count");
    value as u64
}
