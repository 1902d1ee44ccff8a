//! Sums of what was counted, per series: of reports as a controller adds them, and of scripts as a correct filter
//! counts them. Equal when every count, bucket and sum is.

use std::{collections::BTreeMap, fmt::Write as _};

use gaugeway_wire::{
    histogram::{Histogram, Layout},
    outcome::RequestClass,
    report::{Report, Series},
    target::Fingerprint,
    units::Nanos,
};

use crate::request::Expected;

/// Differing series that are shown in full.
const SHOWN: usize = 5;

/// Counts of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesTotals {
    /// Requests by class.
    pub requests: BTreeMap<RequestClass, u64>,
    /// Latencies.
    pub latency: Histogram,
    /// Tries after the first.
    pub retries: u64,
    /// Responses cut after their headers.
    pub aborted: u64,
    /// Requests whose latency cannot be known.
    pub latency_unknown: u64,
    /// Time waited by clients that left before headers.
    pub cancelled_wait: Nanos,
}

impl SeriesTotals {
    /// Nothing yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            requests: BTreeMap::new(),
            latency: Histogram::new(layout),
            retries: 0,
            aborted: 0,
            latency_unknown: 0,
            cancelled_wait: Nanos(0),
        }
    }

    /// All requests.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.requests
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds a reported series.
    pub fn add_series(&mut self, layout: &Layout, series: &Series<'_>) {
        for (class, increase) in series.requests() {
            add(self.requests.entry(class).or_default(), increase);
        }
        let _ = self.latency.add_series(layout, series);
        add(&mut self.retries, series.retries);
        add(&mut self.aborted, series.aborted);
        add(&mut self.latency_unknown, series.latency_unknown);
        add(&mut self.cancelled_wait.0, series.cancelled_wait.0);
    }

    /// Adds what one scripted request should have counted.
    pub fn add_expected(&mut self, expected: &Expected) {
        add(self.requests.entry(expected.class).or_default(), 1);
        if let Some(latency) = expected.latency {
            self.latency.record(latency);
        }
        add(&mut self.retries, expected.retries);
        add(&mut self.aborted, expected.aborted);
        add(&mut self.latency_unknown, expected.latency_unknown);
        add(&mut self.cancelled_wait.0, expected.cancelled_wait.0);
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (class, count) in &other.requests {
            add(self.requests.entry(*class).or_default(), *count);
        }
        let _ = self.latency.merge(&other.latency);
        add(&mut self.retries, other.retries);
        add(&mut self.aborted, other.aborted);
        add(&mut self.latency_unknown, other.latency_unknown);
        add(&mut self.cancelled_wait.0, other.cancelled_wait.0);
    }
}

/// Filters that were lied to report what they were told.
fn add(sum: &mut u64, increase: u64) {
    *sum = sum.saturating_add(increase);
}

/// Counts by (target, route).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// The series.
    pub series: BTreeMap<(Fingerprint, String), SeriesTotals>,
}

impl Totals {
    /// Adds a report, for the first time.
    pub fn add_report(&mut self, report: &Report<'_>) {
        for series in report.series() {
            self.entry(series.target, series.route, &report.layout)
                .add_series(&report.layout, &series);
        }
    }

    /// The series, made if it is new.
    pub fn entry(
        &mut self,
        target: Fingerprint,
        route: &str,
        layout: &Layout,
    ) -> &mut SeriesTotals {
        self.series
            .entry((target, route.to_owned()))
            .or_insert_with(|| SeriesTotals::new(layout.clone()))
    }

    /// All requests.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.series.values().map(SeriesTotals::request_count).sum()
    }

    /// Everything under one target, over its routes.
    #[must_use]
    pub fn of(&self, target: Fingerprint) -> Option<SeriesTotals> {
        let mut all = self
            .series
            .iter()
            .filter(|((of, _), _)| *of == target)
            .map(|(_, s)| s);
        let mut sum = all.next()?.clone();
        all.for_each(|series| sum.add(series));
        Some(sum)
    }

    /// The same counts, whoever they belong to.
    #[must_use]
    pub fn merged(&self) -> Self {
        let mut merged = Self::default();
        for series in self.series.values() {
            merged
                .entry(Fingerprint(0), "", series.latency.layout())
                .add(series);
        }
        merged
    }

    /// What differs, for people; empty when nothing does. `name` names a target.
    #[must_use]
    pub fn difference(&self, other: &Self, name: impl Fn(Fingerprint) -> String) -> String {
        let mut text = String::new();
        let mut differing = 0;
        let keys: std::collections::BTreeSet<_> =
            self.series.keys().chain(other.series.keys()).collect();
        for key in keys {
            let (mine, theirs) = (self.series.get(key), other.series.get(key));
            if mine != theirs {
                differing += 1;
            }
            if mine != theirs && differing <= SHOWN {
                let _ = writeln!(text, "{} route {:?}:", name(key.0), key.1);
                let _ = writeln!(text, "  expected {}", describe(mine));
                let _ = writeln!(text, "  reported {}", describe(theirs));
            }
        }
        if differing > SHOWN {
            let _ = writeln!(text, "and {} series more", differing - SHOWN);
        }
        text
    }
}

fn describe(series: Option<&SeriesTotals>) -> String {
    let Some(series) = series else {
        return "nothing".to_owned();
    };
    let mut text = String::new();
    for (class, count) in &series.requests {
        let _ = write!(
            text,
            "{} {} × {count}, ",
            class.outcome.as_str(),
            class.code.as_str()
        );
    }
    let _ = write!(
        text,
        "samples {} sum {} ns, native {:?}, retries {}, aborted {}, unknown latency {}, cancelled wait {} ns",
        series.latency.count(),
        series.latency.sum_ns(),
        series.latency.native().collect::<Vec<_>>(),
        series.retries,
        series.aborted,
        series.latency_unknown,
        series.cancelled_wait.0,
    );
    text
}
