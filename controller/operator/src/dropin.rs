//! Drop-in for the `DataPlaneMetricsExtension` of Kong's operator: an extension that a ControlPlane names is a policy.
//!
//! The extension's status has room for `controlPlaneRef` only, and that is the operator's. So what became of an extension
//! is told by us alone ([`Standing`]), and nothing of theirs is ever written.
//!
//! Invariants:
//! - An extension measures what it selects: Services of its ControlPlane's namespace, by name. With `config.latency` off
//!   it measures nothing.
//! - It never puts a filter into a gateway.
//! - It never takes a Service from a LatencyPolicy: see [`crate::resolve()`].
//! - `kong_upstream_latency_ms` has one source: it is off where Kong's operator may still be the other.

mod facts;
mod standing;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    crd::WhenIdle,
    deploy::Deploy,
    policy::{Origin, Policy, PolicyId, Settings},
    target::Target,
};

pub use facts::{Config, ControlPlane, ExtensionFacts, GROUP, KIND, KongFacts};
pub use standing::{Measure, Place, Standing, standing};

/// What the KongPlugins of Kong's operator are called, after their Service's name.
const PLUGIN: &str = "-metrics-prometheus";

/// The extensions of a cluster, and what they come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// As policies: one per extension and namespace of ControlPlanes that name it.
    pub policies: Vec<Policy>,
    /// Each extension, in the order of namespace and name.
    pub known: Vec<Extension>,
}

/// An extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its namespace and name.
    pub id: PolicyId,
    /// ControlPlanes that name it, by themselves or through their Gateway's GatewayConfiguration.
    pub control_planes: Vec<(String, String)>,
    /// What it asks for.
    pub config: Config,
    /// Why Kong's operator may still scrape for it.
    pub scraped: Option<String>,
    /// Positions in [`Extensions::policies`].
    pub policies: Vec<usize>,
}

/// Namespaces and names of the Services that extensions select.
#[must_use]
pub fn selected(facts: &KongFacts) -> BTreeSet<(String, String)> {
    let each = facts.extensions.iter().flat_map(|extension| {
        let planes = facts.control_planes_of(extension);
        let namespaces: BTreeSet<&str> = planes.map(|plane| plane.namespace.as_str()).collect();
        namespaces
            .into_iter()
            .flat_map(|namespace| named(extension, namespace))
    });
    each.collect()
}

/// What extensions come to. `plugged` are Services whose annotation names the plugin of Kong's operator.
#[must_use]
pub fn extensions(facts: &KongFacts, plugged: &BTreeSet<(String, String)>) -> Extensions {
    let mut found = Extensions::default();
    for extension in &facts.extensions {
        let planes: Vec<&ControlPlane> = facts.control_planes_of(extension).collect();
        let mut by_namespace: BTreeMap<&str, Vec<Target>> = BTreeMap::new();
        for plane in &planes {
            let targets = by_namespace.entry(&plane.namespace).or_default();
            for target in plane.targets() {
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        let scraped = scraped(extension, by_namespace.keys().copied(), plugged);
        let first = found.policies.len();
        if extension.config.latency {
            let made = by_namespace.into_iter().filter(|(_, t)| !t.is_empty());
            found.policies.extend(
                made.map(|(home, targets)| policy(extension, home, targets, scraped.is_none())),
            );
        }
        let names = planes.iter().map(|p| (p.namespace.clone(), p.name.clone()));
        found.known.push(Extension {
            id: extension.id.clone(),
            control_planes: names.collect(),
            config: extension.config,
            scraped,
            policies: (first..found.policies.len()).collect(),
        });
    }
    found
}

fn policy(extension: &ExtensionFacts, home: &str, targets: Vec<Target>, alone: bool) -> Policy {
    Policy {
        id: extension.id.clone(),
        origin: Origin::MetricsExtension,
        home: home.to_owned(),
        created: extension.created,
        targets,
        names: Some(named(extension, home).collect()),
        labels: BTreeMap::new(),
        // One series per Service: nothing finer was asked for.
        dimensions: BTreeSet::new(),
        object_labels: Vec::new(),
        when_idle: WhenIdle::Zero,
        kong_compatible: Some(alone),
        max_series: None,
        settings: Settings {
            // Who deploys needs a finalizer and an annotation on an object of its own.
            deploy: Deploy {
                enabled: Some(false),
                assume_wasm: false,
            },
            ..Settings::default()
        },
    }
}

fn named(
    extension: &ExtensionFacts,
    namespace: &str,
) -> impl Iterator<Item = (String, String)> + use<> {
    let namespace = namespace.to_owned();
    let names = extension.names.clone().into_iter();
    names.map(move |name| (namespace.clone(), name))
}

/// Kong's operator says that it has the extension, or has left its plugins behind.
fn scraped<'a>(
    extension: &ExtensionFacts,
    mut namespaces: impl Iterator<Item = &'a str>,
    plugged: &BTreeSet<(String, String)>,
) -> Option<String> {
    if let Some((namespace, name)) = &extension.held_by {
        return Some(format!(
            "its status.controlPlaneRef names {namespace}/{name}, so Kong's operator has it"
        ));
    }
    let left = namespaces.find_map(|namespace| {
        named(extension, namespace).find(|service| plugged.contains(service))
    });
    left.map(|(namespace, name)| {
        format!(
            "Service {namespace}/{name} still names {name}{PLUGIN}, the plugin of Kong's operator, in konghq.com/plugins"
        )
    })
}
