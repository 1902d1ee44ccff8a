//! What matters of one route, and of one grant.

use k8s_openapi::api::networking::v1::{Ingress, IngressBackend};

use crate::{
    key::RouteKind,
    name::{ObjectName, is_name},
    object::{GATEWAY_GROUP, ReferenceGrant, Route, RouteRule},
    routes::RouteName,
    text::{Interner, Text},
};

/// Parents of a route, at most (the Gateway API's own bound).
const MAX_PARENTS: usize = 32;
/// Rules of a route, at most; the Gateway API's own bound is 16 for HTTPRoute.
const MAX_RULES: usize = 256;
/// Backends of a rule, at most; the Gateway API's own bound is 16.
const MAX_BACKENDS: usize = 64;
/// Hostnames of a route, at most (the Gateway API's own bound).
const MAX_HOSTNAMES: usize = 16;
/// Paths of an Ingress, at most.
const MAX_PATHS: usize = 4096;
/// The annotation that named an Ingress's class before there was a field.
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteRecord {
    /// `namespace/name` of each Gateway, once.
    parents: Box<[Text]>,
    rules: Box<[Rule]>,
    hostnames: Box<[Text]>,
}

/// One rule; of an Ingress one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// By position; `None` where it is no Service.
    pub(crate) backends: Box<[Option<BackendRecord>]>,
}

/// A Service that a rule sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendRecord {
    pub(crate) service: ObjectName,
    /// Every port without.
    pub(crate) port: Option<PortSpec>,
    pub(crate) weight: u32,
}

impl std::fmt::Display for PortSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

/// A Service's port as a route names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PortSpec {
    Number(u16),
    Name(Text),
}

impl RouteRecord {
    pub(crate) fn new(route: &Route, name: &ObjectName, texts: &mut Interner) -> Self {
        let rules = route.spec.rules.iter().take(MAX_RULES);
        let hostnames = route.spec.hostnames.iter().take(MAX_HOSTNAMES);
        Self {
            parents: parents(route, name, texts),
            rules: rules.map(|r| rule(r, name, texts)).collect(),
            hostnames: hostnames.map(|h| texts.text(h)).collect(),
        }
    }

    /// Every path, and the default backend, is a rule of its own.
    pub(crate) fn of_ingress(ingress: &Ingress, name: &ObjectName, texts: &mut Interner) -> Self {
        let spec = ingress.spec.as_ref();
        let class = spec.and_then(|s| s.ingress_class_name.as_deref());
        let annotations = ingress.metadata.annotations.as_ref();
        let older = || Some(annotations?.get(INGRESS_CLASS)?.as_str());
        let class = class.or_else(older).filter(|class| is_name(class));
        let rules = spec.and_then(|s| s.rules.as_ref()).into_iter().flatten();
        let paths = rules
            .filter_map(|r| Some(&r.http.as_ref()?.paths))
            .flatten();
        let default = spec.and_then(|s| s.default_backend.as_ref());
        let backends = paths.map(|p| &p.backend).chain(default).take(MAX_PATHS);
        Self {
            parents: class
                .map(|c| texts.text(&class_gateway(c)))
                .into_iter()
                .collect(),
            rules: backends.map(|b| path(b, name, texts)).collect(),
            hostnames: Box::default(),
        }
    }

    pub(crate) fn hostnames(&self) -> impl Iterator<Item = &Text> {
        self.hostnames.iter()
    }

    pub(crate) fn parents(&self) -> impl Iterator<Item = &Text> {
        self.parents.iter()
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Rule, position, backend.
    pub(crate) fn backends(&self) -> impl Iterator<Item = (u16, u16, &BackendRecord)> {
        (0..).zip(&self.rules).flat_map(|(r, rule)| {
            let numbered = (0..).zip(&rule.backends);
            numbered.filter_map(move |(b, backend)| Some((r, b, backend.as_ref()?)))
        })
    }

    /// Whether it has a backend in that namespace (which is not its own: then no grant matters).
    pub(crate) fn crosses_into(&self, namespace: &str) -> bool {
        self.backends()
            .any(|(.., b)| *b.service.namespace == *namespace)
    }
}

/// How the gateway is called that serves the Ingresses of a class. No namespace has a colon in its name, so it is no
/// Gateway's name.
fn class_gateway(class: &str) -> String {
    format!("ingressclass:{class}")
}

fn rule(rule: &RouteRule, name: &ObjectName, texts: &mut Interner) -> Rule {
    let refs = rule.backend_refs.iter().take(MAX_BACKENDS);
    let backends = refs.map(|r| {
        let is_service = r.group.as_deref().unwrap_or_default().is_empty()
            && r.kind.as_deref().unwrap_or("Service") == "Service";
        let namespace = r.namespace.as_deref().unwrap_or(&name.namespace);
        let service = ObjectName::try_new(texts, namespace, &r.name);
        let backend = |service| BackendRecord {
            service,
            port: r.port.map(PortSpec::Number),
            // The Gateway API's default.
            weight: r.weight.unwrap_or(1),
        };
        service.filter(|_| is_service).map(backend)
    });
    Rule {
        backends: backends.collect(),
    }
}

/// An Ingress's backend without a Service is a resource of some other kind.
fn path(backend: &IngressBackend, name: &ObjectName, texts: &mut Interner) -> Rule {
    let found = backend.service.as_ref().and_then(|to| {
        let port = to.port.as_ref();
        let number = port.and_then(|p| u16::try_from(p.number?).ok());
        let named = port.and_then(|p| p.name.as_deref());
        Some(BackendRecord {
            service: ObjectName::try_new(texts, &name.namespace, &to.name)?,
            port: match number {
                Some(number) => Some(PortSpec::Number(number)),
                None => texts.some(named).map(PortSpec::Name),
            },
            weight: 1,
        })
    });
    Rule {
        backends: Box::new([found]),
    }
}

fn parents(route: &Route, name: &ObjectName, texts: &mut Interner) -> Box<[Text]> {
    let refs = route.spec.parent_refs.iter().take(MAX_PARENTS);
    let gateways = refs.filter(|p| {
        p.kind.as_deref().unwrap_or("Gateway") == "Gateway"
            && p.group.as_deref().unwrap_or(GATEWAY_GROUP) == GATEWAY_GROUP
    });
    let mut parents: Vec<_> = gateways
        .map(|p| {
            let namespace = p.namespace.as_deref().unwrap_or(&name.namespace);
            texts.text(&format!("{namespace}/{}", p.name))
        })
        .collect();
    parents.sort_unstable();
    parents.dedup();
    parents.into()
}

/// One ReferenceGrant, as far as it is about Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantRecord {
    from: Box<[(RouteKind, Text)]>,
    /// `None`: every Service of the namespace.
    to: Box<[Option<Text>]>,
}

impl GrantRecord {
    pub(crate) fn new(grant: &ReferenceGrant, texts: &mut Interner) -> Self {
        let from = grant.spec.from.iter().filter(|f| f.group == GATEWAY_GROUP);
        let to = grant.spec.to.iter();
        let services = to.filter(|t| t.group.is_empty() && t.kind == "Service");
        Self {
            from: from
                .filter_map(|f| Some((route_kind(&f.kind)?, texts.text(&f.namespace))))
                .collect(),
            to: services.map(|t| texts.some(t.name.as_deref())).collect(),
        }
    }

    pub(crate) fn allows(&self, route: &RouteName, to: &ObjectName) -> bool {
        let from = |(kind, namespace): &(RouteKind, Text)| {
            *kind == route.kind && *namespace == route.name.namespace
        };
        let names = |n: &Option<Text>| n.as_ref().is_none_or(|n| *n == to.name);
        self.from.iter().any(from) && self.to.iter().any(names)
    }
}

fn route_kind(kind: &str) -> Option<RouteKind> {
    match kind {
        "HTTPRoute" => Some(RouteKind::Http),
        "GRPCRoute" => Some(RouteKind::Grpc),
        _ => None,
    }
}
