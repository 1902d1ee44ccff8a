//! Envoy Gateway: an `EnvoyExtensionPolicy`, whose module its control plane fetches, and a way to the controller.
//!
//! Envoy Gateway makes a cluster only for what a route names. So a route of ours names the controller's filters port. It
//! matches an exact header that nobody can guess, and what is behind it asks for the gateway's token in any case.

use serde_json::{Value, json};

use super::{
    Installation, Manifest, ManifestKind, Plan, Reason, Subject, few, is_taken, module_awaited,
    names::{self, is_ours},
    others::others,
    refusal,
};
use crate::target::{GATEWAY_GROUP, Target};

/// What requests to our route would have to carry.
const HEADER: &str = "x-gaugeway-callout";
/// Name of the patched cluster, where no route can be.
const PATCHED: &str = "gaugeway-controller";

pub(super) fn plan(home: &Installation, subject: &Subject<'_>) -> Plan {
    let Target::Gateway { namespace, .. } = subject.target else {
        return Plan::not(
            Reason::Unsupported,
            "Envoy Gateway serves Gateways only; name one in targetRefs",
        );
    };
    let others = others(subject, |policy| is_ours(policy, &home.namespace));
    if !others.on_gateway.is_empty() {
        let text = format!(
            "EnvoyExtensionPolicy {} is on this Gateway, and Envoy Gateway honours one: add the filter to that one's \
             spec.wasm (docs: install in Envoy Gateway), or move it to the routes",
            few(&others.on_gateway)
        );
        return Plan::not(Reason::PolicyInTheWay, text);
    }
    let Some(module) = subject.module else {
        return module_awaited();
    };
    let (mut objects, cluster) = way(home, subject, namespace);
    if let Some(no_way) = no_way(subject, &objects) {
        return Plan { objects, ..no_way };
    }
    let extension = extension(home, subject, &cluster, module);
    objects.push(Manifest::new(
        home,
        subject,
        ManifestKind::EnvoyExtensionPolicy,
        namespace,
        extension,
    ));
    let mut partly = Vec::new();
    if !others.below.is_empty() {
        partly.push(format!(
            "an EnvoyExtensionPolicy of its own replaces the Gateway's, filter included, on {}",
            few(&others.below)
        ));
    }
    Plan::deployed(objects, partly)
}

/// Envoy Gateway takes patches only where that is switched on in its own configuration. The patch's status is the only
/// thing that says so to everybody; without a word the filter waits: it would have nobody to call.
fn no_way(subject: &Subject<'_>, way: &[Manifest]) -> Option<Plan> {
    const ADVICE: &str = "switch extensionApis.enableEnvoyPatchPolicy on in Envoy Gateway's configuration, or let a \
                          listener take HTTPRoutes of the Gateway's own namespace";
    let patched = way.iter().any(|m| m.kind == ManifestKind::EnvoyPatchPolicy);
    if !patched || is_taken(subject.patch) {
        return None;
    }
    Some(match refusal(subject.patch) {
        Some(why) => Plan::not(Reason::Refused, format!("{why}; {ADVICE}")),
        None => Plan::not(
            Reason::NotDeployed,
            format!(
                "no listener of the Gateway takes a route of ours, and Envoy Gateway has not said of the \
                 EnvoyPatchPolicy that is there instead whether it takes it: {ADVICE}"
            ),
        ),
    })
}

/// What gives a cluster to call, and its name.
fn way(home: &Installation, subject: &Subject<'_>, namespace: &str) -> (Vec<Manifest>, String) {
    if !takes_routes(subject.object) {
        let patch = Manifest::new(
            home,
            subject,
            ManifestKind::EnvoyPatchPolicy,
            namespace,
            patch(home, subject),
        );
        return (vec![patch], PATCHED.to_owned());
    }
    let mut objects = Vec::new();
    if namespace != home.namespace {
        objects.push(Manifest::new(
            home,
            subject,
            ManifestKind::ReferenceGrant,
            &home.namespace,
            json!({"spec": {
                "from": [{"group": GATEWAY_GROUP, "kind": "HTTPRoute", "namespace": namespace}],
                "to": [{"group": "", "kind": "Service", "name": home.filters.name}],
            }}),
        ));
    }
    let route = json!({"spec": {
        "parentRefs": [gateway(subject)],
        "rules": [{
            "matches": [{
                "path": {"type": "PathPrefix", "value": "/v1/"},
                "headers": [{"type": "Exact", "name": HEADER, "value": subject.secret}],
            }],
            "backendRefs": [{
                "group": "", "kind": "Service", "name": home.filters.name, "namespace": home.namespace,
                "port": home.filters.port, "weight": 1,
            }],
        }],
    }});
    let kind = ManifestKind::HttpRoute;
    objects.push(Manifest::new(home, subject, kind, namespace, route));
    let name = names::object_name(&home.namespace, subject.gateway);
    (objects, format!("httproute/{namespace}/{name}/rule/0"))
}

/// Whether a listener lets an HTTPRoute of the Gateway's own namespace in. A selector is not read: it may not.
fn takes_routes(gateway: &Value) -> bool {
    let mut listeners = gateway["spec"]["listeners"]
        .as_array()
        .into_iter()
        .flatten();
    listeners.any(|listener| {
        let allowed = &listener["allowedRoutes"];
        let kinds = allowed["kinds"]
            .as_array()
            .filter(|kinds| !kinds.is_empty());
        matches!(listener["protocol"].as_str(), Some("HTTP" | "HTTPS"))
            && matches!(
                allowed["namespaces"]["from"].as_str(),
                None | Some("Same" | "All")
            )
            && kinds.is_none_or(|kinds| kinds.iter().any(|k| k["kind"] == "HTTPRoute"))
    })
}

fn gateway(subject: &Subject<'_>) -> Value {
    let name = match subject.target {
        Target::Gateway { name, .. } | Target::IngressClass { name } => name,
    };
    json!({"group": GATEWAY_GROUP, "kind": "Gateway", "name": name})
}

fn extension(home: &Installation, subject: &Subject<'_>, cluster: &str, module: &str) -> Value {
    let mut config = json!({"gateway": subject.gateway.as_str(), "cluster": cluster});
    if let Some(token) = subject.token {
        config["token"] = json!(token);
    }
    json!({"spec": {
        "targetRefs": [gateway(subject)],
        "wasm": [{
            "name": "gaugeway",
            "rootID": "gaugeway",
            // Without it a module that cannot be fetched is a 500 on every route.
            "failOpen": true,
            "code": {"type": "HTTP", "http": {"url": home.module_url(module), "sha256": module}},
            "config": config,
        }],
    }})
}

/// Needs `enableEnvoyPatchPolicy` in Envoy Gateway's own configuration; its status says when that is off.
fn patch(home: &Installation, subject: &Subject<'_>) -> Value {
    let address = json!({"socket_address": {
        "address": format!("{}.{}.svc", home.filters.name, home.namespace),
        "port_value": home.filters.port,
    }});
    json!({"spec": {
        "targetRef": gateway(subject),
        "type": "JSONPatch",
        "jsonPatches": [{
            "type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": PATCHED,
            "operation": {"op": "add", "path": "", "value": {
                "name": PATCHED,
                "type": "STRICT_DNS",
                "connect_timeout": "2s",
                "load_assignment": {
                    "cluster_name": PATCHED,
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
                },
            }},
        }],
    }})
}
