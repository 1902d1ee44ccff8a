//! Routes: which gateway reaches which Service, and through which rules.
//!
//! A gateway reaches the Services that its routes name as backends. A backend in another namespace counts only with a
//! ReferenceGrant there: else a route could lend its gateway the right to report for a stranger's Service.
//! The other direction needs no check: a route that names a gateway only ever adds Services of its own namespace, or
//! granted ones.

mod reach;
mod record;

use hashbrown::{HashMap, HashSet};

use crate::{
    changes::{Changes, Subjects},
    key::{RouteKind, RuleKey},
    moment::Moment,
    name::{NameRef, ObjectName},
};

pub(crate) use reach::{Reach, Standing, Use};
pub(crate) use record::{BackendRecord, GrantRecord, PortSpec, RouteRecord, Rule};

/// Kind and name of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouteName {
    pub(crate) kind: RouteKind,
    pub(crate) name: ObjectName,
}

impl std::fmt::Display for RouteName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// All routes and grants, and the reach that follows from them.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    records: HashMap<RouteName, RouteRecord>,
    grants: HashMap<ObjectName, GrantRecord>,
    pub(crate) reach: Reach,
}

impl Routes {
    pub(crate) fn names(&self, kind: RouteKind) -> impl Iterator<Item = &ObjectName> {
        let of_kind = self.records.keys().filter(move |r| r.kind == kind);
        of_kind.map(|r| &r.name)
    }

    pub(crate) fn grant_names(&self) -> impl Iterator<Item = &ObjectName> {
        self.grants.keys()
    }

    /// Replaces a route.
    pub(crate) fn put(
        &mut self,
        name: &RouteName,
        record: Option<RouteRecord>,
        now: Moment,
        tell: (&Subjects, &mut Changes),
    ) {
        if self.records.get(name) == record.as_ref() {
            return;
        }
        let (subjects, changes) = tell;
        let route = subjects.route(name.kind, &name.name.namespace, &name.name.name);
        changes.touch(route);
        let mut tell = (subjects, changes);
        let old = match record {
            Some(new) => self.records.insert(name.clone(), new),
            None => self.records.remove(name),
        };
        if let Some(old) = old {
            self.unlink(name, &old, now, &mut tell);
        }
        self.link(name, &mut tell);
    }

    /// Replaces a grant.
    pub(crate) fn put_grant(
        &mut self,
        name: &ObjectName,
        record: Option<GrantRecord>,
        now: Moment,
        tell: (&Subjects, &mut Changes),
    ) {
        if self.grants.get(name) == record.as_ref() {
            return;
        }
        let namespace = &name.namespace;
        let crosses = |r: &RouteRecord| r.crosses_into(namespace);
        let affected: Vec<_> = self
            .records
            .iter()
            .filter(|(_, record)| crosses(record))
            .map(|(route, record)| (route.clone(), record.clone()))
            .collect();
        match record {
            Some(new) => self.grants.insert(name.clone(), new),
            None => self.grants.remove(name),
        };
        let mut tell = tell;
        for (route, record) in affected {
            let subject = tell
                .0
                .route(route.kind, &route.name.namespace, &route.name.name);
            tell.1.touch(subject);
            self.unlink(&route, &record, now, &mut tell);
            self.link(&route, &mut tell);
        }
    }

    /// The Services (with the port, where the route gives one) that a cluster named after a rule stands for.
    pub(crate) fn backends<'a>(
        &'a self,
        key: &'a RuleKey,
        gateway: &str,
    ) -> impl Iterator<Item = &'a BackendRecord> + use<'a> {
        let found = self.record(key);
        let attached = found.filter(|(_, r)| r.parents().any(|p| **p == *gateway));
        let rules = attached.and_then(|(name, r)| Some((name, r.rules().get(key.rule)?)));
        let backends = rules.into_iter().flat_map(move |(name, rule)| {
            let numbered = rule.backends.iter().enumerate();
            let chosen = numbered.filter(|(n, _)| key.backend.is_none_or(|b| b == *n));
            chosen.filter_map(move |(_, b)| b.as_ref().map(|b| (name, b)))
        });
        backends
            .filter(|(name, backend)| self.granted(name, backend))
            .map(|(_, backend)| backend)
    }

    /// The route and the rule behind a use.
    pub(crate) fn rule_of(&self, used: &Use) -> Option<(&RouteRecord, &Rule)> {
        let route = self.records.get(&used.route)?;
        Some((route, route.rules().get(usize::from(used.rule))?))
    }

    /// Every route, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&RouteName, &RouteRecord)> {
        self.records.iter()
    }

    fn record(&self, key: &RuleKey) -> Option<(&RouteName, &RouteRecord)> {
        let look = RouteRef {
            kind: key.kind,
            name: NameRef {
                namespace: &key.namespace,
                name: &key.route,
            },
        };
        self.records.get_key_value(&look)
    }

    /// Whether the route may send to that Service: it is in its own namespace, or a ReferenceGrant there says so.
    pub(crate) fn granted(&self, route: &RouteName, backend: &BackendRecord) -> bool {
        let to = &backend.service;
        to.namespace == route.name.namespace
            || self
                .grants
                .iter()
                .filter(|(grant, _)| grant.namespace == to.namespace)
                .any(|(_, grant)| grant.allows(route, to))
    }

    fn unlink(
        &mut self,
        name: &RouteName,
        record: &RouteRecord,
        now: Moment,
        tell: &mut (&Subjects, &mut Changes),
    ) {
        for gateway in record.parents() {
            let services: HashSet<_> = record.backends().map(|(.., b)| &b.service).collect();
            for service in services {
                if self.reach.remove(gateway, service, name, now) {
                    let subject = tell.0.reach(gateway, &service.namespace, &service.name);
                    tell.1.touch(subject);
                }
            }
        }
    }

    fn link(&mut self, name: &RouteName, tell: &mut (&Subjects, &mut Changes)) {
        let Some(record) = self.records.get(name).cloned() else {
            return;
        };
        for (rule, backend, to) in record.backends() {
            if !self.granted(name, to) {
                continue;
            }
            for gateway in record.parents() {
                let used = Use {
                    route: name.clone(),
                    rule,
                    backend,
                    port: to.port.clone(),
                };
                self.reach.add(gateway, &to.service, used);
                let subject = tell
                    .0
                    .reach(gateway, &to.service.namespace, &to.service.name);
                tell.1.touch(subject);
            }
        }
    }
}

#[derive(Hash)]
struct RouteRef<'a> {
    kind: RouteKind,
    name: NameRef<'a>,
}

impl hashbrown::Equivalent<RouteName> for RouteRef<'_> {
    fn equivalent(&self, other: &RouteName) -> bool {
        self.kind == other.kind && self.name.equivalent(&other.name)
    }
}
