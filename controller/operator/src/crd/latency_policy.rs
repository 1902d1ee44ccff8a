//! `LatencyPolicy`: which Services are measured at which gateways, and what their series show.
//!
//! What a field may be is said three times, on purpose: by the schema (bounds and enumerations), by CEL rules (what a
//! schema cannot say), and by [`crate::Policy::check`] for clusters that skip either. A test holds the last two together.

#![allow(
    unreachable_pub,
    reason = "the derive repeats the structs inside of a block of its own"
)]
#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column names its parts alike"
)]

use std::collections::BTreeMap;

use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LatencyPolicyStatus;

/// Measures the upstream latency of Services at gateways of its namespace, or at those of an IngressClass.
///
/// Of several policies that select the same Service at the same gateway the oldest wins.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gaugeway.dev",
    version = "v1alpha1",
    kind = "LatencyPolicy",
    plural = "latencypolicies",
    shortname = "latpol",
    namespaced,
    status = "LatencyPolicyStatus",
    derive = "PartialEq",
    doc = "Measures the upstream latency of Services at gateways of its namespace, or at those of an IngressClass.",
    // GEP-713: what is attached to a Gateway holds for the routes and backends below it.
    label("gateway.networking.k8s.io/policy", "Inherited"),
    printcolumn(name = "Targets", type_ = "string", json_path = ".status.summary.targets"),
    printcolumn(name = "Services", type_ = "integer", json_path = ".status.selectedServices",
        description = "Services that it measures"),
    printcolumn(name = "Workers", type_ = "integer", json_path = ".status.workers",
        description = "worker VMs of its gateways that report"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.summary.accepted",
        description = "whether it is in force; of several targets the worst"),
    printcolumn(name = "Programmed", type_ = "string", json_path = ".status.summary.programmed",
        description = "whether its Services are measured; of several targets the worst"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    crates(kube_core = "::kube_core")
)]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new("self.targetRefs.all(r, r.kind == 'Gateway') || size(self.targetRefs) == 1")
        .message("an IngressClass stands alone in targetRefs")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencyPolicySpec {
    /// What it is attached to: Gateways of its own namespace, or one IngressClass.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["group".into(), "kind".into(), "name".into()]))]
    pub target_refs: Vec<TargetRef>,
    /// Which Services, of those that the gateway's routes reach; all of them if absent. At an IngressClass only
    /// Services of the policy's own namespace, except for policies in the controller's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selector: Option<ServiceSelector>,
    /// What each series shows beside namespace and Service. Each one multiplies the series.
    #[serde(default = "default_dimensions")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub dimensions: Vec<Dimension>,
    /// Labels of Pods and Services to show as `label_<name>`; the Pod's wins where both have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 317)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub labels: Vec<String>,
    /// How latency is kept. Of several policies at a gateway its oldest decides.
    #[serde(default, skip_serializing_if = "Histogram::is_default")]
    pub histogram: Histogram,
    /// Time between two reports of a worker, 1 s to 1 h, such as `5s`; the host's own default if absent. Of several
    /// policies at a gateway its oldest decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms|us)){1,4}$"))]
    #[x_kube(validation = Rule::new(
        "duration(self) >= duration('1s') && duration(self) <= duration('1h')"
    ).message("a report interval is from 1s to 1h"))]
    pub report_interval: Option<String>,
    /// Series that it makes at most, at all its targets together. Requests that would need a further one are counted in
    /// the series `overflow`. A lower number takes no series away: they go with what they are about. No bound but the
    /// controller's `--max-series` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("format" = "int32"))]
    pub max_series: Option<u32>,
    /// What a Service without requests answers as latency to whoever asks for its windows: 0, or nothing. Its rate,
    /// concurrency and error ratio are 0 either way; an object that nothing is known of never has a number.
    #[serde(default, skip_serializing_if = "WhenIdle::is_default")]
    pub when_idle: WhenIdle,
    /// Also show `kong_upstream_latency_ms` for its Services; as the controller's `--kong-metric` says if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kong_compatible: Option<bool>,
    /// Whether the controller puts the filter into the gateway. Of several policies at a gateway its oldest decides.
    #[serde(default, skip_serializing_if = "Deploy::is_default")]
    pub deploy: Deploy,
}

/// One thing that a policy is attached to.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new(
        "(self.kind == 'Gateway' && self.group == 'gateway.networking.k8s.io') || \
         (self.kind == 'IngressClass' && self.group == 'networking.k8s.io')"
    ).message("a target is a Gateway of gateway.networking.k8s.io or an IngressClass of networking.k8s.io")
)]
#[serde(deny_unknown_fields)]
pub struct TargetRef {
    /// `gateway.networking.k8s.io` or `networking.k8s.io`.
    #[schemars(length(max = 253))]
    pub group: String,
    /// `Gateway` or `IngressClass`.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its name. A Gateway is one of the policy's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Selects Services. With both parts a Service must fit both.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSelector {
    /// One of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub match_names: Option<Vec<ServiceName>>,
    /// With all of these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: Option<BTreeMap<String, String>>,
}

/// Names a Service.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceName {
    /// The policy's own namespace if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// A label, or pair of labels, of each series.
#[derive(
    JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Dimension {
    /// The Service's port.
    Port,
    /// The Pod.
    Pod,
    /// What made the Pod: Deployment, StatefulSet, and so on.
    Workload,
    /// The node.
    Node,
    /// The zone.
    Zone,
    /// The gateway.
    Gateway,
    /// The route's name, for all Services of the gateway if its oldest policy asks for it.
    Route,
}

/// The latency of a Service that nobody asked anything of.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenIdle {
    /// 0: an autoscaler scales down.
    #[default]
    Zero,
    /// None: an autoscaler leaves the size as it is.
    Absent,
}

impl WhenIdle {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How latency is kept.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Histogram {
    /// Resolution of the native histogram, Prometheus's schema: each bucket is 2^(2^-schema) times the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5), extend("format" = "int32"))]
    pub schema: Option<u32>,
    /// Further upper bounds of classic buckets, rising, such as `2500us`, `40ms`, `1s`. All histograms of the
    /// controller get the bounds of all policies, so that they stay exact and can be summed; 64 bounds at most
    /// together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms|us)){1,4}$"))
    )]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new(
            "self.all(b, duration(b) > duration('0s') && duration(b) <= duration('24h'))"
        ).message("a bucket's bound is above 0 and at most 24h"),
        validation = Rule::new("self.map(b, duration(b)).isSorted()").message("bounds rise")
    )]
    pub classic_buckets: Option<Vec<String>>,
}

impl Histogram {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether and how the filter is put into a gateway.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    crates(kube_core = "::kube_core"),
    validation = Rule::new(
        "!has(self.assumeWasm) || !self.assumeWasm || (has(self.enabled) && self.enabled)"
    ).message("assumeWasm needs enabled: true")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deploy {
    /// If absent: on for Envoy Gateway and Istio, off for Kong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Kong only: its data planes can load the filter as a plugin, whatever the image and the settings of their Pods show.
    /// A Kong that cannot may refuse its whole configuration. A dry run of the plugin comes first either way. At an
    /// IngressClass it counts only in a policy of the controller's namespace.
    #[serde(default, skip_serializing_if = "is_false")]
    pub assume_wasm: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Deploy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn default_dimensions() -> Vec<Dimension> {
    vec![Dimension::Port, Dimension::Pod]
}
