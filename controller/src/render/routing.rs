//! Routes and clusters of a rendered bootstrap, derived from Kubernetes manifests: HTTPRoutes of one Gateway, the
//! Services they name, the EndpointSlices of those.
//!
//! This serves demos and gateways without a control plane. What it cannot express it says as an issue; the rest works.

mod manifests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
};

use anyhow::Result;
use gaugeway_wire::GatewayName;
use serde_json::Value;

use super::{Backend, Cluster, Match, PathMatch, Route};
use manifests::{BackendRef, HttpRoute, Name, Objects, Rule, RuleMatch};

/// What manifests say about one gateway.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    /// In the order in which they are tried, as the Gateway API demands.
    pub routes: Vec<Route>,
    /// Clusters that the routes name, `<namespace>/<service>/<port>`.
    pub clusters: Vec<Cluster>,
    /// What was left out, and why; one line each.
    pub issues: Vec<String>,
}

/// Reads every `.yaml`, `.yml` and `.json` file of a directory.
///
/// # Errors
/// When the directory or a file cannot be read or is no YAML; names the file.
pub fn read(directory: &Path, gateway: &GatewayName) -> Result<Routing> {
    Ok(derive(&manifests::read(directory)?, gateway))
}

/// As [`read`], from documents.
#[must_use]
pub fn from_documents(documents: Vec<Value>, gateway: &GatewayName) -> Routing {
    derive(&Objects::sort(documents), gateway)
}

fn derive(objects: &Objects, gateway: &GatewayName) -> Routing {
    let mut derivation = Derivation {
        objects,
        ranked: Vec::new(),
        clusters: BTreeMap::new(),
        issues: objects.issues.iter().cloned().collect(),
    };
    let mut routes: Vec<_> = objects
        .routes
        .iter()
        .filter(|route| route.is_attached_to(gateway))
        .collect();
    routes.sort_by_key(|route| &route.metadata);
    if routes.is_empty() {
        derivation.issues.insert(format!(
            "no HTTPRoute names the Gateway {gateway} as its parent"
        ));
    }
    for route in routes {
        derivation.route(route);
    }
    derivation.finish()
}

struct Derivation<'a> {
    objects: &'a Objects,
    ranked: Vec<(Rank, Route)>,
    clusters: BTreeMap<String, Vec<SocketAddr>>,
    issues: BTreeSet<String>,
}

/// Which of two matching routes wins: smaller first. Gateway API, HTTPRouteRule: exact path, longest path, method, most
/// headers; then the order of names and rules, which a stable sort keeps.
type Rank = (Reverse<bool>, Reverse<usize>, Reverse<bool>, Reverse<usize>);

impl Derivation<'_> {
    fn route(&mut self, route: &HttpRoute) {
        let name = &route.metadata;
        for (number, rule) in route.spec.rules.iter().enumerate() {
            let rule_name = rule.name.clone().unwrap_or_else(|| number.to_string());
            let at = format!("{name}/{rule_name}");
            if !rule.filters.is_empty() {
                self.issue(&at, "filters are left out");
            }
            let backends: Vec<Backend> = rule
                .backend_refs
                .iter()
                .filter_map(|backend| self.backend(name, backend, &at))
                .collect();
            let timeout_ms = self.timeout(rule, &at);
            for matches in rule.matches() {
                let Some(matches) = self.matches(&matches, &at) else {
                    continue;
                };
                let route = Route {
                    name: at.clone(),
                    hostnames: route.spec.hostnames.clone(),
                    matches,
                    backends: backends.clone(),
                    timeout_ms,
                };
                self.ranked.push((rank(&route.matches), route));
            }
        }
    }

    fn backend(&mut self, route: &Name, backend: &BackendRef, at: &str) -> Option<Backend> {
        if !backend.is_service() {
            self.issue(at, "a backend that is no Service is left out");
            return None;
        }
        let Some(port) = backend.port else {
            self.issue(at, "a backend without a port is left out");
            return None;
        };
        let service = Name {
            namespace: backend
                .namespace
                .clone()
                .unwrap_or_else(|| route.namespace.clone()),
            name: backend.name.clone(),
        };
        let cluster = format!("{service}/{port}");
        match self.objects.endpoints(&service, port) {
            Ok(endpoints) => {
                if endpoints.is_empty() {
                    self.issue(at, &format!("{cluster} has no ready endpoint"));
                }
                self.clusters.insert(cluster.clone(), endpoints);
            }
            Err(problem) => {
                self.issue(at, &problem);
                self.clusters.entry(cluster.clone()).or_default();
            }
        }
        Some(Backend {
            cluster,
            weight: backend.weight.unwrap_or(1),
        })
    }

    fn timeout(&mut self, rule: &Rule, at: &str) -> Option<u64> {
        let text = rule.timeouts.as_ref()?.request.as_deref()?;
        let parsed = manifests::duration_ms(text);
        if parsed.is_none() {
            self.issue(at, "its request time-out is not a duration and is left out");
        }
        parsed
    }

    /// A match that cannot be expressed is left out with its route: without it the route would match too much.
    fn matches(&mut self, matches: &RuleMatch, at: &str) -> Option<Match> {
        if !matches.query_params.is_empty() {
            self.issue(
                at,
                "a match on query parameters is left out, with its route",
            );
            return None;
        }
        let path = matches.path.as_ref().map_or_else(
            || Some(PathMatch::Prefix("/".to_owned())),
            |path| path.to_match(),
        );
        let headers: Option<Vec<_>> = matches.headers.iter().map(|h| h.to_exact()).collect();
        let (Some(path), Some(headers)) = (path, headers) else {
            self.issue(at, "a match of an unknown type is left out, with its route");
            return None;
        };
        Some(Match {
            path,
            method: matches.method.clone(),
            headers,
        })
    }

    fn issue(&mut self, at: &str, what: &str) {
        self.issues.insert(format!("HTTPRoute {at}: {what}"));
    }

    fn finish(mut self) -> Routing {
        self.ranked.sort_by_key(|(rank, _)| *rank);
        Routing {
            routes: self.ranked.into_iter().map(|(_, route)| route).collect(),
            clusters: self
                .clusters
                .into_iter()
                .map(|(name, endpoints)| Cluster { name, endpoints })
                .collect(),
            issues: self.issues.into_iter().collect(),
        }
    }
}

fn rank(matches: &Match) -> Rank {
    let (exact, length) = match &matches.path {
        PathMatch::Exact(path) => (true, path.len()),
        PathMatch::Prefix(path) | PathMatch::Regex(path) => (false, path.len()),
    };
    (
        Reverse(exact),
        Reverse(length),
        Reverse(matches.method.is_some()),
        Reverse(matches.headers.len()),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gateway() -> GatewayName {
        GatewayName::try_new("shop/edge").unwrap()
    }

    fn route(name: &str, rules: &Value) -> Value {
        json!({
            "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"parentRefs": [{"name": "edge"}], "rules": rules},
        })
    }

    fn service(name: &str) -> [Value; 2] {
        [
            json!({
                "kind": "Service",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"ports": [{"name": "http", "port": 80}]},
            }),
            json!({
                "kind": "EndpointSlice",
                "metadata": {
                    "name": format!("{name}-1"), "namespace": "shop",
                    "labels": {"kubernetes.io/service-name": name},
                },
                "ports": [{"name": "admin", "port": 1}, {"name": "http", "port": 8080}],
                "endpoints": [
                    {"addresses": ["10.0.0.2"]},
                    {"addresses": ["10.0.0.3"], "conditions": {"ready": false}},
                    {"addresses": ["fd00::1"], "conditions": {"ready": true}},
                ],
            }),
        ]
    }

    #[test]
    fn a_weighted_rule_becomes_weighted_clusters_with_ready_endpoints() {
        let rules = json!([{"backendRefs": [
            {"name": "a", "port": 80, "weight": 75}, {"name": "b", "port": 80, "weight": 25},
        ]}]);
        let mut documents = vec![route("split", &rules)];
        documents.extend(service("a"));
        documents.extend(service("b"));
        let routing = from_documents(documents, &gateway());
        assert_eq!(routing.issues, [""; 0]);
        let names: Vec<_> = routing.clusters.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["shop/a/80", "shop/b/80"]);
        assert_eq!(
            routing.clusters[0].endpoints,
            [
                "10.0.0.2:8080".parse().unwrap(),
                "[fd00::1]:8080".parse().unwrap()
            ]
        );
        let weights: Vec<_> = routing.routes[0]
            .backends
            .iter()
            .map(|b| b.weight)
            .collect();
        assert_eq!(weights, [75, 25]);
        assert_eq!(routing.routes[0].name, "shop/split/0");
    }

    #[test]
    fn the_most_specific_match_comes_first() {
        let rule = |matches: Value| json!([{"matches": [matches], "backendRefs": []}]);
        let path = |kind: &str, value: &str| json!({"type": kind, "value": value});
        let documents = vec![
            route("all", &rule(json!({}))),
            route("long", &rule(json!({"path": path("PathPrefix", "/a/b")}))),
            route(
                "method",
                &rule(json!({"path": path("PathPrefix", "/a"), "method": "GET"})),
            ),
            route("short", &rule(json!({"path": path("PathPrefix", "/a")}))),
            route("exact", &rule(json!({"path": path("Exact", "/a")}))),
        ];
        let routing = from_documents(documents, &gateway());
        let names: Vec<_> = routing.routes.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "shop/exact/0",
                "shop/long/0",
                "shop/method/0",
                "shop/short/0",
                "shop/all/0"
            ]
        );
    }

    #[test]
    fn other_gateways_routes_are_not_ours() {
        let mut other = route("other", &json!([{}]));
        other["spec"]["parentRefs"] = json!([{"name": "edge", "namespace": "elsewhere"}]);
        let routing = from_documents(vec![other], &gateway());
        assert!(routing.routes.is_empty());
        assert_eq!(
            routing.issues,
            ["no HTTPRoute names the Gateway shop/edge as its parent"]
        );
    }

    #[test]
    fn what_cannot_be_expressed_is_said() {
        let rules = json!([
            {"name": "q", "matches": [{"queryParams": [{"name": "a", "value": "b"}]}, {"method": "PUT"}]},
            {"backendRefs": [{"name": "gone", "port": 80}, {"name": "x", "kind": "Backend"}]},
        ]);
        let routing = from_documents(vec![route("r", &rules)], &gateway());
        assert_eq!(
            routing.issues,
            [
                "HTTPRoute shop/r/1: a backend that is no Service is left out",
                "HTTPRoute shop/r/1: there is no Service shop/gone",
                "HTTPRoute shop/r/q: a match on query parameters is left out, with its route",
            ]
        );
        assert_eq!(routing.routes.len(), 2);
        assert_eq!(routing.clusters[0].endpoints, []);
    }

    #[test]
    fn a_document_that_does_not_fit_its_kind_is_an_issue_not_an_end() {
        let broken = json!({"kind": "HTTPRoute", "metadata": {"name": "x"}, "spec": {"rules": 3}});
        let routing = from_documents(vec![broken, json!({}), json!(null)], &gateway());
        assert!(
            routing.issues[0].starts_with("HTTPRoute default/x: "),
            "{:?}",
            routing.issues
        );
    }
}
