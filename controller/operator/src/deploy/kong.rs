//! Kong: a `KongPlugin` per namespace of routes, named by the routes themselves.
//!
//! A plugin cannot be attached to all of Kong, and not to Services: Kong's ingress controller drops every route whose
//! backends differ in a `konghq.com/*` annotation.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Installation, Manifest, ManifestKind, Plan, Proof, Reason, RouteFacts, RouteKind, Subject, few,
    names,
};
use crate::target::Target;

/// Name of the filter in Kong: that of its file.
const FILTER: &str = "gaugeway";

pub(super) fn plan(home: &Installation, subject: &Subject<'_>) -> Plan {
    match subject.proof {
        Proof::Proven | Proof::Assumed => {}
        Proof::Missing(what) => {
            let vouching = match subject.target {
                Target::Gateway { .. } => "",
                Target::IngressClass { .. } => " in a policy of the controller's namespace",
            };
            let text = format!(
                "{}; see docs: install in Kong, or set spec.deploy.assumeWasm{vouching}",
                few(what)
            );
            return Plan::not(Reason::WasmNotProven, text);
        }
        Proof::Unknown(why) => {
            let text = why.clone();
            return Plan::hold(Reason::WasmNotProven, text);
        }
    }
    let (shared, routes): (Vec<_>, Vec<_>) = subject
        .routes
        .iter()
        .filter(|route| is_attached(subject, route))
        .partition(|route| is_shared(subject, route));
    let namespaces: BTreeSet<&str> = routes.iter().map(|r| &*r.id.namespace).collect();
    let plugins = namespaces.iter().map(|namespace| {
        let body = plugin(home, subject, namespace);
        Manifest::new(home, subject, ManifestKind::KongPlugin, namespace, body)
    });
    let mut partly = Vec::new();
    if !shared.is_empty() {
        let names: Vec<String> = shared.iter().map(|r| r.id.to_string()).collect();
        partly.push(format!(
            "{} belong to several Gateways of Kong, and one annotation would speak to all of them",
            few(&names)
        ));
    }
    let mut plan = Plan::deployed(plugins.collect(), partly);
    let name = names::object_name(&home.namespace, subject.gateway);
    let tokens = routes.iter().map(|r| (r.id.clone(), name.clone()));
    plan.tokens = tokens.collect();
    plan
}

fn is_attached(subject: &Subject<'_>, route: &RouteFacts) -> bool {
    match subject.target {
        Target::Gateway { namespace, name } => route.accepted_by(namespace, name),
        Target::IngressClass { name } => {
            let confined = subject.confined;
            route.id.kind == RouteKind::Ingress
                && route.class.as_ref() == Some(name)
                && confined.is_none_or(|only| only.contains(&route.id.namespace))
        }
    }
}

fn is_shared(subject: &Subject<'_>, route: &RouteFacts) -> bool {
    let own = match subject.target {
        Target::Gateway { namespace, name } => Some((namespace, name)),
        Target::IngressClass { .. } => None,
    };
    route.parents.iter().any(|parent| {
        let id = (parent.namespace.clone(), parent.name.clone());
        own != Some((&id.0, &id.1)) && subject.kongs.contains(&id)
    })
}

fn plugin(home: &Installation, subject: &Subject<'_>, namespace: &str) -> Value {
    let mut config = json!({
        "gateway": subject.gateway.as_str(),
        "controller": home.address(&home.filters),
        // What requests count for until the controller was first reached, and errors that Kong makes itself.
        "identity": {"namespace": namespace},
    });
    if let Some(token) = subject.token {
        config["token"] = json!(token);
    }
    json!({"plugin": FILTER, "config": config})
}
