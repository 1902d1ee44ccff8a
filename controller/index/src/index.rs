//! The index: what matters of all objects, and what an upstream key belongs to.
//!
//! Invariants:
//! - Any order of [`Index::apply`], [`Index::delete`] and resets that ends with the same objects ends with the same
//!   resolutions (once what lingers is over); duplicates change nothing.
//! - A call costs what the object and its former state have, never what the cluster has.
//! - [`Changes`] names every resolution that may have changed.

mod answers;
pub mod explain;
mod observed;
mod tables;

use gaugeway_wire::{GatewayName, Generation};
use hashbrown::{HashMap, HashSet};

use crate::{
    backend::same_owners,
    changes::{Changes, Issue, Problem, Subjects},
    history::History,
    key::{RouteKind, SocketKey},
    moment::Moment,
    name::{NameRef, ObjectName},
    object::{Kind, Object, ObjectId, Scope},
    pods::{PodRecord, owner},
    policy::{Policies, RecordingPolicy},
    routes::{GrantRecord, RouteName, RouteRecord, Routes},
    services::ServiceRecord,
    slices::{RecordProblem, SliceRecord},
    text::Interner,
};

pub use answers::{Candidate, EncodedTarget, Resolution, Selection};
pub use observed::{Labels, Matches, Observed, ObservedPod, ObservedWorkload, Seen};
use tables::Tables;

/// The label that says to which Service an EndpointSlice belongs.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Index {
    texts: Interner,
    tables: Tables,
    routes: Routes,
    policies: Policies,
    history: History,
    pub(crate) subjects: Subjects,
    /// What was seen since [`Index::begin_reset`].
    resets: HashMap<Scope, HashSet<ObjectName>>,
    /// Addresses that belong to several Services.
    shared: usize,
    domain: Domain,
}

/// Domain of the cluster's names.
#[derive(Debug)]
struct Domain(Box<str>);

impl Default for Domain {
    fn default() -> Self {
        Self("cluster.local".into())
    }
}

/// How much the index holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Services.
    pub services: usize,
    /// EndpointSlices.
    pub slices: usize,
    /// Endpoints times their ports.
    pub endpoints: usize,
    /// Pods.
    pub pods: usize,
    /// ReplicaSets.
    pub replica_sets: usize,
    /// HTTPRoutes.
    pub http_routes: usize,
    /// GRPCRoutes.
    pub grpc_routes: usize,
    /// Ingresses.
    pub ingresses: usize,
    /// ReferenceGrants.
    pub grants: usize,
    /// Gateways that routes name.
    pub gateways: usize,
    /// Addresses that belong to several owners.
    pub shared: usize,
    /// Addresses whose change of owner is remembered.
    pub pasts: usize,
    /// Changes of owner forgotten early because the bound was reached.
    pub forgotten: u64,
}

impl Index {
    /// Empty; what is recorded for gateways without a policy of their own.
    #[must_use]
    pub fn new(policy: RecordingPolicy) -> Self {
        Self {
            policies: Policies::new(policy),
            ..Self::default()
        }
    }

    /// In a cluster whose names end in this, such as `cluster.local`, the default.
    #[must_use]
    pub fn in_domain(self, domain: &str) -> Self {
        let domain = Domain(domain.into());
        Self { domain, ..self }
    }

    /// What is recorded for a gateway from now on; `None` is what is for all without one. True if that changes anything:
    /// then [`crate::Hub::on_policy`] is to be told.
    pub fn set_policy(&mut self, gateway: &GatewayName, policy: Option<RecordingPolicy>) -> bool {
        self.policies.set(gateway.as_str(), policy)
    }

    /// Sets what is recorded for gateways without a policy of their own. True if that changes anything.
    pub fn set_default_policy(&mut self, policy: RecordingPolicy) -> bool {
        self.policies.set_default(policy)
    }

    /// What is recorded for a gateway.
    #[must_use]
    pub fn policy(&self, gateway: &GatewayName) -> &RecordingPolicy {
        self.policies.of(gateway.as_str())
    }

    /// Gateways with a policy of their own.
    pub fn gateways_with_policies(&self) -> impl Iterator<Item = &str> {
        self.policies.gateways()
    }

    /// Takes an object as it is now.
    pub fn apply(&mut self, object: &Object, now: Moment) -> Changes {
        let mut changes = Changes::default();
        let id = object.id();
        match ObjectName::try_new(&mut self.texts, &id.namespace, &id.name) {
            Some(name) => self.apply_named(object, &id, &name, now, &mut changes),
            None => changes.issue(Issue {
                object: id,
                problem: Problem::Name,
            }),
        }
        changes
    }

    /// An object is gone.
    pub fn delete(&mut self, id: &ObjectId, now: Moment) -> Changes {
        let mut changes = Changes::default();
        if let Some(name) = ObjectName::try_new(&mut self.texts, &id.namespace, &id.name) {
            self.delete_named(id.kind, &name, now, &mut changes);
        }
        changes
    }

    /// All objects of a scope will be applied anew; those that are not are gone at [`Index::end_reset`].
    pub fn begin_reset(&mut self, scope: impl Into<Scope>) {
        self.resets.insert(scope.into(), HashSet::new());
    }

    /// See [`Index::begin_reset`]. Without a beginning this does nothing.
    pub fn end_reset(&mut self, scope: impl Into<Scope>, now: Moment) -> Changes {
        let mut changes = Changes::default();
        let scope = scope.into();
        let Some(seen) = self.resets.remove(&scope) else {
            return changes;
        };
        let mut gone = self.names(scope.kind);
        gone.retain(|name| scope.has(scope.kind, &name.namespace) && !seen.contains(name));
        for name in gone {
            self.delete_named(scope.kind, &name, now, &mut changes);
        }
        changes
    }

    /// All objects of a kind at once.
    pub fn reset<'a>(
        &mut self,
        kind: Kind,
        objects: impl IntoIterator<Item = &'a Object>,
        now: Moment,
    ) -> Changes {
        self.begin_reset(kind);
        let mut changes = Changes::default();
        for object in objects {
            if object.kind() == kind {
                changes.merge(self.apply(object, now));
            }
        }
        changes.merge(self.end_reset(kind, now));
        changes
    }

    /// Lets time pass: what lingered goes. To be called about once a second.
    pub fn advance(&mut self, now: Moment) -> Changes {
        let mut changes = Changes::default();
        for pod in self.tables.pods.advance(now) {
            changes.touch(self.subjects.pod(&pod.namespace, &pod.name));
        }
        for key in self.history.advance(now) {
            changes.touch(self.subjects.address(&key));
        }
        self.routes.reach.advance(now);
        changes
    }

    /// Forgets who owned what before. To be called when a source has first listed everything: the order in which it lists
    /// is no history. What lingers goes at once, without being named as changed.
    pub fn forget_changes(&mut self) {
        self.history = History::default();
    }

    /// State of what [`Index::may_report`] answers from.
    #[must_use]
    pub fn reach_generation(&self) -> Generation {
        Generation(self.routes.reach.version())
    }

    /// How much it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            services: self.tables.services.len(),
            slices: self.tables.slices.len(),
            endpoints: self.tables.slices.endpoints(),
            pods: self.tables.pods.len(),
            replica_sets: self.tables.pods.replica_sets(),
            http_routes: self.routes.names(RouteKind::Http).count(),
            grpc_routes: self.routes.names(RouteKind::Grpc).count(),
            ingresses: self.routes.names(RouteKind::Ingress).count(),
            grants: self.routes.grant_names().count(),
            gateways: self.routes.reach.gateways(),
            shared: self.shared,
            pasts: self.history.len(),
            forgotten: self.history.evicted(),
        }
    }

    fn apply_named(
        &mut self,
        object: &Object,
        id: &ObjectId,
        name: &ObjectName,
        now: Moment,
        changes: &mut Changes,
    ) {
        for (scope, seen) in &mut self.resets {
            if scope.has(id.kind, &name.namespace) {
                seen.insert(name.clone());
            }
        }
        let texts = &mut self.texts;
        match object {
            Object::Service(o) => {
                let record = ServiceRecord::new(o, texts);
                self.put_service(name, Some(record), now, changes);
            }
            Object::EndpointSlice(o) => {
                let labels = o.metadata.labels.as_ref();
                let service = labels.and_then(|l| l.get(SERVICE_NAME));
                let service = service.and_then(|s| ObjectName::try_new(texts, &name.namespace, s));
                let record = service.map(|s| SliceRecord::new(o, s, texts));
                let (record, problems) = record.unzip();
                if record.is_none() {
                    note(id, [Problem::NoService], changes);
                }
                let problems = problems.into_iter().flatten().map(Problem::from);
                note(id, problems, changes);
                self.put_slice(name, record, now, changes);
            }
            Object::Pod(meta) => {
                let record = PodRecord::new(meta, texts);
                if self.tables.pods.put(name, record) {
                    changes.touch(self.subjects.pod(&name.namespace, &name.name));
                }
            }
            Object::ReplicaSet(meta) => {
                let owner = owner(meta, texts);
                if self.tables.pods.put_replica_set(name, owner) {
                    changes.touch(self.subjects.replica_set(&name.namespace, &name.name));
                }
            }
            Object::HttpRoute(o) => {
                let record = RouteRecord::new(o, name, texts);
                self.put_route(RouteKind::Http, name, Some(record), now, changes);
            }
            Object::GrpcRoute(o) => {
                let record = RouteRecord::new(o, name, texts);
                self.put_route(RouteKind::Grpc, name, Some(record), now, changes);
            }
            Object::Ingress(o) => {
                let record = RouteRecord::of_ingress(o, name, texts);
                self.put_route(RouteKind::Ingress, name, Some(record), now, changes);
            }
            Object::ReferenceGrant(o) => {
                let record = Some(GrantRecord::new(o, texts));
                let tell = (&self.subjects, changes);
                self.routes.put_grant(name, record, now, tell);
            }
        }
    }

    fn delete_named(&mut self, kind: Kind, name: &ObjectName, now: Moment, changes: &mut Changes) {
        match kind {
            Kind::Service => self.put_service(name, None, now, changes),
            Kind::EndpointSlice => self.put_slice(name, None, now, changes),
            Kind::Pod => {
                if self.tables.pods.delete(name, now) {
                    changes.touch(self.subjects.pod(&name.namespace, &name.name));
                }
            }
            Kind::ReplicaSet => {
                if self.tables.pods.delete_replica_set(name) {
                    changes.touch(self.subjects.replica_set(&name.namespace, &name.name));
                }
            }
            Kind::HttpRoute => self.put_route(RouteKind::Http, name, None, now, changes),
            Kind::GrpcRoute => self.put_route(RouteKind::Grpc, name, None, now, changes),
            Kind::Ingress => self.put_route(RouteKind::Ingress, name, None, now, changes),
            Kind::ReferenceGrant => {
                let tell = (&self.subjects, changes);
                self.routes.put_grant(name, None, now, tell);
            }
        }
    }

    fn names(&self, kind: Kind) -> Vec<ObjectName> {
        match kind {
            Kind::Service => self.tables.services.names().cloned().collect(),
            Kind::EndpointSlice => self.tables.slices.names().cloned().collect(),
            Kind::Pod => self.tables.pods.names().cloned().collect(),
            Kind::ReplicaSet => self.tables.pods.replica_set_names().cloned().collect(),
            Kind::HttpRoute => self.routes.names(RouteKind::Http).cloned().collect(),
            Kind::GrpcRoute => self.routes.names(RouteKind::Grpc).cloned().collect(),
            Kind::Ingress => self.routes.names(RouteKind::Ingress).cloned().collect(),
            Kind::ReferenceGrant => self.routes.grant_names().cloned().collect(),
        }
    }

    fn put_service(
        &mut self,
        name: &ObjectName,
        record: Option<ServiceRecord>,
        now: Moment,
        changes: &mut Changes,
    ) {
        let old = self.tables.services.get(name);
        if old == record.as_ref() {
            return;
        }
        let both = old.into_iter().chain(record.as_ref());
        let keys: HashSet<SocketKey> = both.flat_map(ServiceRecord::keys).collect();
        changes.touch(self.subjects.service(name));
        let change = |tables: &mut Tables| tables.services.put(name, record);
        self.change_owners(keys, now, changes, change);
    }

    fn put_slice(
        &mut self,
        name: &ObjectName,
        record: Option<SliceRecord>,
        now: Moment,
        changes: &mut Changes,
    ) {
        let old = self.tables.slices.get(name);
        let keys = SliceRecord::difference(old, record.as_ref());
        if keys.is_empty() && old == record.as_ref() {
            return;
        }
        let change = |tables: &mut Tables| tables.put_slice(name, record);
        self.change_owners(keys, now, changes, change);
    }

    /// Makes a change that may give these addresses other owners, and remembers the former ones.
    fn change_owners(
        &mut self,
        keys: impl IntoIterator<Item = SocketKey>,
        now: Moment,
        changes: &mut Changes,
        change: impl FnOnce(&mut Tables),
    ) {
        let keys = keys.into_iter();
        let before: Vec<_> = keys.map(|k| (k, self.tables.backends(&k))).collect();
        change(&mut self.tables);
        for (key, before) in before {
            changes.touch(self.subjects.address(&key));
            let after = self.tables.backends(&key);
            self.shared += usize::from(after.len() > 1);
            self.shared = self.shared.saturating_sub(usize::from(before.len() > 1));
            if !same_owners(&before, &after) {
                let forgotten = self.history.changed(key, before, &after, now);
                if let Some(key) = forgotten {
                    changes.touch(self.subjects.address(&key));
                }
            }
        }
    }

    fn put_route(
        &mut self,
        kind: RouteKind,
        name: &ObjectName,
        record: Option<RouteRecord>,
        now: Moment,
        changes: &mut Changes,
    ) {
        let route = RouteName {
            kind,
            name: name.clone(),
        };
        let tell = (&self.subjects, changes);
        self.routes.put(&route, record, now, tell);
    }
}

fn note(id: &ObjectId, problems: impl IntoIterator<Item = Problem>, changes: &mut Changes) {
    for problem in problems {
        changes.issue(Issue {
            object: id.clone(),
            problem,
        });
    }
}

impl From<RecordProblem> for Problem {
    fn from(problem: RecordProblem) -> Self {
        match problem {
            RecordProblem::Addresses { count, first } => Self::Addresses { count, first },
            RecordProblem::TooMany => Self::Bound {
                what: "endpoints",
                bound: RecordProblem::BOUND,
            },
        }
    }
}

/// A Service's name out of a target's labels.
pub(crate) const fn name_ref<'a>(namespace: &'a str, name: &'a str) -> NameRef<'a> {
    NameRef { namespace, name }
}
