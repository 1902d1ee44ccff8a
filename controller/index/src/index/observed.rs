//! Who looks at a Service, a Pod or a workload, and which Pods serve it: what its windows can be told from.
//!
//! Looking for Pods costs what their namespace has.

use std::collections::BTreeMap;

use gaugeway_wire::GatewayName;
use hashbrown::HashMap;

use super::{Index, name_ref};
use crate::{
    backend::Workload,
    name::{NameRef, ObjectName},
    policy::WhenIdle,
    text::LabelSet,
};

/// The gateways that see an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Those that route to it, in the order of their names.
    pub reached_by: Vec<GatewayName>,
    /// Those of them whose policy selects it.
    pub selected_by: Vec<GatewayName>,
    /// What its latency is without requests; absent where one of the policies says so.
    pub when_idle: WhenIdle,
}

/// A Service as those see it that ask for its windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// By whom.
    pub seen: Seen,
    /// Pods that its EndpointSlices list, in the order of their names.
    pub pods: Vec<String>,
}

/// A Pod that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedPod {
    /// Its name.
    pub name: String,
    /// By whom, over all Services that list it.
    pub seen: Seen,
}

/// What made Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedWorkload {
    /// Its kind, such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// By whom, over all Services that list a Pod of it.
    pub seen: Seen,
    /// Its Pods, in the order of their names; those that were deleted within the longest window too.
    pub pods: Vec<String>,
    /// False when a Pod that was deleted within the longest window may be missing.
    pub complete: bool,
}

/// Labels of an object.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a>(&'a LabelSet);

/// Chooses objects by their labels.
pub type Matches<'a> = &'a (dyn Fn(Labels<'_>) -> bool + Sync);

impl<'a> Labels<'a> {
    /// A label's value.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|value| &**value)
    }
}

impl Seen {
    /// Also by whom the other is seen.
    fn join(&mut self, other: &Self) {
        self.when_idle = self.when_idle.or(other.when_idle);
        for (mine, more) in [
            (&mut self.reached_by, &other.reached_by),
            (&mut self.selected_by, &other.selected_by),
        ] {
            mine.extend(more.iter().cloned());
            mine.sort_unstable();
            mine.dedup();
        }
    }
}

impl Index {
    /// What is known of a Service; `None` when there is none of that name.
    #[must_use]
    pub fn observed(&self, namespace: &str, name: &str) -> Option<Observed> {
        let service = name_ref(namespace, name);
        let seen = self.seen(service)?;
        let endpoints = self.tables.slices.of_service(service);
        let pods = endpoints.filter_map(|(_, endpoint)| endpoint.pod.as_ref());
        let mut pods: Vec<_> = pods.map(ToString::to_string).collect();
        pods.sort_unstable();
        pods.dedup();
        Some(Observed { seen, pods })
    }

    /// Namespaces and names of the Services that some gateway routes to and whose labels match, in their order.
    #[must_use]
    pub fn observed_services(
        &self,
        namespace: Option<&str>,
        matches: Matches<'_>,
    ) -> Vec<(String, String)> {
        let reached = self.routes.reach.services();
        let here = reached.filter(|name| namespace.is_none_or(|n| n == &*name.namespace));
        let known = here.filter(|name| {
            let record = self.tables.services.get(name);
            record.is_some_and(|record| matches(Labels(&record.labels)))
        });
        let mut names: Vec<_> = known
            .map(|name| (name.namespace.to_string(), name.name.to_string()))
            .collect();
        names.sort_unstable();
        names
    }

    /// The Pods of a namespace that exist and whose labels match, in the order of their names.
    #[must_use]
    pub fn observed_pods(&self, namespace: &str, matches: Matches<'_>) -> Vec<ObservedPod> {
        let mut seen = SeenServices::of(self);
        let names = self.tables.pods.names_in(namespace);
        let pods = names.filter_map(|name| {
            let pod = self.pod(namespace, name)?;
            let labels = self.tables.pods.labels(pod)?;
            matches(Labels(labels)).then(|| ObservedPod {
                name: name.to_string(),
                seen: seen.of_pod(pod),
            })
        });
        pods.collect()
    }

    /// Who sees a Pod; `None` when there is none of that name.
    #[must_use]
    pub fn observed_pod(&self, namespace: &str, name: &str) -> Option<Seen> {
        let pod = self.pod(namespace, name)?;
        self.tables.pods.labels(pod)?;
        Some(SeenServices::of(self).of_pod(pod))
    }

    /// What is known of a workload, such as a Deployment; `None` when it has no Pods and had none lately.
    #[must_use]
    pub fn observed_workload(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
    ) -> Option<ObservedWorkload> {
        let is = |of: &Workload| *of.kind == *kind && *of.name == *name;
        self.workloads(namespace, is).pop().map(|(_, of)| of)
    }

    /// Every workload of a namespace that has Pods, in the order of kinds and names.
    #[must_use]
    pub fn observed_workloads(&self, namespace: &str) -> Vec<ObservedWorkload> {
        let all = self.workloads(namespace, |_| true).into_iter();
        all.filter_map(|(lives, of)| lives.then_some(of)).collect()
    }

    /// Each with whether it has Pods now.
    fn workloads(
        &self,
        namespace: &str,
        wanted: impl Fn(&Workload) -> bool,
    ) -> Vec<(bool, ObservedWorkload)> {
        let pods = &self.tables.pods;
        let mut services = SeenServices::of(self);
        let mut found = BTreeMap::<_, (bool, Seen, Vec<String>)>::new();
        for name in pods.names_in(namespace) {
            let pod = self.pod(namespace, name);
            let of = pod.and_then(|pod| Some((pod, pods.workload(pod)?)));
            if let Some((pod, of)) = of.filter(|(_, of)| wanted(of)) {
                let (lives, seen, names) = found.entry((of.kind, of.name)).or_default();
                *lives = true;
                seen.join(&services.of_pod(pod));
                names.push(name.to_string());
            }
        }
        for (name, of) in pods.gone_from(namespace).filter(|(_, of)| wanted(of)) {
            let of = (of.kind.clone(), of.name.clone());
            let (_, _, names) = found.entry(of).or_default();
            names.push(name.to_string());
        }
        let complete = pods.remembers_all();
        let found = found
            .into_iter()
            .map(|((kind, name), (lives, seen, mut pods))| {
                pods.sort_unstable();
                pods.dedup();
                let of = ObservedWorkload {
                    kind: kind.to_string(),
                    name: name.to_string(),
                    seen,
                    pods,
                    complete,
                };
                (lives, of)
            });
        found.collect()
    }

    /// Whether `kong_upstream_latency_ms` is shown for a gateway's Service; `None` where no policy says. Never while Kong's
    /// operator scrapes the Service: two sources of one metric add up.
    #[must_use]
    pub fn kong_compatible(
        &self,
        gateway: &GatewayName,
        namespace: &str,
        name: &str,
    ) -> Option<bool> {
        let (name, record) = self.tables.services.find(name_ref(namespace, name))?;
        if record.is_scraped {
            return Some(false);
        }
        let policy = self.policies.of(gateway.as_str());
        policy.terms(name, Some(&record.labels)).kong_compatible
    }

    /// Whether Kong's operator scrapes a Service, as far as the Service's annotation says.
    #[must_use]
    pub fn is_scraped_by_kong(&self, namespace: &str, name: &str) -> bool {
        let found = self.tables.services.find(name_ref(namespace, name));
        found.is_some_and(|(_, record)| record.is_scraped)
    }

    /// A Pod's name as it is held.
    fn pod(&self, namespace: &str, name: &str) -> Option<&ObjectName> {
        self.tables.pods.find(name_ref(namespace, name))
    }

    fn seen(&self, service: NameRef<'_>) -> Option<Seen> {
        let (name, record) = self.tables.services.find(service)?;
        let mut seen = Seen::default();
        for gateway in self.routes.reach.gateways_of(service) {
            let Ok(named) = GatewayName::try_new(gateway) else {
                continue;
            };
            let policy = self.policies.of(gateway);
            if policy.shown(name, Some(&record.labels)).is_some() {
                seen.selected_by.push(named.clone());
                let terms = policy.terms(name, Some(&record.labels));
                seen.when_idle = seen.when_idle.or(terms.when_idle);
            }
            seen.reached_by.push(named);
        }
        seen.reached_by.sort_unstable();
        seen.selected_by.sort_unstable();
        Some(seen)
    }
}

/// Looks each Service up once.
struct SeenServices<'a> {
    index: &'a Index,
    seen: HashMap<ObjectName, Seen>,
}

impl<'a> SeenServices<'a> {
    fn of(index: &'a Index) -> Self {
        Self {
            index,
            seen: HashMap::new(),
        }
    }

    fn of_pod(&mut self, pod: &ObjectName) -> Seen {
        let mut all = Seen::default();
        for service in self.index.tables.pods.services(pod) {
            let name = pod.sibling(service);
            let seen = self.seen.entry(name.clone()).or_insert_with(|| {
                let service = name_ref(&name.namespace, &name.name);
                self.index.seen(service).unwrap_or_default()
            });
            all.join(seen);
        }
        all
    }
}
