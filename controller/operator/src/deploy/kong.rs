//! Kong: `KongPlugin`s that routes name, one for all routes of a namespace that lead to the same Service.
//!
//! A plugin cannot be attached to all of Kong, and not to Services: Kong's ingress controller drops every route whose
//! backends differ in a `konghq.com/*` annotation.
//!
//! One per namespace would do for requests that an address answered. But the errors that Kong makes itself never show one,
//! and nothing else may be asked in Kong: they count for what the plugin says ([`Identity`]).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Installation, Manifest, ManifestKind, Plan, Proof, Reason, RouteFacts, RouteKind, Subject, few,
    names,
};
use crate::target::Target;

/// Name of the filter in Kong: that of its file.
const FILTER: &str = "gaugeway";
/// Of one gateway, at most: each worker of Kong holds every one.
const PLUGINS: usize = 512;

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
    let grain = Grain::of(subject, &routes);
    let identities: BTreeSet<_> = routes.iter().map(|r| grain.identity(r)).collect();
    let plugins = identities.iter().map(|identity| {
        let body = plugin(home, subject, identity);
        let place = (identity.namespace, identity.plugin(home, subject));
        Manifest::named(home, subject, ManifestKind::KongPlugin, place, body)
    });
    let mut partly = Vec::new();
    if !shared.is_empty() {
        let names: Vec<String> = shared.iter().map(|r| r.id.to_string()).collect();
        partly.push(format!(
            "{} belong to several Gateways of Kong, and one annotation would speak to all of them",
            few(&names)
        ));
    }
    partly.extend(grain.lacks(subject));
    let mut plan = Plan::deployed(plugins.collect(), partly);
    let named = routes.iter().map(|route| {
        let name = grain.identity(route).plugin(home, subject);
        (route.id.clone(), name)
    });
    plan.named = named.collect();
    plan
}

/// What requests count for where no address tells, as far as routes that share a plugin have it in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity<'a> {
    namespace: &'a str,
    service: Option<&'a str>,
    route: Option<&'a str>,
}

impl Identity<'_> {
    fn plugin(&self, home: &Installation, subject: &Subject<'_>) -> String {
        let of_gateway = names::object_name(&home.namespace, subject.gateway);
        match (self.service, self.route) {
            (None, None) => of_gateway,
            (service, route) => {
                let parts = [service.unwrap_or_default(), route.unwrap_or_default()];
                format!("{of_gateway}-{}", names::short(&parts))
            }
        }
    }
}

/// Which routes of a namespace share a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    /// None do.
    Route,
    /// Those that lead to the same Service and to no other; those that lead to several.
    Service,
    /// All.
    Namespace,
}

impl Grain {
    /// The finest that is asked for, and needs no more than [`PLUGINS`].
    fn of(subject: &Subject<'_>, routes: &[&RouteFacts]) -> Self {
        let count = |grain: Self| {
            routes
                .iter()
                .map(|r| grain.identity(r))
                .collect::<BTreeSet<_>>()
                .len()
        };
        let mut grains = [Self::Route, Self::Service].into_iter();
        let asked = |grain: &Self| *grain != Self::Route || subject.by_route;
        grains
            .find(|grain| asked(grain) && count(*grain) <= PLUGINS)
            .unwrap_or(Self::Namespace)
    }

    /// What is asked for and too much, in words.
    fn lacks(self, subject: &Subject<'_>) -> Option<String> {
        let text = match self {
            Self::Namespace => format!(
                "its routes lead to more than {PLUGINS} Services: errors that Kong makes itself count as unknown"
            ),
            Self::Service if subject.by_route => {
                format!("it has more than {PLUGINS} routes: the dimension route tells none of them")
            }
            Self::Service | Self::Route => return None,
        };
        Some(text)
    }

    fn identity(self, route: &RouteFacts) -> Identity<'_> {
        let named = Some(&*route.id.name);
        Identity {
            namespace: &route.id.namespace,
            service: route.service.as_deref().filter(|_| self != Self::Namespace),
            route: named.filter(|_| self == Self::Route),
        }
    }
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

fn plugin(home: &Installation, subject: &Subject<'_>, identity: &Identity<'_>) -> Value {
    let mut config = json!({
        "gateway": subject.gateway.as_str(),
        "controller": home.address(&home.filters),
        "identity": {"namespace": identity.namespace},
    });
    for (member, name) in [("service", identity.service), ("route", identity.route)] {
        if let Some(name) = name {
            config["identity"][member] = json!(name);
        }
    }
    if let Some(token) = subject.token {
        config["token"] = json!(token);
    }
    json!({"plugin": FILTER, "config": config})
}
