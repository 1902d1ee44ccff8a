//! Makes policies.

use gaugeway_operator::{Policy, crd::LatencyPolicy};
use serde_json::{Value, json};

/// An object of this spec, `shop/NAME`, of an age in seconds since 1970.
pub(crate) fn object(name: &str, created: i64, spec: &Value) -> LatencyPolicy {
    let time = k8s_openapi::jiff::Timestamp::from_second(created).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "gaugeway.dev/v1alpha1",
        "kind": "LatencyPolicy",
        "metadata": {
            "namespace": "shop", "name": name, "generation": 3, "creationTimestamp": time.to_string(),
        },
        "spec": spec,
    }))
    .unwrap()
}

pub(crate) fn gateway(name: &str) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name})
}

pub(crate) fn class(name: &str) -> Value {
    json!({"group": "networking.k8s.io", "kind": "IngressClass", "name": name})
}

/// A policy for Gateways.
pub(crate) fn policy(name: &str, created: i64, gateways: &[&str]) -> Policy {
    let refs: Vec<Value> = gateways.iter().map(|name| gateway(name)).collect();
    Policy::check(&object(name, created, &json!({"targetRefs": refs}))).unwrap()
}
