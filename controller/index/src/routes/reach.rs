//! Which gateway reaches which Service: maintained use by use, so that a route's change costs what the route has.

use std::collections::VecDeque;

use gaugeway_wire::Nanos;
use hashbrown::HashMap;

use crate::{
    moment::{Moment, seconds},
    name::{NameRef, ObjectName},
    routes::{PortSpec, RouteName},
    text::Text,
};

/// How long a gateway may report for a Service that it no longer routes to: backlogs, requests under way.
const GRACE: Nanos = seconds(24 * 3600);
/// Departed Services remembered, at most, over all gateways.
const MAX_DEPARTED: usize = 65_536;

/// Place of one backend in one route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) route: RouteName,
    pub(crate) rule: u16,
    pub(crate) backend: u16,
    pub(crate) port: Option<PortSpec>,
}

/// How a gateway stands to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    /// It never reached it, or long ago.
    Never,
    /// It did within the last 24 h.
    Departed,
    /// It does, through these.
    Reached(&'a [Use]),
}

#[derive(Debug, Default)]
struct Entry {
    /// Sorted.
    uses: Vec<Use>,
    departed: Option<Moment>,
}

/// Which gateway reaches which Service.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    gateways: HashMap<Text, HashMap<ObjectName, Entry>>,
    /// How many gateways reach a Service.
    reached: HashMap<ObjectName, u32>,
    departed: VecDeque<(Moment, Text, ObjectName)>,
    /// Grows whenever a verdict may have changed.
    version: u64,
}

impl Reach {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// The Service's name as it is held, if any gateway reaches it now.
    pub(crate) fn name(&self, service: NameRef<'_>) -> Option<&ObjectName> {
        self.reached.get_key_value(&service).map(|(name, _)| name)
    }

    /// Services that any gateway reaches now.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ObjectName> {
        self.reached.keys()
    }

    /// Gateways that reach the Service now.
    pub(crate) fn gateways_of(&self, service: NameRef<'_>) -> impl Iterator<Item = &Text> {
        let reaches = move |services: &HashMap<ObjectName, Entry>| {
            let entry = services.get(&service);
            entry.is_some_and(|e| !e.uses.is_empty())
        };
        let all = self.gateways.iter();
        all.filter(move |(_, services)| reaches(services))
            .map(|(gateway, _)| gateway)
    }

    /// Services that the gateway reaches now.
    pub(crate) fn services_of(&self, gateway: &str) -> impl Iterator<Item = &ObjectName> {
        let services = self.gateways.get(gateway).into_iter().flatten();
        services
            .filter(|(_, entry)| !entry.uses.is_empty())
            .map(|(service, _)| service)
    }

    pub(crate) fn standing(&self, gateway: &str, service: NameRef<'_>) -> Standing<'_> {
        let services = self.gateways.get(gateway);
        match services.and_then(|s| s.get(&service)) {
            None => Standing::Never,
            Some(entry) if entry.uses.is_empty() => Standing::Departed,
            Some(entry) => Standing::Reached(&entry.uses),
        }
    }

    pub(super) fn add(&mut self, gateway: &Text, service: &ObjectName, used: Use) {
        let services = self.gateways.entry(gateway.clone()).or_default();
        let entry = services.entry(service.clone()).or_default();
        if entry.uses.is_empty() {
            *self.reached.entry(service.clone()).or_default() += 1;
            self.version += 1;
        }
        entry.departed = None;
        if let Err(at) = entry.uses.binary_search(&used) {
            entry.uses.insert(at, used);
        }
    }

    /// Removes all uses by a route; true if there were any.
    pub(super) fn remove(
        &mut self,
        gateway: &Text,
        service: &ObjectName,
        route: &RouteName,
        now: Moment,
    ) -> bool {
        let services = self.gateways.get_mut(gateway);
        let Some(entry) = services.and_then(|s| s.get_mut(service)) else {
            return false;
        };
        let before = entry.uses.len();
        entry.uses.retain(|u| u.route != *route);
        let removed = entry.uses.len() < before;
        if removed && entry.uses.is_empty() {
            entry.departed = Some(now);
            self.version += 1;
            self.departed
                .push_back((now, gateway.clone(), service.clone()));
            self.unreached(service);
            self.bound();
        }
        removed
    }

    /// Forgets Services whose grace is over.
    pub(crate) fn advance(&mut self, now: Moment) {
        while let Some(entry) = self
            .departed
            .pop_front_if(|(since, ..)| since.plus(GRACE) <= now)
        {
            self.forget(&entry);
        }
    }

    fn unreached(&mut self, service: &ObjectName) {
        if let Some(count) = self.reached.get_mut(service) {
            *count -= 1;
            if *count == 0 {
                self.reached.remove(service);
            }
        }
    }

    fn bound(&mut self) {
        while self.departed.len() > MAX_DEPARTED {
            if let Some(entry) = self.departed.pop_front() {
                self.forget(&entry);
            }
        }
    }

    /// Unless it was reached again meanwhile.
    fn forget(&mut self, (since, gateway, service): &(Moment, Text, ObjectName)) {
        let Some(services) = self.gateways.get_mut(gateway) else {
            return;
        };
        if services.get(service).and_then(|e| e.departed) == Some(*since) {
            services.remove(service);
            self.version += 1;
        }
        if services.is_empty() {
            self.gateways.remove(gateway);
        }
    }
}
