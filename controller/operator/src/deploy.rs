//! What a gateway with policies needs to carry the filter: objects that are to exist, and routes that are to name a
//! plugin. A pure function of what the cluster says; a shell applies it.
//!
//! Invariants, each tested over all inputs that are made up:
//! - The filter fails open, whatever the gateway: a gateway that cannot have it serves without it.
//! - No Service is ever touched: a `konghq.com/*` annotation on one takes routes with several backends down.
//! - The module is named by its SHA-256, in its address and beside it.
//! - What is not known for sure changes nothing (`Plan::hold`).

mod dataplane;
mod envoy_gateway;
mod feedback;
mod istio;
mod kong;
mod manifest;
mod names;
mod naming;
mod others;
mod proof;
mod route;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_wire::GatewayName;
use serde_json::Value;

pub use dataplane::{
    INGRESS_TYPE, PodSelector, SERVICE_TYPE, made_for, published_by, publishing, selectors,
};
pub use feedback::{is_taken, refusal};
pub use manifest::{Manifest, ManifestKind, covers};
pub use names::{
    APPLIED, DETACH, FINALIZER, GATEWAY, INSTANCE, MANAGED_BY, MANAGER, is_ours, object_name,
};
pub use naming::{Change, Naming, changes};
pub use proof::{Proof, prove, vouches};
pub use route::{Parent, RouteFacts, RouteId, RouteKind};
pub use tokens::{Edit, PLUGINS, name_plugin, plugins_of};

use crate::{Target, policy::PolicyId};

/// How a gateway takes a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavour {
    /// Envoy Gateway.
    EnvoyGateway,
    /// An Istio ingress or egress gateway.
    Istio,
    /// Kong, behind its ingress controller or its operator.
    Kong,
}

impl Flavour {
    /// By the name that a GatewayClass or an IngressClass gives its controller.
    #[must_use]
    pub fn of(controller: &str) -> Option<Self> {
        match controller {
            "gateway.envoyproxy.io/gatewayclass-controller" => Some(Self::EnvoyGateway),
            "istio.io/gateway-controller" => Some(Self::Istio),
            "konghq.com/kic-gateway-controller"
            | KONG_OPERATOR
            | "ingress-controllers.konghq.com/kong" => Some(Self::Kong),
            _ => None,
        }
    }

    /// Whether the filter is deployed where a policy does not say.
    #[must_use]
    pub const fn default_on(self) -> bool {
        match self {
            Self::EnvoyGateway | Self::Istio => true,
            // A Kong that cannot load it may refuse its whole configuration.
            Self::Kong => false,
        }
    }

    /// Kinds that are written for it.
    #[must_use]
    pub const fn kinds(self) -> &'static [ManifestKind] {
        match self {
            Self::EnvoyGateway => &[
                ManifestKind::ReferenceGrant,
                ManifestKind::HttpRoute,
                ManifestKind::EnvoyPatchPolicy,
                ManifestKind::EnvoyExtensionPolicy,
            ],
            Self::Istio => &[ManifestKind::WasmPlugin],
            Self::Kong => &[ManifestKind::KongPlugin],
        }
    }
}

/// Kong's Gateways have one of two controllers, its Ingresses a third.
pub const KONG_OPERATOR: &str = "konghq.com/gateway-operator";

/// What a gateway's oldest policy says of deploying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deploy {
    /// `None` leaves it to [`Flavour::default_on`].
    pub enabled: Option<bool>,
    /// Kong's data planes can load the filter, whatever their Pods say.
    pub assume_wasm: bool,
}

/// Where the controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its namespace.
    pub namespace: String,
    /// Its Service for filters.
    pub filters: ServicePort,
    /// Its Service for modules.
    pub wasm: ServicePort,
    /// Domain of the cluster's names, such as `cluster.local`.
    pub cluster_domain: String,
}

/// A port of a Service in the controller's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The Service.
    pub name: String,
    /// Its port.
    pub port: u16,
}

impl Installation {
    /// `name.namespace.svc:port`, which every resolver of the cluster finds.
    fn address(&self, service: &ServicePort) -> String {
        format!("{}.{}.svc:{}", service.name, self.namespace, service.port)
    }

    fn module_url(&self, sha256: &str) -> String {
        format!(
            "http://{}/v1/filter/{sha256}.wasm",
            self.address(&self.wasm)
        )
    }
}

/// A policy that is attached to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Which.
    pub id: PolicyId,
    /// This very object.
    pub uid: String,
}

/// A gateway with policies, and what the cluster says of it.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// How its filters call it.
    pub gateway: &'a GatewayName,
    /// The same as a target.
    pub target: &'a Target,
    /// Its policies, the strongest first.
    pub owners: &'a [Owner],
    /// What the strongest says.
    pub deploy: Deploy,
    /// The strongest asks for the dimension `route`.
    pub by_route: bool,
    /// Somebody asked to take it out: see [`DETACH`].
    pub detached: bool,
    /// Its class's controller; `None` if the class is not there.
    pub controller: Option<&'a str>,
    /// Proof of the filter's gateway, where tokens are asked for.
    pub token: Option<&'a str>,
    /// Nobody outside can guess it.
    pub secret: &'a str,
    /// SHA-256 of the module that it is to load; `None` while not every replica serves one.
    pub module: Option<&'a str>,
    /// The Gateway; null for an IngressClass.
    pub object: &'a Value,
    /// Every `EnvoyExtensionPolicy`.
    pub extensions: &'a [&'a Value],
    /// The `EnvoyPatchPolicy` that was written for it, as it is now; null without.
    pub patch: &'a Value,
    /// Every route and Ingress.
    pub routes: &'a [RouteFacts],
    /// Other Gateways of Kong: namespace and name.
    pub kongs: &'a BTreeSet<(String, String)>,
    /// Of an IngressClass: the only namespaces whose Ingresses are attached; every one if `None`.
    pub confined: Option<&'a BTreeSet<String>>,
    /// Whether Kong's data planes can load the filter.
    pub proof: &'a Proof,
}

/// What is to be, for one gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order in which they are applied; taken away in the reverse order.
    pub objects: Vec<Manifest>,
    /// Routes that are to name a plugin, and which.
    pub named: BTreeMap<RouteId, String>,
    /// Leave all that is there for this gateway as it is.
    pub hold: bool,
    /// What to say of it.
    pub deployment: Deployment,
}

/// How a gateway came, or did not come, to its filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Deployment {
    /// Nobody looked: this controller deploys nothing.
    #[default]
    Unmanaged,
    /// It has all that it needs.
    Deployed {
        /// What of the gateway is left out.
        partly: Vec<String>,
        /// What the gateway says against it.
        refused: Option<String>,
    },
    /// It is not.
    Not {
        /// In one word.
        reason: Reason,
        /// And what to do.
        text: String,
    },
}

/// Why a filter is not deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The policy does not ask for it.
    NotDeployed,
    /// No way to this gateway is known.
    Unsupported,
    /// Kong's Pods do not show that they can load it.
    WasmNotProven,
    /// Another policy holds the only place.
    PolicyInTheWay,
    /// The gateway takes no such thing.
    Refused,
    /// An object of that name is somebody else's.
    NotOurs,
    /// The API server refused.
    ApplyFailed,
    /// Somebody took it out.
    Detached,
}

impl Deployment {
    /// In one word, of few; `None` where nobody looked.
    #[must_use]
    pub const fn state(&self) -> Option<&'static str> {
        match self {
            Self::Unmanaged => None,
            Self::Deployed {
                refused: Some(_), ..
            } => Some(Reason::Refused.as_str()),
            Self::Deployed { partly, .. } if !partly.is_empty() => Some("PartiallyDeployed"),
            Self::Deployed { .. } => Some("Deployed"),
            Self::Not { reason, .. } => Some(reason.as_str()),
        }
    }
}

impl Reason {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::NotDeployed,
        Self::Unsupported,
        Self::WasmNotProven,
        Self::PolicyInTheWay,
        Self::Refused,
        Self::NotOurs,
        Self::ApplyFailed,
        Self::Detached,
    ];

    /// As a condition's reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotDeployed => "NotDeployed",
            Self::Unsupported => "Unsupported",
            Self::WasmNotProven => "WasmNotProven",
            Self::PolicyInTheWay => "PolicyInTheWay",
            Self::Refused => "Refused",
            Self::NotOurs => "NotOurs",
            Self::ApplyFailed => "ApplyFailed",
            Self::Detached => "Detached",
        }
    }

    /// Holds even where a filter calls: it is there by other means, or about to go.
    pub(crate) const fn outweighs_workers(self) -> bool {
        matches!(self, Self::WasmNotProven | Self::Detached)
    }
}

impl Plan {
    fn not(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            deployment: Deployment::Not {
                reason,
                text: text.into(),
            },
            ..Self::default()
        }
    }

    /// Leaves all as it is.
    pub fn hold(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            hold: true,
            ..Self::not(reason, text)
        }
    }

    fn deployed(objects: Vec<Manifest>, partly: Vec<String>) -> Self {
        Self {
            objects,
            deployment: Deployment::Deployed {
                partly,
                refused: None,
            },
            ..Self::default()
        }
    }

    /// Whether something of it would outlive its policies if nobody took it away: what is not in their namespace, and
    /// annotations.
    #[must_use]
    pub fn outlives(&self, policy: &PolicyId) -> bool {
        let elsewhere = |m: &Manifest| m.namespace != policy.namespace;
        !self.named.is_empty() || self.objects.iter().any(elsewhere)
    }
}

/// What is to be for a gateway.
#[must_use]
pub fn plan(home: &Installation, subject: &Subject<'_>) -> Plan {
    if subject.detached {
        let text = format!(
            "taken out on demand; it comes back without the annotation {DETACH} on the gateway's policies"
        );
        return Plan::not(Reason::Detached, text);
    }
    let Some(controller) = subject.controller else {
        return Plan::hold(
            Reason::Unsupported,
            "the gateway's class is not there, or may not be read (--gateway-classes names it then)",
        );
    };
    let Some(flavour) = Flavour::of(controller) else {
        return Plan::not(
            Reason::Unsupported,
            format!(
                "nothing is known of how gateways of {controller} take a filter; gaugeway render envoy and gaugeway \
                 render kong print what to paste"
            ),
        );
    };
    if !subject.deploy.enabled.unwrap_or(flavour.default_on()) {
        return Plan::not(
            Reason::NotDeployed,
            "spec.deploy.enabled is off here: switch it on, or paste what gaugeway render prints",
        );
    }
    match flavour {
        Flavour::EnvoyGateway => envoy_gateway::plan(home, subject),
        Flavour::Istio => istio::plan(home, subject),
        Flavour::Kong => kong::plan(home, subject),
    }
}

/// Which module a gateway is to be told of: this controller's own as soon as every replica that may be asked serves it,
/// until then the one that it was told of.
#[must_use]
pub fn module_to_name<'a>(
    own: &'a str,
    served_by_all: bool,
    held: Option<&'a str>,
) -> Option<&'a str> {
    if served_by_all { Some(own) } else { held }
}

/// No module is served by every replica yet, and none was named before.
fn module_awaited() -> Plan {
    Plan::hold(
        Reason::NotDeployed,
        "not every ready replica of the controller serves the filter's module yet",
    )
}

/// Some names, and how many more there are.
pub(crate) fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
