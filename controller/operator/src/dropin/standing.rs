//! What became of an extension, in words and in one word.
//!
//! | state | means |
//! |---|---|
//! | `measured` | its Services are measured |
//! | `partly` | some are: LatencyPolicies, or older extensions, have the rest |
//! | `off` | `config.latency` is false |
//! | `unattached` | no ControlPlane names it |
//! | `no_target` | its ControlPlanes are made for no Gateway and have no IngressClass, or that is not there |
//! | `no_services` | routes reach no Service that it selects |
//! | `overridden` | LatencyPolicies, or older extensions, have every Service that it selects |
//! | `no_wasm` | its data plane cannot load a filter |
//! | `no_workers` | its data plane could, and no filter calls |

use std::collections::BTreeMap;

use gaugeway_wire::GatewayName;

use super::{Config, Extension};
use crate::{
    attach::{Scene, attachments},
    deploy::Proof,
    policy::{Origin, PolicyId},
    status::Attachment,
    target::Target,
};

/// How an extension, or one of its places, is measured. From good to bad: an extension is as its best place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the module's table")]
pub enum Measure {
    Measured,
    Partly,
    NoWorkers,
    NoWasm,
    NoServices,
    Overridden,
    NoTarget,
    Unattached,
    Off,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Measured,
        Self::Partly,
        Self::NoWorkers,
        Self::NoWasm,
        Self::NoServices,
        Self::Overridden,
        Self::NoTarget,
        Self::Unattached,
        Self::Off,
    ];

    /// As a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Partly => "partly",
            Self::NoWorkers => "no_workers",
            Self::NoWasm => "no_wasm",
            Self::NoServices => "no_services",
            Self::Overridden => "overridden",
            Self::NoTarget => "no_target",
            Self::Unattached => "unattached",
            Self::Off => "off",
        }
    }
}

/// What became of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub id: PolicyId,
    /// Namespace and name of the ControlPlanes that name it.
    pub control_planes: Vec<String>,
    /// As its best place.
    pub measure: Measure,
    /// Per Gateway or IngressClass; why there is none where there is none.
    pub places: Vec<Place>,
    /// Why `kong_upstream_latency_ms` is off; it is on if `None`.
    pub scraped: Option<String>,
    /// What it asks for and is not Gaugeway's.
    pub ignored: Vec<&'static str>,
}

/// What became of an extension at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// In one word.
    pub measure: Measure,
    /// In words.
    pub text: String,
}

/// What became of an extension. `first` is the position of the first extension's policy in the scene; `proofs` say of data
/// planes whether they can load a filter.
#[must_use]
pub fn standing(
    extension: &Extension,
    scene: &Scene<'_>,
    first: usize,
    proofs: &BTreeMap<GatewayName, Proof>,
) -> Standing {
    let attached = extension.policies.iter().flat_map(|at| {
        let at = first.saturating_add(*at);
        attachments(scene, at)
    });
    let mut places: Vec<Place> = attached.map(|at| place(&at, scene, proofs)).collect();
    if places.is_empty() {
        places.push(nowhere(extension));
    }
    let best = places.iter().map(|place| place.measure).min();
    let planes = extension.control_planes.iter();
    Standing {
        id: extension.id.clone(),
        control_planes: planes
            .map(|(namespace, name)| format!("{namespace}/{name}"))
            .collect(),
        measure: best.unwrap_or(Measure::Unattached),
        places,
        scraped: extension
            .scraped
            .clone()
            .filter(|_| extension.config.latency),
        ignored: ignored(extension.config),
    }
}

fn ignored(config: Config) -> Vec<&'static str> {
    let asked = [
        (config.bandwidth, "bandwidth"),
        (config.status_code, "statusCode"),
        (config.upstream_health, "upstreamHealth"),
    ];
    let asked = asked.into_iter().filter(|(on, _)| *on);
    asked.map(|(_, member)| member).collect()
}

fn nowhere(extension: &Extension) -> Place {
    let (measure, text) = if extension.control_planes.is_empty() {
        (
            Measure::Unattached,
            "no ControlPlane names it in spec.extensions, and no GatewayConfiguration of a Gateway with a ControlPlane",
        )
    } else if extension.config.latency {
        (
            Measure::NoTarget,
            "its ControlPlane is made for no Gateway, and has no spec.ingressClass",
        )
    } else {
        (Measure::Off, "config.latency is false: it measures nothing")
    };
    Place {
        measure,
        text: text.to_owned(),
    }
}

fn place(at: &Attachment, scene: &Scene<'_>, proofs: &BTreeMap<GatewayName, Proof>) -> Place {
    let name = name(&at.target);
    let proof = at.target.gateway().and_then(|gateway| proofs.get(&gateway));
    let (measure, text) = if !at.found {
        (Measure::NoTarget, "it is not there".to_owned())
    } else if at.won == 0 {
        nothing(at, scene)
    } else if at.workers == 0 {
        silent(proof)
    } else if let Some(other) = &at.older {
        let other = called(other, scene);
        let text = format!("measured, but for Services that {other} has");
        (Measure::Partly, text)
    } else {
        (Measure::Measured, "measured".to_owned())
    };
    Place {
        measure,
        text: format!("{name}: {text}"),
    }
}

fn nothing(at: &Attachment, scene: &Scene<'_>) -> (Measure, String) {
    match &at.older {
        Some(other) => {
            let other = called(other, scene);
            let text = format!("{other} has every Service that it selects");
            (Measure::Overridden, text)
        }
        None => (
            Measure::NoServices,
            "routes reach no Service that it selects, by name in its ControlPlane's namespace"
                .to_owned(),
        ),
    }
}

/// No filter calls: a filter that does is the best proof that there can be one.
fn silent(proof: Option<&Proof>) -> (Measure, String) {
    match proof {
        Some(Proof::Missing(what)) => {
            let text = format!(
                "its data plane cannot load a filter, as Kong 3.11 and later cannot: {}",
                crate::deploy::few(what)
            );
            (Measure::NoWasm, text)
        }
        Some(Proof::Proven | Proof::Assumed) => (
            Measure::NoWorkers,
            "its data plane can load the filter, and none has called: attach it (gaugeway render kong, or a LatencyPolicy \
             with deploy.enabled)"
                .to_owned(),
        ),
        Some(Proof::Unknown(why)) => {
            let text = format!(
                "no filter has called, and whether its data plane can load one is not known: {why}"
            );
            (Measure::NoWorkers, text)
        }
        None => (
            Measure::NoWorkers,
            "no filter has called; its data plane has not been looked at".to_owned(),
        ),
    }
}

/// With its kind. Nothing but a LatencyPolicy or an older extension comes first.
fn called(id: &PolicyId, scene: &Scene<'_>) -> String {
    let mut policies = scene.policies.iter();
    let ours = policies.any(|p| p.id == *id && p.origin == Origin::LatencyPolicy);
    let origin = if ours {
        Origin::LatencyPolicy
    } else {
        Origin::MetricsExtension
    };
    format!("{} {id}", origin.as_str())
}

fn name(target: &Target) -> String {
    match target {
        Target::Gateway { namespace, name } => format!("Gateway {namespace}/{name}"),
        Target::IngressClass { name } => format!("IngressClass {name}"),
    }
}
