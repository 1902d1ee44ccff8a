//! What a correct filter must have counted: the sum over all scripted requests that have ended.

use std::collections::BTreeMap;

use gaugeway_wire::{histogram::Layout, units::Nanos};

use crate::{
    personality::Personality,
    request::Request,
    sim::Sim,
    totals::{SeriesTotals, Totals},
};

/// Least time between two calls in Kong, if the filter's configuration does not tell another.
const KONG_INTERVAL: Nanos = Nanos::from_millis(15_000);

/// Counts by (key, cluster, route); targets are looked up when they are compared.
#[derive(Default)]
pub(super) struct Oracle {
    series: BTreeMap<(String, String, String), SeriesTotals>,
}

impl Oracle {
    pub(super) fn add(
        &mut self,
        request: &Request,
        personality: Personality,
        route: bool,
        layout: &Layout,
    ) {
        let route = if route { &*request.route } else { "" };
        for counted in request.expected(personality) {
            let place = (counted.key, request.cluster.clone(), route.to_owned());
            self.series
                .entry(place)
                .or_insert_with(|| SeriesTotals::new(layout.clone()))
                .add_expected(&counted.expected);
        }
    }
}

impl Sim {
    /// What a correct filter has counted by now, under the targets of the mapping in force. Requests are in it once they
    /// have ended.
    #[must_use]
    pub fn expected(&self) -> Totals {
        let mut totals = Totals::default();
        for ((key, cluster, route), series) in &self.oracle.series {
            let target = self.controller.index.target_of(key, cluster);
            totals
                .entry(target, route, series.latency.layout())
                .add(series);
        }
        totals
    }

    /// Lets everything be reported (four intervals and all time-outs pass), then compares.
    ///
    /// # Panics
    /// When something scripted was not reported exactly once as it should be, when the filter broke a rule, failed, or
    /// did more than watch.
    #[track_caller]
    pub fn assert_all_reported(&mut self) {
        self.settle();
        self.assert_same(&self.expected(), &self.controller.ledger.totals);
    }

    /// As [`Sim::assert_all_reported`], whoever the counts belong to: where a configuration carries an identity, that
    /// depends on whether the mapping came within the grace.
    ///
    /// # Panics
    /// Likewise.
    #[track_caller]
    pub fn assert_all_counted(&mut self) {
        self.settle();
        let reported = self.controller.ledger.totals.merged();
        self.assert_same(&self.expected().merged(), &reported);
    }

    #[track_caller]
    fn assert_same(&self, expected: &Totals, reported: &Totals) {
        let name = |target| self.controller.ledger.name(target);
        let difference = expected.difference(reported, name);
        assert!(
            difference.is_empty(),
            "expected and reported differ:\n{difference}"
        );
    }

    #[track_caller]
    fn settle(&mut self) {
        let told = self.controller.index.policy().report_interval;
        let interval = match self.module.personality() {
            Personality::Envoy => told,
            Personality::WasmX => told.max(KONG_INTERVAL),
        };
        self.advance(Nanos(4 * interval.0));
        let failures = self.take_failures();
        assert!(failures.is_empty(), "{failures:#?}");
        let violations = &self.controller.violations;
        assert!(violations.is_empty(), "{violations:#?}");
        let meddled = self.meddled();
        assert!(meddled.is_empty(), "{meddled:?}");
        let bad = self.meter().bad_pointers;
        assert_eq!(bad, 0, "pointers outside the guest's memory");
    }
}
