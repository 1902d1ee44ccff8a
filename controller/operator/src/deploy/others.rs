//! `EnvoyExtensionPolicies` of others. Envoy Gateway honours one per target, the oldest, and a route's replaces its
//! Gateway's unless it says that it merges.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{RouteFacts, RouteKind, Subject};
use crate::target::{GATEWAY_GROUP, Target};

/// Who else has a say.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Policies on the Gateway itself.
    pub(super) on_gateway: Vec<String>,
    /// Listeners and routes with a policy of their own.
    pub(super) below: Vec<String>,
}

/// Of the policies that are not ours.
pub(super) fn others(subject: &Subject<'_>, is_ours: impl Fn(&Value) -> bool) -> Others {
    let mut found = Others::default();
    let Target::Gateway { namespace, name } = subject.target else {
        return found;
    };
    for policy in subject.extensions.iter().filter(|p| !is_ours(p)) {
        let meta = &policy["metadata"];
        let own = meta["namespace"].as_str().unwrap_or_default();
        let id = format!("{own}/{}", meta["name"].as_str().unwrap_or_default());
        let spec = &policy["spec"];
        let references = references(spec);
        let on_gateway = own == namespace
            && (references.clone().any(|r| {
                is(r, "Gateway") && r["name"] == name.as_str() && r["sectionName"].is_null()
            }) || selects(spec, "Gateway", &labels(subject.object)));
        if on_gateway {
            found.on_gateway.push(id.clone());
        }
        for r in references.clone().filter(|_| own == namespace) {
            if is(r, "Gateway") && r["name"] == name.as_str() && !r["sectionName"].is_null() {
                let section = r["sectionName"].as_str().unwrap_or_default();
                found.below.push(format!("listener {section} ({id})"));
            }
        }
        if !spec["mergeType"].is_null() {
            continue;
        }
        for route in subject.routes {
            let named = |r: &Value| is(r, route.id.kind.as_str()) && r["name"] == route.id.name;
            if route.id.kind != RouteKind::Ingress
                && route.id.namespace == own
                && names_gateway(route, namespace, name)
                && (references.clone().any(named)
                    || selects(spec, route.id.kind.as_str(), &route.labels))
            {
                found.below.push(format!("{} ({id})", route.id));
            }
        }
    }
    found
}

fn references(spec: &Value) -> impl Iterator<Item = &Value> + Clone {
    let many = spec["targetRefs"].as_array().into_iter().flatten();
    many.chain(spec.get("targetRef").filter(|r| r.is_object()))
}

fn is(reference: &Value, kind: &str) -> bool {
    reference["kind"] == kind && reference["group"] == GATEWAY_GROUP
}

/// Whether one of its selectors may select such an object. Expressions are not read: they may.
fn selects(spec: &Value, kind: &str, labels: &BTreeMap<String, String>) -> bool {
    let mut selectors = spec["targetSelectors"].as_array().into_iter().flatten();
    selectors.any(|selector| {
        let mut wanted = selector["matchLabels"].as_object().into_iter().flatten();
        selector["kind"] == kind
            && wanted.all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
    })
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let all = object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten();
    let text = all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    text.collect()
}

fn names_gateway(route: &RouteFacts, namespace: &str, name: &str) -> bool {
    let mut parents = route.parents.iter();
    parents.any(|p| p.namespace == namespace && p.name == name)
}
