//! Objects that are kept as they are, for whoever works with whole objects: policies, and what they are attached to.
//!
//! Invariant: what is kept is what the pumps said last; a list that ends removes what it did not name, in its namespace
//! only.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gaugeway_operator::dropin;
use kube::{ResourceExt as _, core::DynamicObject};
use tokio::sync::watch;

use super::{
    deliver::{Deliver, Told},
    kinds::Served,
};
use crate::mapping::MappingStopped;

/// A kind that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kept {
    /// Ours.
    LatencyPolicy,
    /// Of the Gateway API.
    Gateway,
    /// Of the cluster.
    IngressClass,
    /// Of the Gateway API; names a GatewayConfiguration.
    GatewayClass,
    /// Of Kong's operator, as the three that follow.
    MetricsExtension,
    /// Names extensions.
    ControlPlane,
    /// Names extensions for the ControlPlanes of Gateways.
    GatewayConfiguration,
}

impl Kept {
    pub(super) const fn served(self) -> Served {
        match self {
            Self::LatencyPolicy => Served {
                group: "gaugeway.dev",
                versions: &["v1alpha1"],
                kind: "LatencyPolicy",
                plural: "latencypolicies",
            },
            Self::Gateway => Served {
                group: "gateway.networking.k8s.io",
                versions: &["v1", "v1beta1"],
                kind: "Gateway",
                plural: "gateways",
            },
            Self::IngressClass => Served {
                group: "networking.k8s.io",
                versions: &["v1"],
                kind: "IngressClass",
                plural: "ingressclasses",
            },
            Self::GatewayClass => Served {
                group: "gateway.networking.k8s.io",
                versions: &["v1", "v1beta1"],
                kind: "GatewayClass",
                plural: "gatewayclasses",
            },
            Self::MetricsExtension => Served {
                group: dropin::GROUP,
                versions: &["v1alpha1"],
                kind: dropin::KIND,
                plural: "dataplanemetricsextensions",
            },
            Self::ControlPlane => Served {
                group: dropin::GROUP,
                versions: &["v2beta1", "v1beta1"],
                kind: "ControlPlane",
                plural: "controlplanes",
            },
            Self::GatewayConfiguration => Served {
                group: dropin::GROUP,
                versions: &["v2beta1", "v1beta1"],
                kind: "GatewayConfiguration",
                plural: "gatewayconfigurations",
            },
        }
    }
}

/// Kind, namespace (empty where there is none), name.
type Id = (Kept, String, String);

/// What is kept. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    objects: Arc<Mutex<BTreeMap<Id, Arc<DynamicObject>>>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            objects: Arc::default(),
            changes: Arc::new(watch::channel(0).0),
        }
    }

    /// Changes whenever an object does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All of a kind, in the order of namespace and name.
    pub(crate) fn all(&self, kind: Kept) -> Vec<Arc<DynamicObject>> {
        let objects = self.objects();
        let of = objects.iter().filter(|((k, ..), _)| *k == kind);
        of.map(|(_, object)| Arc::clone(object)).collect()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Id, Arc<DynamicObject>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Into a [`Store`].
#[derive(Debug)]
pub(super) struct ToStore {
    store: Store,
    kind: Kept,
    namespace: Option<String>,
    known: Arc<watch::Sender<bool>>,
    batch: Vec<Told<DynamicObject>>,
    /// What a list has named so far.
    listed: Option<BTreeSet<Id>>,
}

impl ToStore {
    pub(super) fn new(
        store: Store,
        kind: Kept,
        namespace: Option<String>,
        known: Arc<watch::Sender<bool>>,
    ) -> Self {
        Self {
            store,
            kind,
            namespace,
            known,
            batch: Vec::new(),
            listed: None,
        }
    }

    fn id(&self, object: &DynamicObject) -> Id {
        let namespace = object.namespace().unwrap_or_default();
        (self.kind, namespace, object.name_any())
    }

    /// True if that changed anything.
    fn take(
        &mut self,
        objects: &mut BTreeMap<Id, Arc<DynamicObject>>,
        told: Told<DynamicObject>,
    ) -> bool {
        match told {
            Told::Begin => {
                self.listed = Some(BTreeSet::new());
                false
            }
            Told::Apply(mut object) => {
                let id = self.id(&object);
                if let Some(listed) = &mut self.listed {
                    listed.insert(id.clone());
                }
                // Large, and nothing that is read here.
                object.metadata.managed_fields = None;
                let version = object.resource_version();
                let held = objects.insert(id, Arc::new(object));
                held.is_none_or(|held| version.is_none() || held.resource_version() != version)
            }
            Told::Delete(object) => objects.remove(&self.id(&object)).is_some(),
            Told::End => {
                let listed = self.listed.take().unwrap_or_default();
                let before = objects.len();
                let (kind, namespace) = (self.kind, self.namespace.as_ref());
                objects.retain(|id, _| {
                    let mine = id.0 == kind && namespace.is_none_or(|n| *n == id.1);
                    !mine || listed.contains(id)
                });
                objects.len() < before
            }
        }
    }
}

impl Deliver for ToStore {
    type Object = DynamicObject;

    fn push(&mut self, told: Told<DynamicObject>) {
        self.batch.push(told);
    }

    async fn flush(&mut self) -> Result<(), MappingStopped> {
        let store = self.store.clone();
        let mut changed = false;
        {
            let mut objects = store.objects();
            for told in std::mem::take(&mut self.batch) {
                changed |= self.take(&mut objects, told);
            }
        }
        if changed {
            store.changes.send_modify(|version| *version += 1);
        }
        Ok(())
    }

    async fn synced(&mut self) -> Result<(), MappingStopped> {
        self.known.send_replace(true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{ApiResource, ObjectMeta};

    use super::*;

    fn object(namespace: &str, name: &str, version: &str) -> DynamicObject {
        let resource = ApiResource {
            group: String::new(),
            version: "v1".to_owned(),
            api_version: "v1".to_owned(),
            kind: "Gateway".to_owned(),
            plural: "gateways".to_owned(),
        };
        let mut object = DynamicObject::new(name, &resource).within(namespace);
        object.metadata = ObjectMeta {
            resource_version: Some(version.to_owned()),
            ..object.metadata
        };
        object
    }

    fn names(store: &Store) -> Vec<String> {
        let all = store.all(Kept::Gateway);
        all.iter()
            .map(|o| format!("{}/{}", o.namespace().unwrap(), o.name_any()))
            .collect()
    }

    #[tokio::test]
    async fn a_list_takes_away_what_it_does_not_name_in_its_namespace() {
        let store = Store::new();
        let known = Arc::new(watch::channel(false).0);
        let of = |namespace: &str| {
            ToStore::new(
                store.clone(),
                Kept::Gateway,
                Some(namespace.to_owned()),
                Arc::clone(&known),
            )
        };
        let (mut shop, mut bank) = (of("shop"), of("bank"));
        bank.push(Told::Apply(object("bank", "a", "1")));
        bank.flush().await.unwrap();
        for list in [["a", "b"], ["b", "c"]] {
            shop.push(Told::Begin);
            for name in list {
                shop.push(Told::Apply(object("shop", name, "1")));
            }
            shop.flush().await.unwrap();
            shop.push(Told::End);
            shop.flush().await.unwrap();
        }
        assert_eq!(names(&store), ["bank/a", "shop/b", "shop/c"]);
        shop.push(Told::Delete(object("shop", "b", "2")));
        shop.flush().await.unwrap();
        assert_eq!(names(&store), ["bank/a", "shop/c"]);
    }

    #[tokio::test]
    async fn the_same_again_is_no_change() {
        let store = Store::new();
        let known = Arc::new(watch::channel(false).0);
        let mut shop = ToStore::new(store.clone(), Kept::Gateway, None, known);
        let mut changes = store.changes();
        for (version, changed) in [("1", true), ("1", false), ("2", true)] {
            shop.push(Told::Apply(object("shop", "a", version)));
            shop.flush().await.unwrap();
            assert_eq!(changes.has_changed().unwrap(), changed, "{version}");
            changes.borrow_and_update();
        }
    }
}
