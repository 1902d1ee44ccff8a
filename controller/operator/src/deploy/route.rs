//! What matters of a route.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::PLUGINS;

/// A kind of object that Kong attaches plugins to. A Service is none on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// `HTTPRoute`.
    HttpRoute,
    /// `GRPCRoute`.
    GrpcRoute,
    /// `Ingress`.
    Ingress,
}

/// Names a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId {
    /// Its kind.
    pub kind: RouteKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What matters of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFacts {
    /// Which.
    pub id: RouteId,
    /// Its resource version.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotation [`super::PLUGINS`].
    pub plugins: Option<String>,
    /// Gateways that it names.
    pub parents: Vec<Parent>,
    /// The one Service in its own namespace that all its backends are.
    pub service: Option<String>,
    /// Of an Ingress.
    pub class: Option<String>,
    /// Of an Ingress: where its controller says that it is published.
    pub addresses: BTreeSet<String>,
}

/// A Gateway that a route names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it took the route, as the route's status says.
    pub accepted: bool,
}

impl RouteKind {
    /// As in `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::Ingress => "Ingress",
        }
    }

    /// Its API group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::HttpRoute | Self::GrpcRoute => "gateway.networking.k8s.io",
            Self::Ingress => "networking.k8s.io",
        }
    }

    /// As in a path.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::HttpRoute => "httproutes",
            Self::GrpcRoute => "grpcroutes",
            Self::Ingress => "ingresses",
        }
    }
}

impl RouteFacts {
    /// Of an object as an API server shows it.
    #[must_use]
    pub fn of(kind: RouteKind, object: &Value) -> Self {
        let meta = &object["metadata"];
        let namespace = text(&meta["namespace"]);
        let labels = meta["labels"].as_object().into_iter().flatten();
        let parents = items(&object["spec"]["parentRefs"])
            .filter(|p| p["kind"].is_null() || p["kind"] == "Gateway");
        let published = items(&object["status"]["loadBalancer"]["ingress"]);
        let published = published.flat_map(|p| [&p["ip"], &p["hostname"]]);
        Self {
            version: text(&meta["resourceVersion"]),
            labels: labels.map(|(k, v)| (k.clone(), text(v))).collect(),
            plugins: meta["annotations"][PLUGINS].as_str().map(str::to_owned),
            parents: parents
                .map(|p| Parent {
                    namespace: namespace_of(p, &namespace),
                    name: text(&p["name"]),
                    accepted: is_accepted(object, p, &namespace),
                })
                .collect(),
            service: only_service(kind, object, &namespace),
            class: class(kind, object),
            addresses: published
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            id: RouteId {
                kind,
                name: text(&meta["name"]),
                namespace,
            },
        }
    }

    /// Whether that Gateway took it.
    pub(super) fn accepted_by(&self, namespace: &str, name: &str) -> bool {
        let is = |p: &Parent| p.accepted && p.namespace == namespace && p.name == name;
        self.parents.iter().any(is)
    }
}

impl std::fmt::Display for RouteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.as_str();
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A reference's namespace, which is the route's own where it has none.
fn namespace_of(reference: &Value, own: &str) -> String {
    let named = reference["namespace"].as_str();
    named.unwrap_or(own).to_owned()
}

/// Whether a Gateway took the route, at any of its listeners.
fn is_accepted(route: &Value, parent: &Value, own: &str) -> bool {
    let same = |other: &Value| {
        other["name"] == parent["name"] && namespace_of(other, own) == namespace_of(parent, own)
    };
    items(&route["status"]["parents"])
        .filter(|status| same(&status["parentRef"]))
        .flat_map(|status| items(&status["conditions"]))
        .any(|c| c["type"] == "Accepted" && c["status"] == "True")
}

fn only_service(kind: RouteKind, route: &Value, own: &str) -> Option<String> {
    let spec = &route["spec"];
    let rules = || items(&spec["rules"]);
    let mut services: Vec<Option<&str>> = match kind {
        RouteKind::HttpRoute | RouteKind::GrpcRoute => rules()
            .flat_map(|rule| items(&rule["backendRefs"]))
            .map(|backend| {
                let is = |member: &str, what: &str| {
                    backend[member].as_str().is_none_or(|value| value == what)
                };
                let local = is("group", "") && is("kind", "Service") && is("namespace", own);
                backend["name"].as_str().filter(|_| local)
            })
            .collect(),
        RouteKind::Ingress => rules()
            .flat_map(|rule| items(&rule["http"]["paths"]))
            .map(|path| &path["backend"])
            .chain(Some(&spec["defaultBackend"]).filter(|backend| !backend.is_null()))
            .map(|backend| backend["service"]["name"].as_str())
            .collect(),
    };
    services.dedup();
    match *services {
        [Some(one)] => Some(one.to_owned()),
        _ => None,
    }
}

fn class(kind: RouteKind, object: &Value) -> Option<String> {
    if kind != RouteKind::Ingress {
        return None;
    }
    let old = &object["metadata"]["annotations"]["kubernetes.io/ingress.class"];
    let class = object["spec"]["ingressClassName"].as_str();
    class.or(old.as_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_of_the_same_name_elsewhere_accepts_nothing() {
        let route = |accepted_in: &str| {
            RouteFacts::of(
                RouteKind::HttpRoute,
                &json!({
                    "metadata": {"namespace": "shop", "name": "web"},
                    "spec": {"parentRefs": [{"name": "edge"}, {"name": "edge", "namespace": "bank"}]},
                    "status": {"parents": [{
                        "parentRef": {"name": "edge", "namespace": accepted_in},
                        "conditions": [{"type": "Accepted", "status": "True"}],
                    }]},
                }),
            )
        };
        assert!(route("shop").accepted_by("shop", "edge"));
        assert!(!route("shop").accepted_by("bank", "edge"));
        assert!(route("bank").accepted_by("bank", "edge"));
        assert!(!route("bank").accepted_by("shop", "edge"));
    }

    #[test]
    fn an_ingress_has_its_class_by_either_way() {
        let of = |object: &Value| RouteFacts::of(RouteKind::Ingress, object).class;
        let old = json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "old"}}});
        assert_eq!(of(&old).as_deref(), Some("old"));
        let mut both = old;
        both["spec"]["ingressClassName"] = json!("new");
        assert_eq!(of(&both).as_deref(), Some("new"));
        assert_eq!(RouteFacts::of(RouteKind::HttpRoute, &both).class, None);
    }

    #[test]
    fn all_backends_are_one_service_or_there_is_none() {
        let of = |kind: RouteKind, spec: &Value| {
            let object = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec});
            RouteFacts::of(kind, &object).service
        };
        let cart = || json!({"name": "cart", "port": 80});
        let whole = json!({"group": "", "kind": "Service", "namespace": "shop", "name": "cart"});
        let mail = || json!({"name": "mail"});
        let other =
            json!({"kind": "ServiceImport", "group": "multicluster.x-k8s.io", "name": "cart"});
        for (backends, service) in [
            (json!([[cart()], [], [whole]]), Some("cart")),
            (json!([[cart(), mail()]]), None),
            (json!([[cart()], [mail()], [cart()]]), None),
            (json!([[other]]), None),
            // Nobody's errors are counted for somebody else's Service by naming it.
            (json!([[{"namespace": "bank", "name": "cart"}]]), None),
            (json!([]), None),
        ] {
            let rules = items(&backends).map(|refs| json!({"backendRefs": refs}));
            let spec = json!({"rules": rules.collect::<Vec<_>>()});
            for kind in [RouteKind::HttpRoute, RouteKind::GrpcRoute] {
                assert_eq!(of(kind, &spec).as_deref(), service, "{backends}");
            }
        }
        let backend = |name: &str| json!({"service": {"name": name, "port": {"number": 80}}});
        let paths = |names: &[&str]| {
            let paths: Vec<Value> = names
                .iter()
                .map(|n| json!({"backend": backend(n)}))
                .collect();
            json!([{"http": {"paths": paths}}])
        };
        for (spec, service) in [
            (json!({"rules": paths(&["cart", "cart"])}), Some("cart")),
            (
                json!({"rules": paths(&["cart"]), "defaultBackend": backend("cart")}),
                Some("cart"),
            ),
            (
                json!({"rules": paths(&["cart"]), "defaultBackend": backend("mail")}),
                None,
            ),
            (
                json!({"defaultBackend": {"resource": {"name": "cart"}}}),
                None,
            ),
            (json!({"rules": [{"host": "a"}]}), None),
        ] {
            assert_eq!(of(RouteKind::Ingress, &spec).as_deref(), service, "{spec}");
        }
    }
}
