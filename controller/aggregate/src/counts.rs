//! What is counted per series, and its merge.
//!
//! Laws (each a property test of that name): `merge_is_associative`, `merge_is_commutative`,
//! `merging_parts_equals_adding_all`. Counts never wrap: they stop at the top.

use gaugeway_wire::{Histogram, Layout, RequestClass, report};

use crate::units::ChangeNumber;

/// Totals of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Latencies.
    pub latency: Histogram,
    /// Requests per class that occurred, ascending by class index.
    pub requests: Vec<ClassCount>,
    /// Further attempts of requests.
    pub retries: u64,
    /// Responses cut after their headers.
    pub aborted: u64,
    /// Requests whose latency the host could not tell.
    pub latency_unknown: u64,
    /// Time waited by requests whose client left before the response headers.
    pub cancelled_wait_ns: u128,
}

/// Requests of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// Outcome and code class.
    pub class: RequestClass,
    /// How many.
    pub count: u64,
    /// Since when the series has this class: a scraper that saw the series before is shown the class at 0 once.
    pub born: ChangeNumber,
}

impl Counts {
    /// All zero.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            latency: Histogram::new(layout),
            requests: Vec::new(),
            retries: 0,
            aborted: 0,
            latency_unknown: 0,
            cancelled_wait_ns: 0,
        }
    }

    /// All zero again, in the memory that there is.
    pub(crate) fn clear(&mut self) {
        self.latency.clear();
        self.requests.clear();
        self.retries = 0;
        self.aborted = 0;
        self.latency_unknown = 0;
        self.cancelled_wait_ns = 0;
    }

    /// Adds a report's increase. Classes that were not there are born at `change`.
    pub(crate) fn add(
        &mut self,
        layout: &Layout,
        series: &report::Series<'_>,
        change: ChangeNumber,
    ) {
        for (class, count) in series.requests() {
            self.add_requests(class, count, change);
        }
        self.retries = self.retries.saturating_add(series.retries);
        self.aborted = self.aborted.saturating_add(series.aborted);
        self.latency_unknown = self.latency_unknown.saturating_add(series.latency_unknown);
        let waited = u128::from(series.cancelled_wait.0);
        self.cancelled_wait_ns = self.cancelled_wait_ns.saturating_add(waited);
        // Conversions are counted per report, by whoever compares its layout.
        let _ = self.latency.add_series(layout, series);
    }

    /// Adds another's totals. Classes that were not there are born at `change`.
    pub(crate) fn merge(&mut self, other: &Self, change: ChangeNumber) {
        for of in &other.requests {
            self.add_requests(of.class, of.count, change);
        }
        self.retries = self.retries.saturating_add(other.retries);
        self.aborted = self.aborted.saturating_add(other.aborted);
        self.latency_unknown = self.latency_unknown.saturating_add(other.latency_unknown);
        self.cancelled_wait_ns = self
            .cancelled_wait_ns
            .saturating_add(other.cancelled_wait_ns);
        let _ = self.latency.merge(&other.latency);
    }

    /// Requests over all classes.
    #[must_use]
    pub fn requests_total(&self) -> u64 {
        self.requests
            .iter()
            .fold(0, |sum, of| sum.saturating_add(of.count))
    }

    fn add_requests(&mut self, class: RequestClass, count: u64, born: ChangeNumber) {
        let index = class.index();
        match self
            .requests
            .binary_search_by_key(&index, |of| of.class.index())
        {
            Ok(at) => {
                if let Some(of) = self.requests.get_mut(at) {
                    of.count = of.count.saturating_add(count);
                }
            }
            Err(at) => {
                // Most series have one class, some have two.
                self.requests.reserve_exact(1);
                self.requests.insert(at, ClassCount { class, count, born });
            }
        }
    }
}
