//! What is read of the objects of Kong's operator. Both versions of its kinds have what is read here at the same places,
//! but for the data plane, which nothing here depends on. What is not as expected is as if it were absent.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::{
    policy::PolicyId,
    target::{GATEWAY_GROUP, Target},
};

/// Group of the kinds of Kong's operator.
pub const GROUP: &str = "gateway-operator.konghq.com";
/// The extension's kind.
pub const KIND: &str = "DataPlaneMetricsExtension";

/// Services that are read of one extension, at most.
const MAX_NAMES: usize = 4096;
/// References that are read of one object, at most.
const MAX_REFERENCES: usize = 64;

type Name = (String, String);

/// What is known of Kong's operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KongFacts {
    /// In the order of namespace and name.
    pub extensions: Vec<ExtensionFacts>,
    /// Likewise.
    control_planes: Vec<ControlPlane>,
    /// Extensions that a GatewayConfiguration names.
    configurations: BTreeMap<Name, BTreeSet<Name>>,
    /// The GatewayConfiguration of a class.
    classes: BTreeMap<String, Name>,
    /// Of Gateways their class, and a GatewayConfiguration of their own.
    gateways: BTreeMap<Name, (String, Option<Name>)>,
}

/// An extension, as its object has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionFacts {
    /// Namespace and name.
    pub id: PolicyId,
    /// Seconds since 1970.
    pub created: i64,
    /// Names of Services.
    pub names: BTreeSet<String>,
    /// What it asks for.
    pub config: Config,
    /// The ControlPlane that Kong's operator has associated it with.
    pub held_by: Option<Name>,
}

/// What an extension asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "their members, one by one")]
pub struct Config {
    /// Latencies: the one thing that is ours.
    pub latency: bool,
    /// Bytes.
    pub bandwidth: bool,
    /// Single status codes.
    pub status_code: bool,
    /// Health of upstream targets.
    pub upstream_health: bool,
}

/// A ControlPlane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    extensions: BTreeSet<Name>,
    gateways: BTreeSet<String>,
    ingress_class: Option<String>,
}

impl KongFacts {
    /// Of objects of these kinds, whatever version they are of. Those that are being deleted are gone.
    #[must_use]
    pub fn of(
        extensions: &[Value],
        control_planes: &[Value],
        configurations: &[Value],
        classes: &[Value],
        gateways: &[Value],
    ) -> Self {
        let mut extensions: Vec<_> = living(extensions).filter_map(extension).collect();
        extensions.sort_by(|a, b| a.id.cmp(&b.id));
        let mut planes: Vec<_> = living(control_planes).filter_map(control_plane).collect();
        planes.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let configuration = |object: &Value| {
            let spec = &object["spec"];
            let own = references(object, &spec["extensions"]);
            let older = references(object, &spec["controlPlaneOptions"]["extensions"]);
            Some((name_of(object)?, own.chain(older).collect()))
        };
        let class = |object: &Value| {
            let (_, name) = name_of(object)?;
            Some((name, parameters(&object["spec"]["parametersRef"], None)?))
        };
        let gateway = |object: &Value| {
            let spec = &object["spec"];
            let (namespace, name) = name_of(object)?;
            let own = parameters(&spec["infrastructure"]["parametersRef"], Some(&namespace));
            Some(((namespace, name), (text(&spec["gatewayClassName"])?, own)))
        };
        Self {
            extensions,
            control_planes: planes,
            configurations: living(configurations).filter_map(configuration).collect(),
            classes: living(classes).filter_map(class).collect(),
            gateways: living(gateways).filter_map(gateway).collect(),
        }
    }

    /// ControlPlanes that name an extension: themselves, or through the GatewayConfiguration of the Gateway that they are
    /// made for. Kong's operator copies the latter into the former, when it gets to it.
    pub(super) fn control_planes_of(
        &self,
        extension: &ExtensionFacts,
    ) -> impl Iterator<Item = &ControlPlane> {
        let id = (extension.id.namespace.clone(), extension.id.name.clone());
        self.control_planes.iter().filter(move |plane| {
            let mut gateways = plane.gateways.iter();
            plane.extensions.contains(&id)
                || gateways.any(|name| {
                    let gateway = (plane.namespace.clone(), name.clone());
                    self.configured(&gateway).is_some_and(|e| e.contains(&id))
                })
        })
    }

    /// What the GatewayConfiguration of a Gateway names: its own before its class's.
    fn configured(&self, gateway: &Name) -> Option<&BTreeSet<Name>> {
        let (class, own) = self.gateways.get(gateway)?;
        self.configurations
            .get(own.as_ref().or_else(|| self.classes.get(class))?)
    }
}

impl ControlPlane {
    /// What it serves: the Gateways that own it, and the Ingresses of its class.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        let gateways = self.gateways.iter().map(|name| Target::Gateway {
            namespace: self.namespace.clone(),
            name: name.clone(),
        });
        let class = self.ingress_class.iter().cloned();
        gateways.chain(class.map(|name| Target::IngressClass { name }))
    }
}

fn living(objects: &[Value]) -> impl Iterator<Item = &Value> {
    let lives = |object: &&Value| object["metadata"]["deletionTimestamp"].is_null();
    objects.iter().filter(lives)
}

fn extension(object: &Value) -> Option<ExtensionFacts> {
    let (namespace, name) = name_of(object)?;
    let spec = &object["spec"];
    let on = |member: &str| spec["config"][member] == true;
    let names = spec["serviceSelector"]["matchNames"].as_array();
    let names = names.into_iter().flatten().take(MAX_NAMES);
    let held_by = &object["status"]["controlPlaneRef"];
    let created = object["metadata"]["creationTimestamp"].as_str();
    let created = created.and_then(|time| time.parse::<Timestamp>().ok());
    Some(ExtensionFacts {
        // The youngest of all when it does not say.
        created: created.map_or(i64::MAX, Timestamp::as_second),
        names: names.filter_map(|entry| text(&entry["name"])).collect(),
        config: Config {
            latency: on("latency"),
            bandwidth: on("bandwidth"),
            status_code: on("statusCode"),
            upstream_health: on("upstreamHealth"),
        },
        held_by: text(&held_by["name"]).map(|name| {
            let of = text(&held_by["namespace"]);
            (of.unwrap_or_else(|| namespace.clone()), name)
        }),
        id: PolicyId { namespace, name },
    })
}

fn control_plane(object: &Value) -> Option<ControlPlane> {
    let (namespace, name) = name_of(object)?;
    let owners = object["metadata"]["ownerReferences"].as_array();
    let is_gateway = |owner: &&Value| {
        let group = owner["apiVersion"].as_str().and_then(|v| v.split_once('/'));
        owner["kind"] == "Gateway" && group.is_some_and(|(group, _)| group == GATEWAY_GROUP)
    };
    let owners = owners.into_iter().flatten().filter(is_gateway);
    let spec = &object["spec"];
    Some(ControlPlane {
        extensions: references(object, &spec["extensions"]).collect(),
        gateways: owners.filter_map(|owner| text(&owner["name"])).collect(),
        ingress_class: text(&spec["ingressClass"]),
        namespace,
        name,
    })
}

/// Extensions of our kind in a list of references. One without a namespace is in the namespace of whoever names it.
fn references<'a>(from: &'a Value, list: &'a Value) -> impl Iterator<Item = Name> + use<'a> {
    let home = from["metadata"]["namespace"].as_str().unwrap_or_default();
    let list = list.as_array().into_iter().flatten().take(MAX_REFERENCES);
    list.filter(|r| r["kind"] == KIND && (r["group"].is_null() || r["group"] == GROUP))
        .filter_map(move |r| {
            let namespace = text(&r["namespace"]).unwrap_or_else(|| home.to_owned());
            Some((namespace, text(&r["name"])?))
        })
}

/// A reference to a GatewayConfiguration.
fn parameters(reference: &Value, home: Option<&str>) -> Option<Name> {
    if reference["group"] != GROUP || reference["kind"] != "GatewayConfiguration" {
        return None;
    }
    let namespace = text(&reference["namespace"]).or_else(|| home.map(str::to_owned))?;
    Some((namespace, text(&reference["name"])?))
}

/// Namespace (empty where there is none) and name.
fn name_of(object: &Value) -> Option<Name> {
    let meta = &object["metadata"];
    Some((
        text(&meta["namespace"]).unwrap_or_default(),
        text(&meta["name"])?,
    ))
}

fn text(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
}
