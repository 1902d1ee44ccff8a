//! What a correct filter must have counted: the sum over all scripted requests that have ended.

use std::collections::BTreeMap;

use gaugeway_wire::{histogram::Layout, units::Nanos};

use crate::{
    request::Request,
    sim::Sim,
    totals::{SeriesTotals, Totals},
};

/// Counts by (key, cluster, route); targets are looked up when they are compared.
#[derive(Default)]
pub(super) struct Oracle {
    series: BTreeMap<(String, String, String), SeriesTotals>,
}

impl Oracle {
    pub(super) fn add(&mut self, request: &Request, route: bool, layout: &Layout) {
        let Some(expected) = request.expected_on_envoy() else {
            return;
        };
        let route = if route {
            request.route.clone()
        } else {
            String::new()
        };
        self.series
            .entry((request.key(), request.cluster.clone(), route))
            .or_insert_with(|| SeriesTotals::new(layout.clone()))
            .add_expected(&expected);
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
        let interval = self.controller.index.policy().report_interval;
        self.advance(Nanos(4 * interval.0));
        let failures = self.take_failures();
        assert!(failures.is_empty(), "{failures:#?}");
        let difference = self
            .expected()
            .difference(&self.controller.ledger.totals, |t| {
                self.controller.ledger.name(t)
            });
        assert!(
            difference.is_empty(),
            "expected and reported differ:\n{difference}"
        );
        let violations = &self.controller.violations;
        assert!(violations.is_empty(), "{violations:#?}");
        let meddled = self.meddled();
        assert!(meddled.is_empty(), "{meddled:?}");
        assert_eq!(
            self.meter().bad_pointers,
            0,
            "pointers outside the guest's memory"
        );
    }
}
