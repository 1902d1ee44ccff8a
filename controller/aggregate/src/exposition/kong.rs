//! `kong_upstream_latency_ms`, as Kong Gateway Operator's `DataPlaneMetricsExtension` exposes it: its labels, its
//! buckets, milliseconds. One series per Service and data plane, so dashboards and HPAs written for it work unchanged.

use std::collections::BTreeMap;

use gaugeway_wire::{GatewayName, Histogram, Layout, Nanos, Target, target::names};

use super::{DataplaneUrls, View};
use crate::{labels, snapshot::Snapshot};

/// Upper bounds of Kong's upstream latency buckets, in milliseconds. Source: Kong's Prometheus plugin.
const BOUNDS_MS: [u64; 13] = [
    25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10_000, 30_000, 60_000,
];

/// One series.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) labels: Box<str>,
    /// One per bound that the layout has, then +Inf.
    pub(super) cumulative: Vec<u64>,
    pub(super) sum_ns: u128,
}

/// Kong's bounds with their position in the layout. One that the layout lacks has no exact count and is left out.
pub(super) fn bounds(layout: &Layout) -> impl Iterator<Item = (usize, Nanos)> + '_ {
    BOUNDS_MS.into_iter().filter_map(|millis| {
        let bound = Nanos::from_millis(millis);
        let position = layout.bounds.as_slice().binary_search(&bound).ok()?;
        Some((position, bound))
    })
}

/// All series, ordered by labels. Gateways with the same URL are one data plane: two series of the same labels would
/// spoil the whole scrape.
pub(super) fn rows(snapshot: &Snapshot, view: View, urls: &DataplaneUrls) -> Vec<Row> {
    let positions: Vec<usize> = bounds(snapshot.layout()).map(|(at, _)| at).collect();
    let mut rows: BTreeMap<Box<str>, Row> = BTreeMap::new();
    for series in snapshot.services() {
        let Some(labels) = row_labels(series.key.target(), urls) else {
            continue;
        };
        let row = rows.entry(labels).or_insert_with_key(|labels| Row {
            labels: labels.clone(),
            cumulative: vec![0; positions.len() + 1],
            sum_ns: 0,
        });
        if !view.is_new(series.born) {
            row.add(&series.counts.latency, &positions);
        }
    }
    rows.into_values().collect()
}

impl Row {
    fn add(&mut self, latency: &Histogram, positions: &[usize]) {
        let classic = latency.classic();
        let ends = positions.iter().map(|at| at + 1).chain([classic.len()]);
        for (total, end) in self.cumulative.iter_mut().zip(ends) {
            let below = classic.get(..end).unwrap_or_default();
            *total = below.iter().fold(*total, |sum, n| sum.saturating_add(*n));
        }
        self.sum_ns = self.sum_ns.saturating_add(latency.sum_ns());
    }
}

fn row_labels(target: &Target, urls: &DataplaneUrls) -> Option<Box<str>> {
    let namespace = target.label(names::NAMESPACE)?;
    let service = target.label(names::SERVICE)?;
    let gateway = GatewayName::try_new(target.label(names::GATEWAY)?).ok()?;
    let url = (urls.0)(&gateway);
    let mut out = String::with_capacity(256);
    for (name, value) in [
        ("dataplane_url", url.as_str()),
        ("kubernetes_apiversion", "v1"),
        ("kubernetes_kind", "service"),
        ("kubernetes_name", service),
        ("kubernetes_namespace", namespace),
        ("namespace", namespace),
        ("service", service),
    ] {
        labels::put(&mut out, name, value);
    }
    Some(out.into_boxed_str())
}
