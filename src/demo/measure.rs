//! Compares what Gaugeway counted with Envoy's own access log, per Service.
//!
//! Counts must be equal. A quantile is one sample by rank; the histogram knows the bucket of that sample, the log its
//! value. Both take their times around the same events inside Envoy, microseconds apart, so the log's value lies in
//! that bucket or, near its edge, in the next one: that is the whole tolerance.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use gaugeway_rig::{AccessLine, Exposition, LoadReport, oracle::quantile};
use serde::Serialize;

use super::shop::{NAMESPACE, Service};

/// Buckets of native histogram schema 3 are this much wider than the one before: 2^(1/8).
const GROWTH: f64 = 1.090_507_732_665_257_7;
/// Which quantiles are compared.
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// The result.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    /// Requests that the load sent.
    pub(super) sent: u64,
    /// Of these, without a complete answer.
    pub(super) failed: u64,
    /// Requests that Gaugeway counted, on whatever Service.
    pub(super) counted: u64,
    pub(super) services: Vec<Row>,
}

/// One Service.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) service: &'static str,
    pub(super) route: &'static str,
    pub(super) share: &'static str,
    pub(super) requests: Requests,
    pub(super) quantiles: Vec<Quantile>,
}

/// The same requests, counted by three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Requests {
    pub(super) gaugeway: u64,
    pub(super) envoy_log: u64,
    pub(super) server: u64,
}

/// One quantile, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Quantile {
    pub(super) q: f64,
    pub(super) gaugeway_ms: f64,
    /// The histogram bucket that holds it.
    pub(super) bucket_ms: (f64, f64),
    pub(super) envoy_log_ms: f64,
    /// What the server's delay alone was.
    pub(super) injected_ms: f64,
}

/// What is known about a Service besides what Gaugeway says.
pub(super) struct ServiceFacts {
    pub(super) service: &'static Service,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) served: u64,
    pub(super) delays: Vec<Duration>,
}

/// Upper bounds of native schema 3 from 4 ms to 1 s as classic buckets, so that the text format is as exact.
pub(super) fn classic_buckets() -> String {
    let bounds = (-63..=0).map(|index| format!("{}ns", (GROWTH.powi(index) * 1e9).round()));
    bounds.collect::<Vec<_>>().join(",")
}

pub(super) fn measure(
    load: &LoadReport,
    page: &Exposition,
    lines: &[AccessLine],
    services: Vec<ServiceFacts>,
) -> Result<Measured> {
    let services = services
        .into_iter()
        .map(|facts| row(page, lines, facts))
        .collect::<Result<_>>()?;
    Ok(Measured {
        sent: load.sent,
        failed: load.failed,
        counted: count(page.sum("gaugeway_upstream_requests_total", &[])),
        services,
    })
}

fn row(page: &Exposition, lines: &[AccessLine], mut facts: ServiceFacts) -> Result<Row> {
    let labels = [
        ("kubernetes_namespace", NAMESPACE),
        ("kubernetes_service", facts.service.name),
    ];
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| {
            line.upstream
                .is_some_and(|at| facts.addresses.contains(&at))
        })
        .collect();
    let mut latencies: Vec<_> = lines.iter().filter_map(|line| line.latency()).collect();
    let classic = page.classic("gaugeway_upstream_latency_seconds", &labels)?;
    let compare = |q| {
        let (lower, value, upper) = classic.as_ref()?.quantile(q)?;
        Some(Quantile {
            q,
            gaugeway_ms: value * 1e3,
            bucket_ms: (lower * 1e3, upper * 1e3),
            envoy_log_ms: millis(quantile(&mut latencies, q)?),
            injected_ms: millis(quantile(&mut facts.delays, q)?),
        })
    };
    Ok(Row {
        service: facts.service.name,
        route: facts.service.route,
        share: facts.service.share,
        requests: Requests {
            gaugeway: count(page.sum("gaugeway_upstream_requests_total", &labels)),
            envoy_log: u64::try_from(lines.len())?,
            server: facts.served,
        },
        quantiles: QUANTILES.into_iter().filter_map(compare).collect(),
    })
}

impl Measured {
    /// Whether every request was counted, once, where Envoy sent it.
    pub(super) fn counts_agree(&self) -> bool {
        let logged: u64 = self.services.iter().map(|row| row.requests.envoy_log).sum();
        self.counted == self.sent
            && logged == self.sent
            && self.services.iter().all(|row| row.requests.agree())
    }

    /// Whether counts and quantiles are right.
    pub(super) fn passed(&self) -> bool {
        self.failed == 0
            && self.counts_agree()
            && self.services.iter().all(|row| {
                row.quantiles.len() == QUANTILES.len() && row.quantiles.iter().all(Quantile::agrees)
            })
    }
}

impl Requests {
    pub(super) fn agree(&self) -> bool {
        self.gaugeway == self.envoy_log && self.envoy_log == self.server && self.server > 0
    }
}

impl Quantile {
    /// Whether the log's value is in the histogram's bucket or in one next to it. The last bucket has no end and so
    /// says nothing: a quantile in it agrees with none.
    pub(super) fn agrees(&self) -> bool {
        let (lower, upper) = self.bucket_ms;
        upper.is_finite()
            && self.envoy_log_ms > lower / GROWTH
            && self.envoy_log_ms <= upper * GROWTH
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a counter is a whole number, and far below 2^52 here"
)]
fn count(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bucket_ms: (f64, f64), envoy_log_ms: f64) -> bool {
        let quantile = Quantile {
            q: 0.5,
            gaugeway_ms: 0.0,
            bucket_ms,
            envoy_log_ms,
            injected_ms: 0.0,
        };
        quantile.agrees()
    }

    #[test]
    fn the_next_bucket_is_near_enough_and_the_one_after_is_not() {
        let bucket = (100.0, 109.05);
        assert!(at(bucket, 105.0) && at(bucket, 99.0) && at(bucket, 118.0));
        assert!(!at(bucket, 91.0) && !at(bucket, 119.0));
    }

    #[test]
    fn beyond_the_last_bound_nothing_agrees() {
        assert!(!at((1_000.0, f64::INFINITY), 1_200.0));
    }

    #[test]
    fn buckets_are_native_bounds_and_not_too_many() {
        let buckets = classic_buckets();
        let bounds: Vec<_> = buckets.split(',').collect();
        assert_eq!(bounds.len(), 64);
        assert_eq!(bounds.last(), Some(&"1000000000ns"));
        assert!(bounds.contains(&"250000000ns"));
    }

    #[test]
    fn a_request_counted_elsewhere_is_off() {
        let requests = Requests {
            gaugeway: 9,
            envoy_log: 10,
            server: 10,
        };
        assert!(!requests.agree());
    }
}
