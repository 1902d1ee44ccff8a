//! Adding counts to series: finds or makes the series of a target and route, within the cap.

use std::sync::Arc;

use gaugeway_wire::{
    GatewayName, Label, Layout, Target, TargetKind, UnixNanos, report, target::names,
};

use crate::{
    aggregate::Config,
    counts::Counts,
    gateway::{Link, Named},
    makers::{Birth, Makers},
    routes::Routes,
    series::{Series, SeriesKey},
    store::{Slot, Store},
    units::ChangeNumber,
};

/// The series of all gateways.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// By target and route: what is exposed.
    pub(crate) series: Store,
    /// By gateway and Service, across all else, if the configuration asks for it.
    pub(crate) services: Store,
    pub(crate) routes: Routes,
    pub(crate) makers: Makers,
}

/// Something to add.
#[derive(Clone, Copy)]
pub(crate) enum Increase<'a> {
    /// From a report of this layout.
    Reported(&'a Layout, &'a report::Series<'a>),
    /// Kept until its name came.
    Kept(&'a Counts),
}

/// Where and when it is added.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) config: &'a Config,
    pub(crate) change: ChangeNumber,
    pub(crate) now: UnixNanos,
}

/// Where the counts went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// To a series of their own, or to wait for their name.
    Own,
    /// A bound was reached: to the overflow series.
    Overflow,
    /// Its policy's bound was reached: to the overflow series.
    Refused,
}

impl Increase<'_> {
    pub(crate) fn add_to(self, counts: &mut Counts, change: ChangeNumber) {
        match self {
            Self::Reported(layout, series) => counts.add(layout, series, change),
            Self::Kept(kept) => counts.merge(kept, change),
        }
    }
}

impl Totals {
    /// Adds to the series of a target and route, or to the overflow series. `birth` is asked about a series that is not
    /// there and could be.
    pub(crate) fn add(
        &mut self,
        at: Moment<'_>,
        gateway: &GatewayName,
        named: &mut Named,
        route: &str,
        increase: Increase<'_>,
        birth: impl FnOnce(&Target, &mut Makers) -> Birth,
    ) -> Placed {
        if at.config.by_service && named.target.kind() == TargetKind::Kubernetes {
            self.add_to_service(at, gateway, named, increase);
        }
        match self.resolve(at, named, route, birth) {
            Ok(slot) => {
                add_at(&mut self.series, slot, at, increase);
                Placed::Own
            }
            Err(placed) => {
                self.add_overflow(at, increase);
                placed
            }
        }
    }

    /// Drops a series; false if there is none.
    pub(crate) fn drop_series(&mut self, text: &str) -> bool {
        let dropped = self.series.remove(text);
        if let Some(maker) = dropped.as_ref().and_then(|series| series.maker.as_ref()) {
            self.makers.remove(maker);
        }
        dropped.is_some()
    }

    /// Adds to the overflow series.
    pub(crate) fn add_overflow(&mut self, at: Moment<'_>, increase: Increase<'_>) -> Placed {
        if let Some(slot) = self.overflow(at) {
            add_at(&mut self.series, slot, at, increase);
        }
        Placed::Overflow
    }

    fn resolve(
        &mut self,
        at: Moment<'_>,
        named: &mut Named,
        route: &str,
        birth: impl FnOnce(&Target, &mut Makers) -> Birth,
    ) -> Result<Slot, Placed> {
        let linked = named.routes.iter().find(|link| link.key.route() == route);
        if let Some(link) = linked
            && self.series.holds(link.slot, &link.key)
        {
            return Ok(link.slot);
        }
        let route = self.routes.intern(route);
        let key = SeriesKey::new(Arc::clone(&named.target), route);
        let link = match find(&self.series, &key) {
            Some(link) => link,
            None => self.bear(at, key, birth)?,
        };
        let slot = link.slot;
        let series = &self.series;
        named
            .routes
            .retain(|old| old.slot != slot && series.holds(old.slot, &old.key));
        named.routes.reserve_exact(1);
        named.routes.push(link);
        Ok(slot)
    }

    /// Makes a series that is not there.
    fn bear(
        &mut self,
        at: Moment<'_>,
        key: SeriesKey,
        birth: impl FnOnce(&Target, &mut Makers) -> Birth,
    ) -> Result<Link, Placed> {
        if self.series.len() >= at.config.max_series {
            return Err(Placed::Overflow);
        }
        let Birth::Made(maker) = birth(key.target(), &mut self.makers) else {
            return Err(Placed::Refused);
        };
        let link = insert(&mut self.series, key, at, maker.clone()).ok_or(Placed::Overflow)?;
        if let Some(maker) = maker {
            self.makers.add(&maker);
        }
        Ok(link)
    }

    /// The overflow series stands beside the cap.
    fn overflow(&mut self, at: Moment<'_>) -> Option<Slot> {
        let target = Target::try_new(TargetKind::Overflow, Vec::new()).ok()?;
        let key = SeriesKey::new(Arc::new(target), self.routes.intern(""));
        find_or_insert(&mut self.series, key, at, usize::MAX).map(|link| link.slot)
    }

    fn add_to_service(
        &mut self,
        at: Moment<'_>,
        gateway: &GatewayName,
        named: &mut Named,
        increase: Increase<'_>,
    ) {
        let held = named
            .service
            .as_ref()
            .filter(|link| self.services.holds(link.slot, &link.key))
            .map(|link| link.slot);
        let slot = match held {
            Some(slot) => Some(slot),
            None => {
                named.service = service_of(gateway, &named.target).and_then(|target| {
                    let key = SeriesKey::new(Arc::new(target), self.routes.intern(""));
                    find_or_insert(&mut self.services, key, at, at.config.max_series)
                });
                named.service.as_ref().map(|link| link.slot)
            }
        };
        if let Some(slot) = slot {
            add_at(&mut self.services, slot, at, increase);
        }
    }
}

fn add_at(store: &mut Store, slot: Slot, at: Moment<'_>, increase: Increase<'_>) {
    if let Some(series) = store.get_mut(slot) {
        series.touch(at.change, at.now);
        increase.add_to(&mut series.counts, at.change);
    }
}

fn find(store: &Store, key: &SeriesKey) -> Option<Link> {
    let slot = store.slot(key.text())?;
    let key = Arc::clone(&store.get(slot)?.key);
    Some(Link { key, slot })
}

/// For series that no policy makes.
fn find_or_insert(store: &mut Store, key: SeriesKey, at: Moment<'_>, max: usize) -> Option<Link> {
    match find(store, &key) {
        Some(link) => Some(link),
        None if store.len() >= max => None,
        None => insert(store, key, at, None),
    }
}

fn insert(
    store: &mut Store,
    key: SeriesKey,
    at: Moment<'_>,
    maker: Option<Arc<str>>,
) -> Option<Link> {
    let key = Arc::new(key);
    let layout = at.config.layout.clone();
    let series = Series {
        maker,
        ..Series::new(Arc::clone(&key), layout, at.change, at.now)
    };
    let slot = store.insert(series)?;
    Some(Link { key, slot })
}

/// The target that stands for a gateway's share of a Service.
fn service_of(gateway: &GatewayName, target: &Target) -> Option<Target> {
    let label = |name: &'static str, value: &str| Label {
        name: name.into(),
        value: value.into(),
    };
    let labels = vec![
        label(names::GATEWAY, gateway.as_str()),
        label(names::NAMESPACE, target.label(names::NAMESPACE)?),
        label(names::SERVICE, target.label(names::SERVICE)?),
    ];
    Target::try_new(TargetKind::Kubernetes, labels).ok()
}
