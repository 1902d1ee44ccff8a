//! Lists that somebody asks for again and again, each kept by a watch.
//!
//! Invariants:
//! - Nothing is watched before somebody asked: who stands by, and asks nothing, holds nothing.
//! - What is answered is what a running watch says. While it lists anew, fails, or its kind is not served, nothing is, and
//!   whoever asks turns to the API server.
//! - An own write that was noted is answered from then on, whatever the watch was late to say.
//! - Whether the source has been read does not depend on these watches.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{Client, ResourceExt as _, core::DynamicObject};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    Pace,
    deliver::{Deliver, Told},
    discovery::Discovery,
    kinds::Served,
    pump::Pump,
};
use crate::{
    mapping::MappingStopped,
    source::state::{SourceState, WatchHandle},
    telemetry::SourceMetrics,
};

/// Which objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Which {
    pub(crate) served: Served,
    /// All if `None`.
    pub(crate) namespace: Option<String>,
    /// A selector; all if `None`.
    pub(crate) labels: Option<String>,
}

impl Which {
    pub(crate) const fn all(served: Served, namespace: Option<String>) -> Self {
        Self {
            served,
            namespace,
            labels: None,
        }
    }
}

/// What is kept of an object; nothing of those that do not matter.
pub(crate) type Keep<T> = Box<dyn Fn(&Value) -> Option<T> + Send>;

/// See the module's documentation. Cheap to clone; the last to go ends the watches.
pub(crate) struct Lists<T>(Arc<Inner<T>>);

struct Inner<T> {
    watching: Watching,
    kept: Mutex<BTreeMap<Which, Kept<T>>>,
    pumps: Mutex<JoinSet<()>>,
}

/// What a watch needs.
#[derive(Clone)]
pub(super) struct Watching {
    pub(super) client: Client,
    pub(super) discovery: Discovery,
    pub(super) pace: Pace,
    pub(super) state: SourceState,
    pub(super) metrics: SourceMetrics,
}

struct Kept<T> {
    shelf: Arc<Mutex<Shelf<T>>>,
    watch: WatchHandle,
}

impl<T> Clone for Lists<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Send + 'static> Lists<T> {
    pub(super) fn new(watching: Watching) -> Self {
        Self(Arc::new(Inner {
            watching,
            kept: Mutex::default(),
            pumps: Mutex::default(),
        }))
    }

    /// `None` where no running watch says.
    pub(crate) fn all(&self, which: &Which) -> Option<Vec<T>> {
        let kept = locked(&self.0.kept);
        let kept = kept.get(which).filter(|kept| kept.watch.is_watching())?;
        let shelf = locked(&kept.shelf);
        Some(shelf.objects.values().map(|o| o.kept.clone()).collect())
    }

    /// From now on kept, unless it is already.
    pub(crate) fn follow(&self, which: &Which, keep: Keep<T>) {
        let mut all = locked(&self.0.kept);
        if all.contains_key(which) {
            return;
        }
        let Watching {
            client,
            discovery,
            pace,
            state,
            metrics,
        } = self.0.watching.clone();
        let watch = state.watch_aside(which.served.kind, which.namespace.clone());
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let pump = Pump {
            client,
            discovery,
            served: which.served,
            namespace: which.namespace.clone(),
            labels: which.labels.clone(),
            pace,
            watch: watch.clone(),
            metrics,
        };
        let deliver = ToShelf {
            shelf: Arc::clone(&shelf),
            keep,
            batch: Vec::new(),
        };
        locked(&self.0.pumps).spawn(pump.run(deliver));
        all.insert(which.clone(), Kept { shelf, watch });
    }

    /// An object as the API server says that it is after a write.
    pub(crate) fn note(&self, which: &Which, object: &DynamicObject, kept: Option<T>) {
        if let Some(of) = locked(&self.0.kept).get(which) {
            locked(&of.shelf).put(object, kept);
        }
    }
}

/// What a list holds.
struct Shelf<T> {
    /// By namespace and name.
    objects: BTreeMap<(String, String), Held<T>>,
}

struct Held<T> {
    kept: T,
    /// Where the server's versions are numbers, which they are.
    version: Option<u64>,
    /// Named since the latest list began.
    named: bool,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
        }
    }
}

impl<T> Shelf<T> {
    fn take(&mut self, told: Told<DynamicObject>, keep: &Keep<T>) {
        match told {
            Told::Begin => {
                // A server that was restored from a backup counts its versions anew.
                for held in self.objects.values_mut() {
                    (held.version, held.named) = (None, false);
                }
            }
            Told::Apply(mut object) => {
                object.metadata.managed_fields = None;
                let kept = serde_json::to_value(&object).ok().and_then(|o| keep(&o));
                self.put(&object, kept);
            }
            Told::Delete(object) => self.put(&object, None),
            Told::End => self.objects.retain(|_, held| held.named),
        }
    }

    /// Unless a later version is held.
    fn put(&mut self, object: &DynamicObject, kept: Option<T>) {
        let id = (object.namespace().unwrap_or_default(), object.name_any());
        let version = object.resource_version().and_then(|v| v.parse().ok());
        let held = self.objects.get(&id).and_then(|held| held.version);
        if matches!((version, held), (Some(new), Some(held)) if new < held) {
            return;
        }
        match kept {
            Some(kept) => {
                let named = true;
                let held = Held {
                    kept,
                    version,
                    named,
                };
                self.objects.insert(id, held);
            }
            None => drop(self.objects.remove(&id)),
        }
    }
}

/// Into a [`Shelf`].
struct ToShelf<T> {
    shelf: Arc<Mutex<Shelf<T>>>,
    keep: Keep<T>,
    batch: Vec<Told<DynamicObject>>,
}

impl<T: Send> Deliver for ToShelf<T> {
    type Object = DynamicObject;

    fn push(&mut self, told: Told<DynamicObject>) {
        self.batch.push(told);
    }

    async fn flush(&mut self) -> Result<(), MappingStopped> {
        let mut shelf = locked(&self.shelf);
        for told in std::mem::take(&mut self.batch) {
            shelf.take(told, &self.keep);
        }
        Ok(())
    }

    async fn synced(&mut self) -> Result<(), MappingStopped> {
        Ok(())
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: &str) -> DynamicObject {
        let metadata = json!({"namespace": "shop", "name": name, "resourceVersion": version});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    /// Keeps versions.
    struct Kept(Shelf<String>);

    impl Kept {
        fn told(&mut self, all: impl IntoIterator<Item = Told<DynamicObject>>) -> &mut Self {
            let keep: Keep<String> =
                Box::new(|o| o["metadata"]["resourceVersion"].as_str().map(str::to_owned));
            for told in all {
                self.0.take(told, &keep);
            }
            self
        }

        fn wrote(&mut self, name: &str, version: &str) -> &mut Self {
            self.0.put(&object(name, version), Some(version.to_owned()));
            self
        }

        fn all(&self) -> Vec<(&str, &str)> {
            let all = self.0.objects.iter();
            all.map(|((_, name), held)| (&**name, &*held.kept))
                .collect()
        }
    }

    fn listed(of: &[(&str, &str)]) -> Vec<Told<DynamicObject>> {
        let each = of.iter().map(|(name, v)| Told::Apply(object(name, v)));
        std::iter::once(Told::Begin)
            .chain(each)
            .chain([Told::End])
            .collect()
    }

    #[test]
    fn an_own_write_is_not_undone_by_what_is_older() {
        let mut kept = Kept(Shelf::default());
        kept.told(listed(&[("a", "9"), ("b", "8")]));
        kept.wrote("a", "12").told([
            Told::Apply(object("a", "10")),
            Told::Delete(object("a", "11")),
        ]);
        assert_eq!(kept.all(), [("a", "12"), ("b", "8")]);
        kept.told([Told::Delete(object("a", "13"))]);
        assert_eq!(kept.all(), [("b", "8")]);
    }

    #[test]
    fn a_list_that_began_before_an_own_write_leaves_it() {
        let mut kept = Kept(Shelf::default());
        kept.told(listed(&[("a", "9"), ("b", "8")]))
            .told([Told::Begin])
            .wrote("a", "12")
            .wrote("new", "13")
            .told([Told::Apply(object("a", "9")), Told::End]);
        assert_eq!(kept.all(), [("a", "12"), ("new", "13")]);
    }

    #[test]
    fn a_server_that_counts_anew_is_believed() {
        let mut kept = Kept(Shelf::default());
        kept.told(listed(&[("a", "900"), ("b", "800")]))
            .told(listed(&[("a", "9")]));
        assert_eq!(kept.all(), [("a", "9")]);
    }
}
