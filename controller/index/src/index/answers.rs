//! What the index answers: whose a key is, who may report for a target, whether a target still exists.

mod hints;
mod target;

use std::sync::Arc;

use gaugeway_wire::{Fingerprint, GatewayName, Label, Target, TargetKind, limits, target::names};

use super::{Index, name_ref};
use crate::{
    backend::{Backend, BackendPort, Backends},
    changes::Subject,
    history::Memory,
    key::{Key, RuleKey, ServiceKey, SocketKey},
    moment::Moment,
    name::{NameRef, ObjectName},
    policy::{RecordingPolicy, Rule},
    routes::{PortSpec, Standing},
};

/// Whose a key is, for one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// In (namespace, name) order; empty when no Service that the gateway reaches owns the key.
    pub candidates: Vec<Candidate>,
    /// Since when, if that changed lately.
    pub since: Option<Moment>,
    /// The first candidate before that.
    pub previous: Option<Arc<EncodedTarget>>,
}

/// A target that a key may belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The target.
    pub target: Arc<EncodedTarget>,
    /// Names of clusters through which the gateway reaches it. Empty when it is the only candidate.
    pub hints: Vec<String>,
}

/// A target as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedTarget {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// Its canonical encoding.
    pub bytes: Box<[u8]>,
    /// It stands for Services that the gateway's policy does not select.
    pub is_unknown: bool,
}

/// A Service that a gateway reaches, and which of some rules select it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The Service's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Positions of the rules that select it; the first one is in force. Empty where none does.
    pub rules: Vec<usize>,
    /// Kong's operator scrapes it.
    pub is_scraped: bool,
}

/// How well a gateway reaches a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// No longer, but it may still have requests under way.
    Departed,
    /// The Service, by another port.
    Service,
    /// This very port.
    Port,
}

impl Index {
    /// Whose `key` is for `gateway`, and what that depends on.
    pub(crate) fn resolve(
        &self,
        gateway: &GatewayName,
        policy: &RecordingPolicy,
        key: &Key,
        now: Moment,
    ) -> (Resolution, Vec<Subject>) {
        let mut subjects = Vec::new();
        let mut resolution = Resolution::default();
        let named = match key {
            Key::Address(address) => {
                let (owners, former) = self.owners(address, now);
                self.subjects_of_address(gateway, address, &owners, &mut subjects);
                if let Some((since, former)) = former {
                    resolution.since = Some(since);
                    let first = self.reached(gateway, former).into_iter().next();
                    let before = first.and_then(|b| target::encode(gateway, policy, b));
                    resolution.previous = before.filter(|t| !t.is_unknown);
                }
                owners
            }
            Key::Service(key) => self.service(gateway, key, &mut subjects),
            Key::Rule(key) => self.rule(gateway, key, &mut subjects),
            Key::Services(keys) => self.any_of(gateway, keys, &mut subjects),
            Key::Opaque => Backends::new(),
        };
        let reached = self.reached(gateway, &named);
        resolution.candidates = self.candidates(gateway, policy, &reached);
        (resolution, subjects)
    }

    /// `Index::resolve` by a key's text, for tools and tests.
    #[must_use]
    pub fn resolve_text(
        &self,
        gateway: &GatewayName,
        policy: &RecordingPolicy,
        key: &str,
        now: Moment,
    ) -> Resolution {
        self.resolve(gateway, policy, &Key::parse(key), now).0
    }

    /// Whether `gateway` routes to the Service of `target`, or did within the last 24 h. Unknown and overflow targets are
    /// everybody's.
    #[must_use]
    pub fn may_report(&self, gateway: &GatewayName, target: &Target) -> bool {
        if target.kind() != TargetKind::Kubernetes {
            return true;
        }
        let own = target
            .label(names::GATEWAY)
            .is_none_or(|g| g == gateway.as_str());
        let reach = &self.routes.reach;
        own && service_of(target)
            .is_some_and(|s| reach.standing(gateway.as_str(), s) != Standing::Never)
    }

    /// Whether all that `target` names exists, and some gateway that routes to its Service makes such targets of it.
    /// Unknown and overflow targets always do.
    #[must_use]
    pub fn is_live(&self, target: &Target) -> bool {
        if target.kind() != TargetKind::Kubernetes {
            return true;
        }
        let Some(service) = service_of(target) else {
            return false;
        };
        self.is_made(service, target.labels()) && self.exists(service, target.labels())
    }

    /// The rule of the policy that decides for a target's Service at `gateway`: it makes the target's series.
    #[must_use]
    pub fn rule_of(&self, gateway: &GatewayName, target: &Target) -> Option<&Rule> {
        let service = service_of(target)?;
        let name = self.routes.reach.name(service)?;
        let labels = self.tables.services.get(name).map(|record| &record.labels);
        self.policies.of(gateway.as_str()).rule(name, labels)
    }

    fn is_made(&self, service: NameRef<'_>, labels: &[Label]) -> bool {
        let reach = &self.routes.reach;
        let Some(name) = reach.name(service) else {
            return false;
        };
        let record = self.tables.services.get(name);
        let of_service = record.map(|r| &r.labels);
        reach
            .gateways_of(service)
            .any(|gateway| self.policies.of(gateway).makes(name, of_service, labels))
    }

    /// The Services that a gateway reaches now, in the order of their names, with the rules that select each.
    #[must_use]
    pub fn selections(&self, gateway: &GatewayName, rules: &[Rule]) -> Vec<Selection> {
        let mut reached: Vec<_> = self.routes.reach.services_of(gateway.as_str()).collect();
        reached.sort_unstable();
        let selection = |service: &ObjectName| {
            let record = self.tables.services.get(service);
            let labels = record.map(|r| &r.labels);
            let numbered = rules.iter().enumerate();
            let selecting = numbered.filter(|(_, r)| r.services.selects(service, labels));
            Selection {
                namespace: service.namespace.to_string(),
                name: service.name.to_string(),
                rules: selecting.map(|(at, _)| at).collect(),
                is_scraped: record.is_some_and(|r| r.is_scraped),
            }
        };
        reached.into_iter().map(selection).collect()
    }

    fn exists(&self, service: NameRef<'_>, labels: &[Label]) -> bool {
        let fits = |backend: &Backend| labels.iter().all(|label| backend.fits(label));
        if let Some((name, record)) = self.tables.services.find(service) {
            let of = |port| Backend::of_service(name.clone(), port, Some(record.labels.clone()));
            let portless = std::iter::once(of(Default::default()));
            if portless.chain(record.ports().map(of)).any(|b| fits(&b)) {
                return true;
            }
        }
        let pod = labels.iter().find(|l| l.name == names::POD);
        let pod = pod.map(|l| l.value.as_str());
        let mut endpoints = self.tables.slices.of_service(service);
        // The Pod's name first: it decides for almost all, and costs nothing.
        endpoints.any(|(slice, endpoint)| {
            pod.is_none_or(|pod| endpoint.pod.as_deref() == Some(pod))
                && fits(&self.tables.endpoint(slice, endpoint))
        })
    }

    /// Who owns an address now, and who did before the last change.
    pub(super) fn owners(
        &self,
        key: &SocketKey,
        now: Moment,
    ) -> (Backends, Option<(Moment, &[Backend])>) {
        let owners = self.tables.backends(key);
        match self.history.memory(key, now) {
            Memory::Before(since, former) => (owners, Some((since, former))),
            Memory::Lingers(former) if owners.is_empty() => (former.into(), None),
            _ => (owners, None),
        }
    }

    fn subjects_of_address(
        &self,
        gateway: &GatewayName,
        key: &SocketKey,
        owners: &[Backend],
        out: &mut Vec<Subject>,
    ) {
        out.push(self.subjects.address(key));
        for owner in owners {
            let service = &owner.service;
            self.subjects_of_service(gateway, &service.namespace, &service.name, out);
            if let Some(pod) = &owner.pod {
                out.push(self.subjects.pod(&service.namespace, pod));
                let set = self.tables.pods.replica_set_of(&service.sibling(pod));
                out.extend(set.map(|s| self.subjects.replica_set(&service.namespace, s)));
            }
        }
    }

    fn subjects_of_service(
        &self,
        gateway: &GatewayName,
        namespace: &str,
        name: &str,
        out: &mut Vec<Subject>,
    ) {
        out.push(self.subjects.service_by_name(namespace, name));
        out.push(self.subjects.reach(gateway.as_str(), namespace, name));
    }

    fn service(&self, gateway: &GatewayName, key: &ServiceKey, out: &mut Vec<Subject>) -> Backends {
        self.subjects_of_service(gateway, &key.namespace, &key.name, out);
        let name = name_ref(&key.namespace, &key.name);
        let backend = self.tables.services.backend(name, key.port.as_ref());
        backend.into_iter().collect()
    }

    fn rule(&self, gateway: &GatewayName, key: &RuleKey, out: &mut Vec<Subject>) -> Backends {
        out.push(self.subjects.route(key.kind, &key.namespace, &key.route));
        let named = self.routes.backends(key, gateway.as_str());
        let keys: Vec<_> = named.map(ServiceKey::from).collect();
        self.any_of(gateway, &keys, out)
    }

    fn any_of(
        &self,
        gateway: &GatewayName,
        keys: &[ServiceKey],
        out: &mut Vec<Subject>,
    ) -> Backends {
        let mut backends = Backends::new();
        for key in keys {
            backends.extend(self.service(gateway, key, out));
        }
        backends.sort_by(|a, b| a.order().cmp(&b.order()));
        backends.dedup_by(|a, b| a.same_owner(b));
        backends
    }

    /// The backends that the gateway reaches best.
    fn reached<'a>(&self, gateway: &GatewayName, backends: &'a [Backend]) -> Vec<&'a Backend> {
        let ranked = backends
            .iter()
            .filter_map(|b| Some((self.rank(gateway, b)?, b)));
        let ranked: Vec<_> = ranked.collect();
        let best = ranked.iter().map(|(rank, _)| *rank).max();
        let of_best = ranked.into_iter().filter(|(rank, _)| Some(*rank) == best);
        of_best.map(|(_, b)| b).take(limits::CANDIDATES).collect()
    }

    fn rank(&self, gateway: &GatewayName, backend: &Backend) -> Option<Rank> {
        match self.standing(gateway, backend) {
            Standing::Never => None,
            Standing::Departed => Some(Rank::Departed),
            Standing::Reached(uses)
                if uses
                    .iter()
                    .any(|u| leads_to(u.port.as_ref(), &backend.port)) =>
            {
                Some(Rank::Port)
            }
            Standing::Reached(_) => Some(Rank::Service),
        }
    }

    fn standing(&self, gateway: &GatewayName, backend: &Backend) -> Standing<'_> {
        let service = name_ref(&backend.service.namespace, &backend.service.name);
        self.routes.reach.standing(gateway.as_str(), service)
    }

    fn candidates(
        &self,
        gateway: &GatewayName,
        policy: &RecordingPolicy,
        backends: &[&Backend],
    ) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for backend in backends {
            let Some(target) = target::encode(gateway, policy, backend) else {
                continue;
            };
            let hints = if backends.len() > 1 {
                let standing = self.standing(gateway, backend);
                hints::of(backend, standing, &self.routes, &self.domain.0)
            } else {
                Vec::new()
            };
            let same = |c: &&mut Candidate| c.target.fingerprint == target.fingerprint;
            match candidates.iter_mut().find(same) {
                Some(candidate) => hints::add(&mut candidate.hints, hints),
                None => candidates.push(Candidate { target, hints }),
            }
        }
        // An unselected Service matters only where it must be told apart from a selected one.
        if candidates.iter().all(|c| c.target.is_unknown) {
            candidates.clear();
        }
        if let [only] = candidates.as_mut_slice() {
            only.hints = Vec::new();
        }
        candidates
    }
}

/// Whether a route's backend is this port of the Service; without a port it is every one.
pub(super) fn leads_to(named: Option<&PortSpec>, port: &BackendPort) -> bool {
    match named {
        None => true,
        Some(PortSpec::Number(number)) => port.number == Some(*number),
        Some(PortSpec::Name(name)) => port.name.as_ref() == Some(name),
    }
}

fn service_of(target: &Target) -> Option<NameRef<'_>> {
    let namespace = target.label(names::NAMESPACE)?;
    let name = target.label(names::SERVICE)?;
    Some(name_ref(namespace, name))
}
