//! Pods and ReplicaSets: what made a Pod, its labels, and the Services that list it.
//!
//! Invariants:
//! - The metadata of a deleted Pod is kept while an EndpointSlice still lists it, for [`LINGER`] at most: the two are
//!   watched apart, and a target must not lose half of its labels because one event came first.
//! - What made a deleted Pod is remembered for [`REMEMBERED`], longer than any window: what the Pod did counts for its
//!   workload until then.

use std::collections::{BTreeSet, VecDeque};

use gaugeway_wire::Nanos;
use hashbrown::HashMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use smallvec::SmallVec;

use crate::{
    backend::Workload,
    history::LINGER,
    moment::{Moment, seconds},
    name::{NameRef, ObjectName},
    text::{Interner, LabelSet, Text},
};

/// The label that carries the hash at the end of a Deployment's ReplicaSets' names.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// How long the workload of a deleted Pod is remembered.
const REMEMBERED: Nanos = seconds(360);
/// Deleted Pods whose workload is remembered, at most; see [`Pods::remembers_all`].
const MAX_REMEMBERED: usize = 65_536;

/// What matters of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodRecord {
    pub(crate) owner: Option<Workload>,
    pub(crate) labels: LabelSet,
}

#[derive(Debug, Default)]
struct PodEntry {
    record: Option<PodRecord>,
    /// Deleted, the record lingers.
    deleted: Option<Moment>,
    /// Services whose EndpointSlices name it (of its namespace), and how many addresses each.
    services: SmallVec<[(Text, u32); 1]>,
}

/// A Pod that was deleted lately.
#[derive(Debug)]
struct Gone {
    at: Moment,
    pod: ObjectName,
    workload: Workload,
}

/// All Pods and ReplicaSets.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    pods: HashMap<ObjectName, PodEntry>,
    /// Those that exist.
    by_namespace: HashMap<Text, BTreeSet<Text>>,
    replica_sets: HashMap<ObjectName, Option<Workload>>,
    lingering: VecDeque<(Moment, ObjectName)>,
    gone: VecDeque<Gone>,
    /// When one was forgotten early because the bound was reached.
    forgotten: Option<Moment>,
    known: usize,
    kinds: KnownKinds,
}

impl PodRecord {
    pub(crate) fn new(meta: &ObjectMeta, texts: &mut Interner) -> Self {
        let labels = meta.labels.iter().flatten();
        Self {
            owner: owner(meta, texts),
            labels: texts.labels(labels.map(|(k, v)| (k.as_str(), v.as_str()))),
        }
    }
}

/// The controlling owner.
pub(crate) fn owner(meta: &ObjectMeta, texts: &mut Interner) -> Option<Workload> {
    let owners = meta.owner_references.iter().flatten();
    let mut controlling = owners.filter(|o| o.controller == Some(true));
    controlling.next().map(|o| Workload {
        kind: texts.text(&o.kind),
        name: texts.text(&o.name),
    })
}

impl Pods {
    /// Pods that exist.
    pub(crate) fn len(&self) -> usize {
        self.known
    }

    pub(crate) fn replica_sets(&self) -> usize {
        self.replica_sets.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        let existing = |e: &PodEntry| e.record.is_some() && e.deleted.is_none();
        self.pods
            .iter()
            .filter(move |(_, e)| existing(e))
            .map(|(name, _)| name)
    }

    pub(crate) fn replica_set_names(&self) -> impl Iterator<Item = &ObjectName> {
        self.replica_sets.keys()
    }

    /// Those of a namespace, in the order of their names.
    pub(crate) fn names_in(&self, namespace: &str) -> impl Iterator<Item = &Text> {
        self.by_namespace.get(namespace).into_iter().flatten()
    }

    /// Deleted Pods of a namespace with what made them, unless another of that name exists.
    pub(crate) fn gone_from(&self, namespace: &str) -> impl Iterator<Item = (&Text, &Workload)> {
        let existing = self.by_namespace.get(namespace);
        let gone = self.gone.iter().filter(move |gone| {
            let again = existing.is_some_and(|names| names.contains(&gone.pod.name));
            *gone.pod.namespace == *namespace && !again
        });
        gone.map(|gone| (&gone.pod.name, &gone.workload))
    }

    /// False while a deleted Pod was forgotten before its time.
    pub(crate) fn remembers_all(&self) -> bool {
        self.forgotten.is_none()
    }

    /// A Pod's name as it is held.
    pub(crate) fn find(&self, pod: NameRef<'_>) -> Option<&ObjectName> {
        self.pods.get_key_value(&pod).map(|(name, _)| name)
    }

    /// Services whose EndpointSlices list the Pod.
    pub(crate) fn services(&self, pod: &ObjectName) -> impl Iterator<Item = &Text> {
        let entry = self.pods.get(pod).into_iter();
        entry.flat_map(|entry| entry.services.iter().map(|(service, _)| service))
    }

    pub(crate) fn labels(&self, pod: &ObjectName) -> Option<&LabelSet> {
        Some(&self.pods.get(pod)?.record.as_ref()?.labels)
    }

    /// True if that changed anything.
    pub(crate) fn put(&mut self, name: &ObjectName, record: PodRecord) -> bool {
        let entry = self.pods.entry(name.clone()).or_default();
        if entry.record.is_none() || entry.deleted.take().is_some() {
            self.known += 1;
            let names = self.by_namespace.entry(name.namespace.clone());
            names.or_default().insert(name.name.clone());
        }
        let changed = entry.record.as_ref() != Some(&record);
        entry.record = Some(record);
        changed
    }

    /// True if the Pod's record is gone at once.
    pub(crate) fn delete(&mut self, name: &ObjectName, now: Moment) -> bool {
        let workload = self.workload(name);
        let Some(entry) = self.pods.get_mut(name) else {
            return false;
        };
        if entry.record.is_none() || entry.deleted.is_some() {
            return false;
        }
        let listed = !entry.services.is_empty();
        if listed {
            entry.deleted = Some(now);
            self.lingering.push_back((now, name.clone()));
        } else {
            self.pods.remove(name);
        }
        self.known -= 1;
        self.leave(name);
        if let Some(workload) = workload {
            self.remember(name, workload, now);
        }
        !listed
    }

    fn leave(&mut self, name: &ObjectName) {
        if let Some(names) = self.by_namespace.get_mut(&name.namespace) {
            names.remove(&name.name);
            if names.is_empty() {
                self.by_namespace.remove(&name.namespace);
            }
        }
    }

    fn remember(&mut self, name: &ObjectName, workload: Workload, now: Moment) {
        if self.gone.len() >= MAX_REMEMBERED {
            self.gone.pop_front();
            self.forgotten = Some(now);
        }
        self.gone.push_back(Gone {
            at: now,
            pod: name.clone(),
            workload,
        });
    }

    /// An address more of this Service names the Pod.
    pub(crate) fn hold(&mut self, name: ObjectName, service: &Text) {
        let services = &mut self.pods.entry(name).or_default().services;
        match services.iter_mut().find(|(of, _)| of == service) {
            Some((_, addresses)) => *addresses += 1,
            None => services.push((service.clone(), 1)),
        }
    }

    /// An address less of this Service names the Pod.
    pub(crate) fn release(&mut self, name: &ObjectName, service: &Text) {
        let Some(entry) = self.pods.get_mut(name) else {
            return;
        };
        for (_, addresses) in entry.services.iter_mut().filter(|(of, _)| of == service) {
            *addresses = addresses.saturating_sub(1);
        }
        entry.services.retain(|(_, addresses)| *addresses > 0);
        if entry.services.is_empty() && (entry.record.is_none() || entry.deleted.is_some()) {
            self.pods.remove(name);
        }
    }

    /// Records that have lingered long enough go; their names are returned.
    pub(crate) fn advance(&mut self, now: Moment) -> Vec<ObjectName> {
        let over = |at: Moment| at.plus(REMEMBERED) <= now;
        while self.gone.pop_front_if(|gone| over(gone.at)).is_some() {}
        self.forgotten = self.forgotten.filter(|at| !over(*at));
        let mut gone = Vec::new();
        while let Some((deleted, name)) = self
            .lingering
            .pop_front_if(|(deleted, _)| deleted.plus(LINGER) <= now)
        {
            if let Some(entry) = self.pods.get_mut(&name)
                && entry.deleted == Some(deleted)
            {
                entry.deleted = None;
                entry.record = None;
                gone.push(name);
            }
        }
        gone
    }

    /// True if that changed anything.
    pub(crate) fn put_replica_set(&mut self, name: &ObjectName, owner: Option<Workload>) -> bool {
        self.replica_sets.insert(name.clone(), owner.clone()) != Some(owner)
    }

    pub(crate) fn delete_replica_set(&mut self, name: &ObjectName) -> bool {
        self.replica_sets.remove(name).is_some()
    }

    /// The ReplicaSet on which [`Pods::workload`] depends.
    pub(crate) fn replica_set_of(&self, pod: &ObjectName) -> Option<&Text> {
        let owner = self.pods.get(pod)?.record.as_ref()?.owner.as_ref()?;
        (*owner.kind == *"ReplicaSet").then_some(&owner.name)
    }

    /// What made the Pod. Of a ReplicaSet what made that: by its object, else by its name without the template's hash.
    pub(crate) fn workload(&self, pod: &ObjectName) -> Option<Workload> {
        let record = self.pods.get(pod)?.record.as_ref()?;
        let owner = record.owner.as_ref()?;
        if *owner.kind != *"ReplicaSet" {
            return Some(owner.clone());
        }
        if let Some(above) = self.replica_sets.get(&pod.sibling(&owner.name)) {
            return Some(above.as_ref().unwrap_or(owner).clone());
        }
        let hash = record.labels.get(TEMPLATE_HASH);
        let stem = hash.and_then(|h| owner.name.strip_suffix(&**h)?.strip_suffix('-'));
        Some(match stem {
            Some(stem) if !stem.is_empty() => Workload {
                kind: self.kinds.deployment.clone(),
                name: Text::from(stem),
            },
            _ => owner.clone(),
        })
    }
}

/// Texts that no object brings.
#[derive(Debug)]
struct KnownKinds {
    deployment: Text,
}

impl Default for KnownKinds {
    fn default() -> Self {
        Self {
            deployment: Text::from("Deployment"),
        }
    }
}
