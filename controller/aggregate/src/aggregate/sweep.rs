//! Forgetting: series whose target is gone, VMs and gateways that fell silent, counts whose name never came.

use std::sync::Arc;

use gaugeway_wire::{Nanos, TargetKind, UnixNanos};

use super::Aggregate;
use crate::{
    host::Liveness,
    limits::VM_IDLE,
    series::{Series, SeriesKey},
    store::Store,
    totals::{Increase, Moment},
};

/// What a sweep did.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// Series dropped because their target is gone.
    pub series: Vec<Arc<SeriesKey>>,
    /// The same of the totals per gateway and Service.
    pub services: Vec<Arc<SeriesKey>>,
    /// Worker VMs forgotten with their sequence.
    pub vms: u64,
    /// Requests counted in the overflow series because their name never came.
    pub overflow_requests: u64,
    /// Waiting counts moved; definitions, routes and gateways forgotten.
    pub others: usize,
}

impl Swept {
    /// Whether it changed nothing: then it need not be written down.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.services.is_empty() && self.vms == 0 && self.others == 0
    }
}

impl Aggregate {
    /// Forgets what is due. Without `liveness` (the source has not synced) no series is dropped.
    pub fn sweep(&mut self, liveness: Option<&dyn Liveness>, now: UnixNanos) -> Swept {
        let expired = |store| match liveness {
            Some(liveness) => self.expired(store, liveness, now),
            None => Vec::new(),
        };
        let series = expired(&self.totals.series);
        let services = expired(&self.totals.services);
        let mut swept = self.sweep_due(now);
        self.drop_series(
            series.iter().map(|key| key.text()),
            services.iter().map(|key| key.text()),
        );
        swept.series = series;
        swept.services = services;
        if let Some(recent) = &mut self.recent {
            recent.expire(now);
        }
        self.totals.makers.forget(now);
        swept
    }

    /// Forgets as it was forgotten before.
    pub fn replay_sweep<'a>(
        &mut self,
        series: impl Iterator<Item = &'a str>,
        services: impl Iterator<Item = &'a str>,
        now: UnixNanos,
    ) {
        self.sweep_due(now);
        self.drop_series(series, services);
    }

    fn expired(
        &self,
        store: &Store,
        liveness: &dyn Liveness,
        now: UnixNanos,
    ) -> Vec<Arc<SeriesKey>> {
        store
            .iter()
            .filter(|series| self.is_expired(series, liveness, now))
            .map(|series| Arc::clone(&series.key))
            .collect()
    }

    /// Unchanged for the expiry, seen twice since by every scraper (or unseen for ten times the expiry), target gone.
    fn is_expired(&self, series: &Series, liveness: &dyn Liveness, now: UnixNanos) -> bool {
        let expiry = self.config.series_expiry;
        let idle = now.since(series.changed_at).unwrap_or_default();
        let target = series.key.target();
        idle >= expiry
            && target.kind() == TargetKind::Kubernetes
            && (idle >= Nanos(expiry.0.saturating_mul(10))
                || self.scrapers.have_seen_twice(series.changed, now))
            && !liveness.is_live(target)
    }

    fn drop_series<'a>(
        &mut self,
        series: impl Iterator<Item = &'a str>,
        services: impl Iterator<Item = &'a str>,
    ) {
        let totals = &mut self.totals;
        let dropped = series.filter(|text| totals.drop_series(text)).count()
            + services
                .filter_map(|text| totals.services.remove(text))
                .count();
        if dropped > 0 {
            self.change = self.change.next();
        }
    }

    /// What is due by state and time alone.
    fn sweep_due(&mut self, now: UnixNanos) -> Swept {
        let mut swept = Swept {
            vms: self.vms.forget(now),
            ..Swept::default()
        };
        self.count_overdue(now, &mut swept);
        for gateway in self.gateways.values_mut() {
            swept.others += gateway.forget_idle(now);
        }
        swept.others += self.totals.routes.forget_unused(&self.totals.series);
        swept.others += self.forget_gateways(now);
        swept
    }

    fn count_overdue(&mut self, now: UnixNanos, swept: &mut Swept) {
        let overdue: Vec<_> = self
            .gateways
            .values_mut()
            .flat_map(|gateway| gateway.take_overdue(now))
            .collect();
        if overdue.is_empty() {
            return;
        }
        self.change = self.change.next();
        let at = Moment {
            config: &self.config,
            change: self.change,
            now,
        };
        for unnamed in &overdue {
            swept.others += 1;
            swept.overflow_requests = swept.overflow_requests.saturating_add(unnamed.requests());
            for (_, counts) in &unnamed.routes {
                self.totals.add_overflow(at, Increase::Kept(counts));
            }
        }
    }

    fn forget_gateways(&mut self, now: UnixNanos) -> usize {
        let before = self.gateways.len();
        let horizon = now.minus(VM_IDLE);
        let vms = &self.vms;
        self.gateways.retain(|name, gateway| {
            gateway.used >= horizon || !gateway.entries.is_empty() || vms.serves(name)
        });
        before - self.gateways.len()
    }
}
