//! Our kinds as they stand in the cluster.

mod latency_policy;
mod latency_policy_status;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt as _;

pub use latency_policy::{
    Deploy, Dimension, Histogram, LatencyPolicy, LatencyPolicySpec, ServiceName, ServiceSelector,
    TargetRef, WhenIdle,
};
pub use latency_policy_status::{Ancestor, AncestorRef, LatencyPolicyStatus, Summary};

/// What is to be installed before the controller: `kubectl apply` takes it.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![LatencyPolicy::crd()]
}
