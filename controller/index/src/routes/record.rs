//! What matters of one route, and of one grant.

use crate::{
    key::RouteKind,
    name::ObjectName,
    object::{GATEWAY_GROUP, ReferenceGrant, Route},
    routes::RouteName,
    text::{Interner, Text},
};

/// Parents of a route, at most (the Gateway API's own bound).
const MAX_PARENTS: usize = 32;
/// Rules of a route, at most; the Gateway API's own bound is 16 for HTTPRoute.
const MAX_RULES: usize = 256;
/// Backends of a rule, at most; the Gateway API's own bound is 16.
const MAX_BACKENDS: usize = 64;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteRecord {
    /// `namespace/name` of each Gateway, once.
    parents: Box<[Text]>,
    /// Backends by position; `None` where it is no Service.
    rules: Box<[Rule]>,
}

type Rule = Box<[Option<BackendRecord>]>;

/// A Service that a rule sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendRecord {
    pub(crate) service: ObjectName,
    pub(crate) port: Option<u16>,
}

impl RouteRecord {
    pub(crate) fn new(route: &Route, name: &ObjectName, texts: &mut Interner) -> Self {
        let rules = route.spec.rules.iter().take(MAX_RULES);
        Self {
            parents: parents(route, name, texts),
            rules: rules
                .map(|rule| {
                    let refs = rule.backend_refs.iter().take(MAX_BACKENDS);
                    refs.map(|r| {
                        let is_service = r.group.as_deref().unwrap_or_default().is_empty()
                            && r.kind.as_deref().unwrap_or("Service") == "Service";
                        let namespace = r.namespace.as_deref().unwrap_or(&name.namespace);
                        let service = ObjectName::try_new(texts, namespace, &r.name);
                        let backend = |service| BackendRecord {
                            service,
                            port: r.port,
                        };
                        service.filter(|_| is_service).map(backend)
                    })
                    .collect()
                })
                .collect(),
        }
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
            let numbered = (0..).zip(rule);
            numbered.filter_map(move |(b, backend)| Some((r, b, backend.as_ref()?)))
        })
    }

    /// Whether it has a backend in that namespace (which is not its own: then no grant matters).
    pub(crate) fn crosses_into(&self, namespace: &str) -> bool {
        self.backends()
            .any(|(.., b)| *b.service.namespace == *namespace)
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
