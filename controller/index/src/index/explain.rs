//! What is known of one thing, for a person who asks why it is or is not measured.
//!
//! Not on any hot path: some of these look through all routes or endpoints. Lists are cut at [`MOST`].

use gaugeway_wire::{GatewayName, Target};

use super::{Index, answers::leads_to, name_ref};
use crate::{
    backend::BackendPort,
    key::SocketKey,
    moment::Moment,
    name::ObjectName,
    policy::Services,
    routes::{BackendRecord, RouteName, RouteRecord},
    services::ServiceRecord,
    slices::{Endpoint, EndpointState, SliceRecord},
};

/// Entries of a list, at most.
pub const MOST: usize = 1000;

/// How a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By virtual addresses, or its Pods' own.
    ClusterIp,
    /// By its Pods' addresses only.
    Headless,
    /// By a name in DNS.
    ExternalName,
}

/// A Service as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    /// How it is reached.
    pub form: Form,
    /// Its TCP ports, as `name:number` or `number`.
    pub ports: Vec<String>,
    /// Kong's operator scrapes it.
    pub is_scraped: bool,
}

/// A place of a route that names a Service as backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteUse {
    /// Kind, namespace and name.
    pub route: String,
    /// The rule's position.
    pub rule: u16,
    /// The Service's port as the route names it.
    pub port: Option<String>,
    /// False when the Service has no such port.
    pub port_exists: bool,
    /// Share of the rule's requests; 0 is none.
    pub weight: u32,
    /// Gateways that the route names; none when it names none that counts.
    pub gateways: Vec<String>,
    /// False when it stands in another namespace and no ReferenceGrant allows it.
    pub granted: bool,
}

/// One address of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFacts {
    /// Address and port.
    pub address: String,
    /// The Pod behind it.
    pub pod: Option<String>,
    /// Whether it takes new connections.
    pub state: EndpointState,
    /// Other Services that have this address too.
    pub shared_with: Vec<String>,
}

/// What a gateway's policy says of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// The gateway has no policy of its own; what holds for those records every Service.
    ByDefault,
    /// Policies that select it, the one in force first. Empty: none does.
    By(Vec<String>),
}

/// A Pod, or the Pods of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Whether it exists.
    pub exists: bool,
    /// Pods, by name.
    pub pods: Vec<String>,
    /// What made them, as `Kind/name`.
    pub workload: Option<String>,
    /// Services whose EndpointSlices list them: namespace and name.
    pub services: Vec<(String, String)>,
}

/// Who has an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressFacts {
    /// False when the text is no address with a port.
    pub is_address: bool,
    /// Services that have it now: namespace, name, and port and Pod for people.
    pub owners: Vec<Owner>,
    /// Services that had it lately.
    pub former: Vec<String>,
}

/// A Service that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// The Service's port, by name or number.
    pub port: Option<String>,
    /// The Pod; none of a virtual address.
    pub pod: Option<String>,
}

/// What a worker of a gateway is told of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateFacts {
    /// The target's labels as `name=value`; none of Services that the policy does not select.
    pub labels: Vec<String>,
    /// Names of clusters that tell it from the others.
    pub hints: Vec<String>,
}

/// What a gateway's routes reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayFacts {
    /// Routes that name it.
    pub routes: Vec<String>,
    /// Services that it reaches: namespace, name.
    pub services: Vec<(String, String)>,
}

impl Index {
    /// A Service; `None` when there is none of that name.
    #[must_use]
    pub fn service_facts(&self, namespace: &str, name: &str) -> Option<ServiceFacts> {
        let (_, record) = self.tables.services.find(name_ref(namespace, name))?;
        let form = match (record.is_external, record.is_headless()) {
            (true, _) => Form::ExternalName,
            (_, true) => Form::Headless,
            _ => Form::ClusterIp,
        };
        let ports = record.ports().take(MOST);
        Some(ServiceFacts {
            form,
            ports: ports.map(|p| port_text(&p)).collect(),
            is_scraped: record.is_scraped,
        })
    }

    /// Every place of a route that names a Service, which need not exist.
    #[must_use]
    pub fn route_uses(&self, namespace: &str, name: &str) -> Vec<RouteUse> {
        let mut uses: Vec<_> = self
            .routes
            .all()
            .flat_map(|(route, record)| {
                let of = move |b: &BackendRecord| {
                    *b.service.namespace == *namespace && *b.service.name == *name
                };
                let named = record.backends().filter(move |(.., b)| of(b));
                named.map(move |(rule, _, backend)| self.route_use(route, record, rule, backend))
            })
            .collect();
        uses.sort_unstable();
        uses.dedup();
        uses.truncate(MOST);
        uses
    }

    /// Addresses of a Service as its EndpointSlices list them; those that take connections first.
    #[must_use]
    pub fn endpoint_facts(&self, namespace: &str, name: &str) -> Vec<EndpointFacts> {
        let service = name_ref(namespace, name);
        let mut endpoints: Vec<_> = self.tables.slices.of_service(service).collect();
        endpoints.sort_by_key(|(_, e)| (e.state, e.key));
        let facts = |(slice, endpoint): (&SliceRecord, &Endpoint)| {
            let owners = self.tables.backends(&endpoint.key);
            let others = owners.iter().filter(|b| b.service != *slice.service());
            let mut shared_with: Vec<_> = others.map(|b| b.service.to_string()).collect();
            shared_with.dedup();
            EndpointFacts {
                address: address_text(&endpoint.key),
                pod: endpoint.pod.as_ref().map(ToString::to_string),
                state: endpoint.state,
                shared_with,
            }
        };
        endpoints.into_iter().take(MOST).map(facts).collect()
    }

    /// What a gateway's policy says of a Service.
    #[must_use]
    pub fn selected(&self, gateway: &str, namespace: &str, name: &str) -> Selected {
        let rules = match &self.policies.of(gateway).services {
            Services::Every(_) => return Selected::ByDefault,
            Services::First(rules) => rules,
        };
        let found = self.tables.services.find(name_ref(namespace, name));
        let selecting = found.into_iter().flat_map(|(service, record)| {
            let selects =
                move |rule: &&crate::Rule| rule.services.selects(service, Some(&record.labels));
            rules.iter().filter(selects)
        });
        Selected::By(selecting.map(|rule| rule.origin.to_string()).collect())
    }

    /// Policies of a gateway, the strongest first; `None` when it has none of its own.
    #[must_use]
    pub fn policies_of(&self, gateway: &str) -> Option<Vec<String>> {
        match &self.policies.of(gateway).services {
            Services::Every(_) => None,
            Services::First(rules) => Some(rules.iter().map(|r| r.origin.to_string()).collect()),
        }
    }

    /// One Pod.
    #[must_use]
    pub fn pod_facts(&self, namespace: &str, name: &str) -> PodFacts {
        let pods = &self.tables.pods;
        let found = pods.find(name_ref(namespace, name));
        let workload = found.and_then(|pod| pods.workload(pod));
        PodFacts {
            exists: pods.names_in(namespace).any(|pod| **pod == *name),
            pods: vec![name.to_owned()],
            workload: workload.map(|w| format!("{}/{}", w.kind, w.name)),
            services: self.services_of_pods(found),
        }
    }

    /// The Pods that a workload made. It exists as far as it has any.
    #[must_use]
    pub fn workload_facts(&self, namespace: &str, kind: &str, name: &str) -> PodFacts {
        let pods = &self.tables.pods;
        let made = |pod: &&ObjectName| {
            let workload = pods.workload(pod);
            workload.is_some_and(|w| *w.kind == *kind && *w.name == *name)
        };
        let all = pods.names_in(namespace);
        let all = all.filter_map(|pod| pods.find(name_ref(namespace, pod)));
        let mine: Vec<_> = all.filter(made).take(MOST).collect();
        PodFacts {
            exists: !mine.is_empty(),
            pods: mine.iter().map(|pod| pod.name.to_string()).collect(),
            workload: None,
            services: self.services_of_pods(mine),
        }
    }

    /// Who has an address.
    #[must_use]
    pub fn address_facts(&self, address: &str, now: Moment) -> AddressFacts {
        let Some(key) = SocketKey::parse(address) else {
            return AddressFacts::default();
        };
        let (owners, former) = self.owners(&key, now);
        let mut before: Vec<_> = former
            .iter()
            .flat_map(|(_, former)| former.iter())
            .map(|b| b.service.to_string())
            .collect();
        before.dedup();
        let owner = |b: &crate::backend::Backend| Owner {
            namespace: b.service.namespace.to_string(),
            name: b.service.name.to_string(),
            port: b.port.label().map(Into::into),
            pod: b.pod.as_ref().map(ToString::to_string),
        };
        AddressFacts {
            is_address: true,
            owners: owners.iter().take(MOST).map(owner).collect(),
            former: before,
        }
    }

    /// What a gateway's workers are told of an address.
    #[must_use]
    pub fn candidate_facts(
        &self,
        gateway: &GatewayName,
        address: &str,
        now: Moment,
    ) -> Vec<CandidateFacts> {
        let found = self.resolve_text(gateway, self.policy(gateway), address, now);
        let facts = |candidate: super::Candidate| {
            let target = Target::decode(&candidate.target.bytes).ok();
            let labels = target.iter().flat_map(Target::labels);
            CandidateFacts {
                labels: labels.map(|l| format!("{}={}", l.name, l.value)).collect(),
                hints: candidate.hints,
            }
        };
        found.candidates.into_iter().map(facts).collect()
    }

    /// What a gateway's routes reach.
    #[must_use]
    pub fn gateway_facts(&self, gateway: &str) -> GatewayFacts {
        let naming = self
            .routes
            .all()
            .filter(|(_, record)| record.parents().any(|parent| **parent == *gateway));
        let mut routes: Vec<_> = naming.map(|(route, _)| route.to_string()).collect();
        routes.sort_unstable();
        routes.truncate(MOST);
        let services = self.routes.reach.services_of(gateway);
        let mut services: Vec<_> = services
            .map(|s| (s.namespace.to_string(), s.name.to_string()))
            .collect();
        services.sort_unstable();
        GatewayFacts { routes, services }
    }

    fn route_use(
        &self,
        route: &RouteName,
        record: &RouteRecord,
        rule: u16,
        backend: &BackendRecord,
    ) -> RouteUse {
        let service = self.tables.services.get(&backend.service);
        let leads = |port| leads_to(backend.port.as_ref(), &port);
        // An ExternalName need not name ports: then it has whichever is asked for.
        let has = |s: &ServiceRecord| {
            s.ports().any(leads) || (s.is_external && s.ports().next().is_none())
        };
        RouteUse {
            route: route.to_string(),
            rule,
            port: backend.port.as_ref().map(ToString::to_string),
            port_exists: backend.port.is_none() || service.is_none_or(has),
            weight: backend.weight,
            gateways: record.parents().map(ToString::to_string).collect(),
            granted: self.routes.granted(route, backend),
        }
    }

    /// Services whose EndpointSlices list some of these.
    fn services_of_pods<'a>(
        &self,
        pods: impl IntoIterator<Item = &'a ObjectName>,
    ) -> Vec<(String, String)> {
        let of = |pod: &'a ObjectName| {
            let services = self.tables.pods.services(pod);
            services.map(|name| (pod.namespace.to_string(), name.to_string()))
        };
        let mut services: Vec<_> = pods.into_iter().flat_map(of).collect();
        services.sort_unstable();
        services.dedup();
        services.truncate(MOST);
        services
    }
}

/// As hosts write it.
fn address_text(key: &SocketKey) -> String {
    std::net::SocketAddr::new(key.ip, key.port).to_string()
}

fn port_text(port: &BackendPort) -> String {
    match (&port.name, port.number) {
        (Some(name), Some(number)) => format!("{name}:{number}"),
        _ => port.label().unwrap_or_default().into_owned(),
    }
}
