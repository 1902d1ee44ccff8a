//! The whole of the totals as records, for a snapshot file, and back.
//!
//! A [`SavePoint`] shares the series and copies the small tables, so taking one costs the writer little; encoding it
//! can happen on another thread. The records are protobuf messages in a fixed order, the last one says how many there
//! were: a cut file is never taken for a whole one. Fields are only added and their numbers never reused; a record of
//! a kind that this version does not know is an error.

mod load;
mod record;

use std::sync::Arc;

use gaugeway_wire::{Fingerprint, GatewayName, Target, UnixNanos, VmId};
pub use load::{LoadError, Loader};
use prost::Message;
use record::{
    EndRecord, GatewayRecord, Kind, MetaRecord, Record, ScraperRecord, SeriesRecord, TargetRecord,
    UnnamedRecord, VmRecord,
};

use crate::{
    aggregate::Aggregate,
    counts::Counts,
    gateway::{Entry, Gateway},
    journal::ConfigRecord,
    scrapers::Scrapers,
    snapshot::Snapshot,
    vms::{Vm, Vms},
};

/// The whole of the totals at one moment.
#[derive(Debug)]
pub struct SavePoint {
    config: ConfigRecord,
    totals: Snapshot,
    gateways: Vec<SavedGateway>,
    routes: Vec<Arc<str>>,
    vms: Vms,
    scrapers: Scrapers,
}

#[derive(Debug)]
struct SavedGateway {
    name: GatewayName,
    used: UnixNanos,
    targets: Vec<SavedTarget>,
    unnamed: Vec<SavedUnnamed>,
}

#[derive(Debug)]
struct SavedTarget {
    target: Arc<Target>,
    used: UnixNanos,
    taken: UnixNanos,
}

#[derive(Debug)]
struct SavedUnnamed {
    fingerprint: Fingerprint,
    since: UnixNanos,
    route: Box<str>,
    counts: Arc<Counts>,
}

impl Aggregate {
    /// The whole of the totals now.
    pub fn save_point(&mut self, now: UnixNanos) -> SavePoint {
        SavePoint {
            config: (&self.config).into(),
            totals: self.snapshot(now),
            gateways: self.gateways.iter().map(SavedGateway::of).collect(),
            routes: self.totals.routes.iter().map(Arc::clone).collect(),
            vms: self.vms.clone(),
            scrapers: self.scrapers.clone(),
        }
    }
}

impl SavePoint {
    /// Gives all records to `emit`, in order.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn write<E>(&self, mut emit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut buffer = Vec::new();
        let mut records = 0;
        for kind in self.kinds() {
            records += 1;
            put(kind, &mut buffer, &mut emit)?;
        }
        put(Kind::End(EndRecord { records }), &mut buffer, &mut emit)
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        let meta = Kind::Meta(MetaRecord {
            config: Some(self.config.clone()),
            created: self.totals.created.0,
            change: self.totals.change.0,
        });
        let routes = self
            .routes
            .iter()
            .map(|route| Kind::Route(route.to_string()));
        let series = self
            .totals
            .series()
            .map(|of| Kind::Series(SeriesRecord::of(of, false)));
        let services = self
            .totals
            .services()
            .map(|of| Kind::Series(SeriesRecord::of(of, true)));
        let gateways = self.gateways.iter().flat_map(SavedGateway::kinds);
        let vms = self.vms.iter().map(|(id, vm)| vm_kind(*id, vm));
        let scrapers = self.scrapers.iter().map(|(name, shown)| {
            Kind::Scraper(ScraperRecord {
                name: name.into(),
                last: shown.last.0,
                previous: shown.previous.map(|change| change.0),
                seen: shown.seen.0,
            })
        });
        std::iter::once(meta)
            .chain(routes)
            .chain(series)
            .chain(services)
            .chain(gateways)
            .chain(vms)
            .chain(scrapers)
    }
}

impl SavedGateway {
    fn of((name, gateway): (&GatewayName, &Gateway)) -> Self {
        let mut saved = Self {
            name: name.clone(),
            used: gateway.used,
            targets: Vec::new(),
            unnamed: Vec::new(),
        };
        for (fingerprint, entry) in &gateway.entries {
            match entry {
                Entry::Named(named) => saved.targets.push(SavedTarget {
                    target: Arc::clone(&named.target),
                    used: named.used,
                    taken: named.taken,
                }),
                Entry::Unnamed(unnamed) => {
                    let of = |(route, counts): &(Box<str>, Arc<Counts>)| SavedUnnamed {
                        fingerprint: *fingerprint,
                        since: unnamed.since,
                        route: route.clone(),
                        counts: Arc::clone(counts),
                    };
                    saved.unnamed.extend(unnamed.routes.iter().map(of));
                }
            }
        }
        saved
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        let head = Kind::Gateway(GatewayRecord {
            name: self.name.as_str().into(),
            used: self.used.0,
        });
        let targets = self.targets.iter().map(|of| {
            Kind::Target(TargetRecord {
                target: of.target.encode(),
                used: of.used.0,
                taken: of.taken.0,
            })
        });
        let unnamed = self.unnamed.iter().map(|waiting| {
            Kind::Unnamed(UnnamedRecord {
                fingerprint: waiting.fingerprint.0,
                since: waiting.since.0,
                route: waiting.route.to_string(),
                counts: Some((&*waiting.counts).into()),
            })
        });
        std::iter::once(head).chain(targets).chain(unnamed)
    }
}

fn vm_kind(id: VmId, vm: &Vm) -> Kind {
    Kind::Vm(VmRecord {
        id: id.0.to_vec(),
        gateway: vm.gateway.as_str().into(),
        last: vm.last.0,
        seen: vm.seen.0,
    })
}

fn put<E>(
    kind: Kind,
    buffer: &mut Vec<u8>,
    emit: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    buffer.clear();
    // A vector grows as needed, so encoding cannot run out of room.
    let _ = Record { kind: Some(kind) }.encode(buffer);
    emit(buffer)
}
