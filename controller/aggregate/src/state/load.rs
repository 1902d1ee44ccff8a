//! Records back into totals.

use std::sync::Arc;

use gaugeway_wire::{Fingerprint, GatewayName, Seq, Target, UnixNanos, VmId};
use prost::Message;

use super::record::{
    EndRecord, GatewayRecord, Kind, MetaRecord, Record, ScraperRecord, SeriesRecord, TargetRecord,
    UnnamedRecord, VmRecord,
};
use crate::{
    aggregate::{Aggregate, Config},
    gateway::{Entry, Gateway, Named, Unnamed},
    scrapers::Shown,
    series::{Series, SeriesKey},
    units::ChangeNumber,
    vms::Vm,
};

/// Why records are not a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Not a record.
    #[error("not a record")]
    Malformed,
    /// Of a later version.
    #[error("a record of a kind that this version does not know")]
    Unknown,
    /// A record that says what cannot be.
    #[error("a record of {0} that cannot be")]
    Content(&'static str),
    /// Records are missing.
    #[error("records are missing")]
    Incomplete,
}

/// Takes the records that [`super::SavePoint::write`] gave, in that order.
#[derive(Debug, Default)]
pub struct Loader {
    records: u64,
    aggregate: Option<Aggregate>,
    gateway: Option<GatewayName>,
    complete: bool,
}

impl Loader {
    /// Before the first record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn add(&mut self, record: &[u8]) -> Result<(), LoadError> {
        let record = Record::decode(record).map_err(|_| LoadError::Malformed)?;
        let kind = record.kind.ok_or(LoadError::Unknown)?;
        if self.complete {
            return Err(LoadError::Content("more than the end"));
        }
        if let Kind::End(end) = kind {
            return self.end(&end);
        }
        self.records += 1;
        self.add_kind(kind)
    }

    /// The state.
    ///
    /// # Errors
    /// [`LoadError::Incomplete`].
    pub fn finish(self) -> Result<Aggregate, LoadError> {
        match self.aggregate {
            Some(aggregate) if self.complete => Ok(aggregate),
            _ => Err(LoadError::Incomplete),
        }
    }

    fn end(&mut self, end: &EndRecord) -> Result<(), LoadError> {
        self.complete = end.records == self.records;
        if self.complete {
            Ok(())
        } else {
            Err(LoadError::Incomplete)
        }
    }

    fn add_kind(&mut self, kind: Kind) -> Result<(), LoadError> {
        let content = LoadError::Content;
        match (kind, &mut self.aggregate) {
            (Kind::Meta(meta), None) => {
                self.aggregate = Some(start(&meta).ok_or(content("configuration"))?);
                Ok(())
            }
            (_, None) => Err(LoadError::Incomplete),
            (Kind::Meta(_) | Kind::End(_), Some(_)) => Err(content("configuration")),
            (Kind::Route(route), Some(to)) => {
                to.totals.routes.intern(&route);
                Ok(())
            }
            (Kind::Series(of), Some(to)) => series(to, of).ok_or(content("a series")),
            (Kind::Gateway(of), Some(to)) => {
                self.gateway = Some(gateway(to, &of).ok_or(content("a gateway"))?);
                Ok(())
            }
            (Kind::Target(of), Some(to)) => table(to, self.gateway.as_ref())
                .and_then(|table| target(table, &of))
                .ok_or(content("a target")),
            (Kind::Unnamed(of), Some(to)) => {
                unnamed(to, self.gateway.as_ref(), of).ok_or(content("waiting counts"))
            }
            (Kind::Vm(of), Some(to)) => vm(to, of).ok_or(content("a worker VM")),
            (Kind::Scraper(of), Some(to)) => {
                scraper(to, &of);
                Ok(())
            }
        }
    }
}

fn start(meta: &MetaRecord) -> Option<Aggregate> {
    let config = Config::try_from(meta.config.as_ref()?).ok()?;
    let mut aggregate = Aggregate::new(config, UnixNanos(meta.created));
    aggregate.change = ChangeNumber(meta.change);
    Some(aggregate)
}

fn series(to: &mut Aggregate, of: SeriesRecord) -> Option<()> {
    let target = Arc::new(Target::decode(&of.target).ok()?);
    let key = SeriesKey::new(target, to.totals.routes.intern(&of.route));
    let store = if of.by_service {
        &mut to.totals.services
    } else {
        &mut to.totals.series
    };
    if store.slot(key.text()).is_some() {
        return None;
    }
    // Of many series with few makers each name is kept once.
    let maker = (!of.maker.is_empty()).then(|| to.totals.makers.name(&of.maker));
    store.insert(Series {
        key: Arc::new(key),
        maker: maker.clone(),
        born: ChangeNumber(of.born),
        created: UnixNanos(of.created),
        changed: ChangeNumber(of.changed),
        changed_at: UnixNanos(of.changed_at),
        counts: of.counts?.restore(&to.config.layout)?,
    })?;
    if let Some(maker) = maker {
        to.totals.makers.add(&maker);
    }
    Some(())
}

fn gateway(to: &mut Aggregate, of: &GatewayRecord) -> Option<GatewayName> {
    let name = GatewayName::try_new(&of.name).ok()?;
    let table = Gateway {
        used: UnixNanos(of.used),
        ..Gateway::default()
    };
    to.gateways.insert(name.clone(), table);
    Some(name)
}

fn table<'a>(to: &'a mut Aggregate, name: Option<&GatewayName>) -> Option<&'a mut Gateway> {
    to.gateways.get_mut(name?)
}

fn target(table: &mut Gateway, of: &TargetRecord) -> Option<()> {
    let target = Target::decode(&of.target).ok()?;
    let fingerprint = target.fingerprint();
    let mut named = Named::new(target, UnixNanos(of.used));
    named.taken = UnixNanos(of.taken);
    table.entries.insert(fingerprint, Entry::Named(named));
    Some(())
}

fn unnamed(to: &mut Aggregate, name: Option<&GatewayName>, of: UnnamedRecord) -> Option<()> {
    let counts = of.counts?.restore(&to.config.layout)?;
    let table = table(to, name)?;
    let fresh = || Entry::Unnamed(Unnamed::new(UnixNanos(of.since)));
    let entry = table.entries.entry(Fingerprint(of.fingerprint));
    match entry.or_insert_with(fresh) {
        Entry::Unnamed(waiting) => waiting.routes.push((of.route.into(), Arc::new(counts))),
        Entry::Named(_) => return None,
    }
    table.unnamed += 1;
    Some(())
}

fn vm(to: &mut Aggregate, of: VmRecord) -> Option<()> {
    let id = VmId(of.id.try_into().ok()?);
    let gateway = GatewayName::try_new(&of.gateway).ok()?;
    let last = Seq(of.last);
    let seen = UnixNanos(of.seen);
    to.vms.insert(
        id,
        Vm {
            gateway,
            last,
            seen,
        },
    );
    Some(())
}

fn scraper(to: &mut Aggregate, of: &ScraperRecord) {
    let shown = Shown {
        last: ChangeNumber(of.last),
        previous: of.previous.map(ChangeNumber),
        seen: UnixNanos(of.seen),
    };
    to.scrapers.restore(&of.name, shown);
}
