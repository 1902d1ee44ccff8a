//! The JSON API's answers. `docs/openapi.json` is generated from them.
//!
//! **Invariant**: what is not known is absent, never 0 and never null. (An idle object is known: its latency is 0 unless its
//! policy says otherwise.)

use std::collections::BTreeMap;

use gaugeway_aggregate::{Standing, Unknown};
use gaugeway_wire::UnixNanos;
use schemars::JsonSchema;
use serde::Serialize;

/// Services that a gateway routes to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceList {
    /// The window that all signals are of.
    pub(crate) window: &'static str,
    /// In the order of namespace and name.
    pub(crate) services: Vec<Service>,
}

/// A Service.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// What it did.
    #[serde(flatten)]
    pub(crate) signals: Signals,
}

/// A Service over all windows, with its Pods and gateways.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceDetail {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// By window: `15s`, `30s`, `60s`, `5m`.
    pub(crate) windows: BTreeMap<&'static str, Signals>,
    /// The window that Pods and gateways are of.
    pub(crate) window: &'static str,
    /// The Pods that its EndpointSlices list, idle ones too. Their signals are over all Services that share them.
    pub(crate) pods: Vec<PodOf>,
    /// Its ports that had requests within the last five minutes: what the backends of routes name.
    pub(crate) backends: Vec<BackendOf>,
    /// The gateways that route to it.
    pub(crate) gateways: Vec<GatewayOf>,
}

/// Workloads that have Pods.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkloadList {
    /// The window that all signals are of.
    pub(crate) window: &'static str,
    /// In the order of kind and name.
    pub(crate) workloads: Vec<Workload>,
}

/// What made Pods, such as a Deployment.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workload {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its kind, such as `Deployment`.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    /// What its Pods did together, those that are gone too.
    #[serde(flatten)]
    pub(crate) signals: Signals,
}

/// A workload over all windows, with its Pods.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkloadDetail {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its kind, such as `Deployment`.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    /// By window: `15s`, `30s`, `60s`, `5m`.
    pub(crate) windows: BTreeMap<&'static str, Signals>,
    /// The window that Pods are of.
    pub(crate) window: &'static str,
    /// Its Pods, idle ones and those that went within the longest window too.
    pub(crate) pods: Vec<PodOf>,
}

/// A Pod of a Service or workload.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodOf {
    /// Its name.
    pub(crate) name: String,
    /// What it did.
    #[serde(flatten)]
    pub(crate) signals: Signals,
}

/// A gateway of a Service.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayOf {
    /// Namespace and name, or `ingressclass:NAME`.
    pub(crate) name: String,
    /// Whether its policy selects the Service.
    pub(crate) selects: bool,
    /// What it told of the window.
    pub(crate) standing: Stand,
    /// What the Service did over this gateway.
    #[serde(flatten)]
    pub(crate) signals: Signals,
}

/// A port of a Service.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BackendOf {
    /// Its name or number; absent where the policy's dimensions leave the port out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<String>,
    /// What the Service did at this port.
    #[serde(flatten)]
    pub(crate) signals: Signals,
}

/// Gateways.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayList {
    /// The window that all standings are of.
    pub(crate) window: &'static str,
    /// In the order of their names.
    pub(crate) gateways: Vec<Gateway>,
}

/// A gateway.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Gateway {
    /// Namespace and name, or `ingressclass:NAME`.
    pub(crate) name: String,
    /// What it told of the window.
    pub(crate) standing: Stand,
    /// Worker VMs that hold a subscription to the mapping.
    pub(crate) worker_vms: usize,
}

/// What an object did in a window.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Signals {
    /// Whether anything is known.
    pub(crate) state: State,
    /// Why nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Requests per second, whatever their outcome; absent when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_second: Option<f64>,
    /// Requests that waited for an answer at a time, on average: time waited per second. Absent when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<f64>,
    /// Share of requests answered with 5xx or by no upstream at all; 0 when idle, absent when unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error_ratio: Option<f64>,
    /// Upstream latency. Without requests 0, or absent if the policy says `whenIdle: Absent`; absent also when no request
    /// had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_seconds: Option<Latency>,
}

/// Upstream latency in seconds. Quantiles are within the native histogram's resolution.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "quantiles")]
pub(crate) struct Latency {
    pub(crate) average: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p90: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p95: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<f64>,
}

/// Whether anything is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    /// It had requests.
    Active,
    /// It had none, and all gateways that would know told so.
    Idle,
    /// Nothing can be said; `reason` says why.
    Unknown,
}

/// What a gateway told of a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(
    tag = "state",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(crate) enum Stand {
    /// All of it.
    Covers,
    /// It has been reporting for less than the window.
    Young {
        /// For how long.
        reporting_seconds: f64,
    },
    /// It is overdue.
    Silent {
        /// Since the end of its last report.
        silent_seconds: f64,
    },
    /// It did not report within the last ten minutes.
    Absent,
}

impl Signals {
    pub(super) fn unknown(why: &Unknown) -> Self {
        Self {
            state: State::Unknown,
            reason: Some(why.to_string()),
            requests_per_second: None,
            concurrency: None,
            error_ratio: None,
            latency_seconds: None,
        }
    }
}

impl Latency {
    /// Of an idle object whose policy wants a number.
    pub(super) const fn zero() -> Self {
        Self {
            average: 0.0,
            p50: Some(0.0),
            p90: Some(0.0),
            p95: Some(0.0),
            p99: Some(0.0),
        }
    }
}

impl Stand {
    pub(super) fn of(standing: Option<Standing>, now: UnixNanos) -> Self {
        let ago = |at| {
            let age = now.since(at).unwrap_or_default();
            std::time::Duration::from_nanos(age.0).as_secs_f64()
        };
        match standing {
            Some(Standing::Covers) => Self::Covers,
            Some(Standing::Young(since)) => Self::Young {
                reporting_seconds: ago(since),
            },
            Some(Standing::Silent(until)) => Self::Silent {
                silent_seconds: ago(until),
            },
            None => Self::Absent,
        }
    }
}
