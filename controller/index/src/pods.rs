//! Pods and ReplicaSets: what made a Pod, and its labels.
//!
//! Invariant: the metadata of a deleted Pod is kept while an EndpointSlice still lists it, for [`LINGER`] at most: the
//! two are watched apart, and a target must not lose half of its labels because one event came first.

use std::collections::VecDeque;

use hashbrown::HashMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    backend::Workload,
    history::LINGER,
    moment::Moment,
    name::ObjectName,
    text::{Interner, LabelSet, Text},
};

/// The label that carries the hash at the end of a Deployment's ReplicaSets' names.
const TEMPLATE_HASH: &str = "pod-template-hash";

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
    /// Addresses in EndpointSlices that name it.
    endpoints: u32,
}

/// All Pods and ReplicaSets.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    pods: HashMap<ObjectName, PodEntry>,
    replica_sets: HashMap<ObjectName, Option<Workload>>,
    lingering: VecDeque<(Moment, ObjectName)>,
    known: usize,
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

    pub(crate) fn labels(&self, pod: &ObjectName) -> Option<&LabelSet> {
        Some(&self.pods.get(pod)?.record.as_ref()?.labels)
    }

    /// True if that changed anything.
    pub(crate) fn put(&mut self, name: &ObjectName, record: PodRecord) -> bool {
        let entry = self.pods.entry(name.clone()).or_default();
        if entry.record.is_none() || entry.deleted.take().is_some() {
            self.known += 1;
        }
        let changed = entry.record.as_ref() != Some(&record);
        entry.record = Some(record);
        changed
    }

    /// True if the Pod's record is gone at once.
    pub(crate) fn delete(&mut self, name: &ObjectName, now: Moment) -> bool {
        let Some(entry) = self.pods.get_mut(name) else {
            return false;
        };
        if entry.record.is_none() || entry.deleted.is_some() {
            return false;
        }
        self.known -= 1;
        if entry.endpoints == 0 {
            self.pods.remove(name);
            return true;
        }
        entry.deleted = Some(now);
        self.lingering.push_back((now, name.clone()));
        false
    }

    /// An address more names the Pod.
    pub(crate) fn hold(&mut self, name: ObjectName) {
        self.pods.entry(name).or_default().endpoints += 1;
    }

    /// An address less names the Pod.
    pub(crate) fn release(&mut self, name: &ObjectName) {
        let Some(entry) = self.pods.get_mut(name) else {
            return;
        };
        entry.endpoints = entry.endpoints.saturating_sub(1);
        if entry.endpoints == 0 && (entry.record.is_none() || entry.deleted.is_some()) {
            self.pods.remove(name);
        }
    }

    /// Records that have lingered long enough go; their names are returned.
    pub(crate) fn advance(&mut self, now: Moment) -> Vec<ObjectName> {
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
    pub(crate) fn workload(&self, pod: &ObjectName, texts: &KnownKinds) -> Option<Workload> {
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
                kind: texts.deployment.clone(),
                name: Text::from(stem),
            },
            _ => owner.clone(),
        })
    }
}

/// Texts that no object brings.
#[derive(Debug)]
pub(crate) struct KnownKinds {
    deployment: Text,
}

impl Default for KnownKinds {
    fn default() -> Self {
        Self {
            deployment: Text::from("Deployment"),
        }
    }
}
