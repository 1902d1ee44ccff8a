//! The totals and everything needed to apply a report once: VM sequences, definitions, counts without a name.
//!
//! **Invariants**
//! - The sum over all series, unnamed counts included, is the sum of the reports applied, less what was rejected.
//! - What is applied depends only on the state and on the arguments. [`crate::journal`] writes them down, with the
//!   index's verdicts, so a replay needs neither the index nor the clock.
//! - A refused call changes nothing that can be seen.

mod apply;
mod define;
mod sweep;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

pub use apply::{Applied, Refused};
pub use define::{DefineError, Defined};
use foldhash::fast::RandomState;
use gaugeway_wire::{GatewayName, Layout, Nanos, UnixNanos};
pub use sweep::Swept;

use crate::{
    exposition::View, gateway::Gateway, limits::GATEWAYS, recent::Recent, scrapers::Scrapers,
    snapshot::Snapshot, store::Store, totals::Totals, units::ChangeNumber, vms::Vms,
};

/// How totals are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Layout of the histograms kept; reports of another are converted, counted.
    pub layout: Layout,
    /// Series at most; further targets and routes are counted in one overflow series.
    pub max_series: usize,
    /// A series whose target is gone is dropped after this long without a change.
    pub series_expiry: Nanos,
    /// Also keep totals per gateway and Service, for `kong_upstream_latency_ms`.
    pub by_service: bool,
}

/// The totals. One writer owns it; readers get [`Snapshot`]s.
#[derive(Debug)]
pub struct Aggregate {
    pub(crate) config: Config,
    pub(crate) created: UnixNanos,
    pub(crate) change: ChangeNumber,
    pub(crate) totals: Totals,
    pub(crate) gateways: HashMap<GatewayName, Gateway, RandomState>,
    pub(crate) vms: Vms,
    pub(crate) scrapers: Scrapers,
    pub(crate) recent: Option<Recent>,
}

impl Aggregate {
    /// Empty: a new ledger.
    #[must_use]
    pub fn new(config: Config, now: UnixNanos) -> Self {
        Self {
            config,
            created: now,
            change: ChangeNumber::default(),
            totals: Totals::default(),
            gateways: HashMap::default(),
            vms: Vms::default(),
            scrapers: Scrapers::default(),
            recent: None,
        }
    }

    /// Changes how totals are kept from now on. Existing histograms are converted to the new layout.
    pub fn configure(&mut self, config: Config) {
        if config.layout != self.config.layout {
            self.rebucket(&config.layout);
        }
        if !config.by_service {
            self.totals.services = Store::default();
        }
        self.config = config;
    }

    /// This process's life begins: sliding windows are kept from now on (they are in no snapshot and no journal), and
    /// gateways may bring what they counted before.
    pub fn begin(&mut self) {
        self.recent.get_or_insert_default();
        for gateway in self.gateways.values_mut() {
            gateway.begin();
        }
    }

    /// The sliding windows, where they are kept.
    #[must_use]
    pub fn recent(&self) -> Option<&Recent> {
        self.recent.as_ref()
    }

    /// How totals are kept.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// When this ledger's life began.
    #[must_use]
    pub fn created(&self) -> UnixNanos {
        self.created
    }

    /// Series held.
    #[must_use]
    pub fn series_len(&self) -> usize {
        self.totals.series.len()
    }

    /// Policies that refused a series lately, if that has changed since this was asked last. Of this process's life only.
    pub fn take_refusing(&mut self) -> Option<BTreeSet<Arc<str>>> {
        self.totals.makers.take_news()
    }

    /// The totals now. Cheap: one pointer per 16 series.
    pub fn snapshot(&mut self, now: UnixNanos) -> Snapshot {
        Snapshot {
            change: self.change,
            taken: now,
            created: self.created,
            layout: self.config.layout.clone(),
            series: self.totals.series.freeze(),
            services: self.totals.services.freeze(),
        }
    }

    /// The totals for one scraper.
    pub fn scrape(&mut self, scraper: &str, now: UnixNanos) -> (Snapshot, View) {
        let view = View {
            shown_since: self.scrapers.shown(scraper),
        };
        (self.snapshot(now), view)
    }

    /// Notes that a scrape of that state has arrived.
    pub fn delivered(&mut self, scraper: &str, change: ChangeNumber, now: UnixNanos) {
        self.scrapers.delivered(scraper, change, now);
    }

    /// Worker VMs heard of since then, per gateway; gateways without one are listed with 0.
    #[must_use]
    pub fn worker_vms(&self, since: UnixNanos) -> Vec<(GatewayName, u64)> {
        let mut alive: HashMap<&GatewayName, u64> =
            self.gateways.keys().map(|gateway| (gateway, 0)).collect();
        for (_, vm) in self.vms.iter().filter(|(_, vm)| vm.seen >= since) {
            if let Some(n) = alive.get_mut(&vm.gateway) {
                *n += 1;
            }
        }
        alive.into_iter().map(|(g, n)| (g.clone(), n)).collect()
    }

    fn has_room_for(&self, gateway: &GatewayName) -> bool {
        self.gateways.len() < GATEWAYS || self.gateways.contains_key(gateway)
    }

    fn rebucket(&mut self, layout: &Layout) {
        for store in [&mut self.totals.series, &mut self.totals.services] {
            for slot in store.slots() {
                if let Some(series) = store.get_mut(slot) {
                    series.counts.latency.rebucket(layout);
                }
            }
        }
        for gateway in self.gateways.values_mut() {
            gateway.rebucket(layout);
        }
        if let Some(recent) = &mut self.recent {
            recent.rebucket(&self.config.layout, layout);
        }
    }
}
