//! `kong_upstream_latency_ms`, as Kong Gateway Operator's `DataPlaneMetricsExtension` exposes it: its labels, its
//! buckets, milliseconds. One series per Service and data plane, so dashboards and HPAs written for it work unchanged.

use std::collections::BTreeMap;

use gaugeway_wire::{GatewayName, Histogram, Layout, Nanos, Target, UnixNanos, target::names};

use super::{DataplaneUrls, View};
use crate::{labels, series::Series, snapshot::Snapshot};

/// Upper bounds of Kong's upstream latency buckets, in milliseconds. Source: Kong's Prometheus plugin.
const BOUNDS_MS: [u64; 13] = [
    25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10_000, 30_000, 60_000,
];

/// One series.
#[derive(Debug)]
pub(super) struct Row {
    /// Its labels as the text formats write them.
    pub(super) text: Box<str>,
    names: Names,
    /// One per bound that the layout has, then +Inf.
    pub(super) cumulative: Vec<u64>,
    pub(super) sum_ns: u128,
    pub(super) created: UnixNanos,
}

/// What tells the rows apart.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Names {
    dataplane_url: Box<str>,
    service: Box<str>,
    namespace: Box<str>,
}

/// Kong's bounds with their position in the layout. One that the layout lacks has no exact count and is left out.
pub(super) fn bounds(layout: &Layout) -> impl Iterator<Item = (usize, Nanos)> + '_ {
    BOUNDS_MS.into_iter().filter_map(|millis| {
        let bound = Nanos::from_millis(millis);
        let position = layout.bounds.as_slice().binary_search(&bound).ok()?;
        Some((position, bound))
    })
}

/// All series, ordered by data plane, Service, namespace. Gateways with the same URL are one data plane: two series of
/// the same labels would spoil the whole scrape.
pub(super) fn rows(snapshot: &Snapshot, view: View, urls: &DataplaneUrls) -> Vec<Row> {
    let positions: Vec<usize> = bounds(snapshot.layout()).map(|(at, _)| at).collect();
    let mut rows: BTreeMap<Names, Vec<&Series>> = BTreeMap::new();
    for series in snapshot.services() {
        if let Some(names) = Names::of(series.key.target(), urls) {
            rows.entry(names).or_default().push(series);
        }
    }
    rows.into_iter()
        .map(|(names, of)| Row::new(names, &of, view, &positions))
        .collect()
}

impl Row {
    fn new(names: Names, of: &[&Series], view: View, positions: &[usize]) -> Self {
        let mut text = String::with_capacity(256);
        names.each(|name, value| labels::put(&mut text, name, value));
        let created = of.iter().map(|series| series.created).min();
        let mut row = Self {
            text: text.into_boxed_str(),
            names,
            cumulative: vec![0; positions.len() + 1],
            sum_ns: 0,
            created: created.unwrap_or_default(),
        };
        for series in of.iter().filter(|series| !view.is_new(series.born)) {
            row.add(&series.counts.latency, positions);
        }
        row
    }

    /// Its labels, ordered by name.
    pub(super) fn labels(&self, give: impl FnMut(&str, &str)) {
        self.names.each(give);
    }

    fn add(&mut self, latency: &Histogram, positions: &[usize]) {
        let classic = latency.classic();
        let ends = positions.iter().map(|at| at + 1).chain([classic.len()]);
        for (total, end) in self.cumulative.iter_mut().zip(ends) {
            let below = classic.clone().take(end);
            *total = below.fold(*total, u64::saturating_add);
        }
        self.sum_ns = self.sum_ns.saturating_add(latency.sum_ns());
    }
}

impl Names {
    fn of(target: &Target, urls: &DataplaneUrls) -> Option<Self> {
        let gateway = GatewayName::try_new(target.label(names::GATEWAY)?).ok()?;
        let namespace = target.label(names::NAMESPACE)?;
        let service = target.label(names::SERVICE)?;
        Some(Self {
            dataplane_url: (urls.0)(&gateway, namespace, service)?.into(),
            service: service.into(),
            namespace: namespace.into(),
        })
    }

    fn each(&self, mut give: impl FnMut(&str, &str)) {
        give("dataplane_url", &self.dataplane_url);
        give("kubernetes_apiversion", "v1");
        give("kubernetes_kind", "service");
        give("kubernetes_name", &self.service);
        give("kubernetes_namespace", &self.namespace);
        give("namespace", &self.namespace);
        give("service", &self.service);
    }
}
