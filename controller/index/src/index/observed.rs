//! Who looks at a Service, and which Pods serve it: what its windows can be told from.

use gaugeway_wire::GatewayName;

use super::{Index, name_ref};

/// A Service as those see it that ask for its windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Gateways that route to it, in the order of their names.
    pub reached_by: Vec<GatewayName>,
    /// Those of them whose policy selects it.
    pub selected_by: Vec<GatewayName>,
    /// Pods that its EndpointSlices list, in the order of their names.
    pub pods: Vec<String>,
}

impl Index {
    /// What is known of a Service; `None` when there is none of that name.
    #[must_use]
    pub fn observed(&self, namespace: &str, name: &str) -> Option<Observed> {
        let service = name_ref(namespace, name);
        let (name, record) = self.tables.services.find(service)?;
        let mut observed = Observed::default();
        for gateway in self.routes.reach.gateways_of(service) {
            let Ok(named) = GatewayName::try_new(gateway) else {
                continue;
            };
            let policy = self.policies.of(gateway);
            if policy.shown(name, Some(&record.labels)).is_some() {
                observed.selected_by.push(named.clone());
            }
            observed.reached_by.push(named);
        }
        observed.reached_by.sort_unstable();
        observed.selected_by.sort_unstable();
        let endpoints = self.tables.slices.of_service(service);
        let pods = endpoints.filter_map(|(_, endpoint)| endpoint.pod.as_ref());
        observed.pods = pods.map(ToString::to_string).collect();
        observed.pods.sort_unstable();
        observed.pods.dedup();
        Some(observed)
    }

    /// Namespaces and names of the Services that some gateway routes to, in their order.
    #[must_use]
    pub fn observed_services(&self) -> Vec<(String, String)> {
        let reached = self.routes.reach.services();
        let known = reached.filter(|name| self.tables.services.get(name).is_some());
        let mut names: Vec<_> = known
            .map(|name| (name.namespace.to_string(), name.name.to_string()))
            .collect();
        names.sort_unstable();
        names
    }
}
