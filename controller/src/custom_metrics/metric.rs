//! The metrics: their names, and what a reading says of each.

use gaugeway_aggregate::{Reading, Window};
use gaugeway_index::WhenIdle;

use super::quantity::Quantity;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Average upstream latency over 60 s in ms, as autoscalers made for Kong's operator ask for it.
    KongAverage,
    /// Average upstream latency in ms.
    Average,
    /// A quantile of upstream latency in ms, in percent.
    Quantile(Percent),
    /// Requests per second, whatever their outcome.
    RequestsPerSecond,
    /// Requests that waited at a time, on average.
    Concurrency,
    /// Share of requests that failed, 0 to 1.
    ErrorRatio,
}

/// Of a quantile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Percent {
    P50,
    P90,
    P95,
    P99,
}

impl Percent {
    const fn share(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P95 => 0.95,
            Self::P99 => 0.99,
        }
    }
}

impl Metric {
    /// All of them, in the order of discovery.
    pub(crate) const ALL: [Self; 9] = [
        Self::KongAverage,
        Self::Average,
        Self::Quantile(Percent::P50),
        Self::Quantile(Percent::P90),
        Self::Quantile(Percent::P95),
        Self::Quantile(Percent::P99),
        Self::RequestsPerSecond,
        Self::Concurrency,
        Self::ErrorRatio,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KongAverage => "kong_upstream_latency_ms_60s_average",
            Self::Average => "gaugeway_upstream_latency_average_milliseconds",
            Self::Quantile(Percent::P50) => "gaugeway_upstream_latency_p50_milliseconds",
            Self::Quantile(Percent::P90) => "gaugeway_upstream_latency_p90_milliseconds",
            Self::Quantile(Percent::P95) => "gaugeway_upstream_latency_p95_milliseconds",
            Self::Quantile(Percent::P99) => "gaugeway_upstream_latency_p99_milliseconds",
            Self::RequestsPerSecond => "gaugeway_upstream_requests_per_second",
            Self::Concurrency => "gaugeway_upstream_concurrency",
            Self::ErrorRatio => "gaugeway_upstream_error_ratio",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::KongAverage => {
                "average upstream latency over 60 s in ms, 0 when idle; for autoscalers made for Kong's operator"
            }
            Self::Average => "average upstream latency in ms; when idle 0, or none (`whenIdle`)",
            Self::Quantile(_) => {
                "that quantile of upstream latency in ms; when idle 0, or none (`whenIdle`)"
            }
            Self::RequestsPerSecond => "requests per second, whatever their outcome",
            Self::Concurrency => "requests that waited for their answer at a time, on average",
            Self::ErrorRatio => {
                "share of requests answered with 5xx or by no upstream at all, 0 to 1"
            }
        }
    }

    /// The window that its name says, if it does.
    pub(crate) const fn fixed_window(self) -> Option<Window> {
        match self {
            Self::KongAverage => Some(Window::Seconds60),
            _ => None,
        }
    }

    /// Its value; none where no request had a latency, or where idle objects are to have none.
    pub(crate) fn value(self, reading: &Reading, when_idle: WhenIdle) -> Option<Quantity> {
        let idle = reading.counts().requests_total() == 0;
        let zero = match self {
            Self::Average | Self::Quantile(_) => when_idle == WhenIdle::Zero,
            Self::KongAverage | Self::RequestsPerSecond | Self::Concurrency | Self::ErrorRatio => {
                true
            }
        };
        if idle {
            return zero.then_some(Quantity::ZERO);
        }
        let value = match self {
            Self::KongAverage | Self::Average => milliseconds(reading.average_seconds()?),
            Self::Quantile(percent) => milliseconds(reading.quantile_seconds(percent.share())?),
            Self::RequestsPerSecond => reading.requests_per_second(),
            Self::Concurrency => reading.concurrency(),
            Self::ErrorRatio => reading.error_ratio().unwrap_or(0.0),
        };
        Quantity::of(value)
    }
}

/// The metrics of `custom.metrics.k8s.io` with what each means; for the documentation.
#[must_use]
pub fn custom_metrics() -> Vec<(&'static str, &'static str)> {
    let each = |metric: Metric| (metric.name(), metric.meaning());
    Metric::ALL.map(each).into()
}

const fn milliseconds(seconds: f64) -> f64 {
    seconds * 1000.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gaugeway_aggregate::Sample;
    use gaugeway_wire::{Policy, UnixNanos};

    use super::*;

    #[test]
    fn names_are_distinct_and_found_again() {
        let names: BTreeSet<_> = Metric::ALL.map(Metric::name).into();
        assert_eq!(names.len(), Metric::ALL.len());
        for metric in Metric::ALL {
            assert_eq!(Metric::parse(metric.name()), Some(metric));
        }
        assert_eq!(Metric::parse("kong_upstream_latency_ms"), None);
    }

    #[test]
    fn idle_is_zero_but_for_latencies_that_are_to_be_absent() {
        let idle = Sample::empty(UnixNanos(1_000_000_000_000))
            .read(Window::Seconds60, &Policy::default().layout());
        for metric in Metric::ALL {
            let zero = metric.value(&idle, WhenIdle::Zero);
            assert_eq!(zero, Some(Quantity::ZERO), "{metric:?}");
            let latency = matches!(metric, Metric::Average | Metric::Quantile(_));
            let absent = metric.value(&idle, WhenIdle::Absent);
            assert_eq!(absent.is_none(), latency, "{metric:?}");
        }
    }
}
