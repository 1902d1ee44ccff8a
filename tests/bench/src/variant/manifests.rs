//! The Kubernetes objects of the bench: one Gateway, one route, one Service with one Pod.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Writes them into `directory`; the Pod is `upstream`.
pub(super) fn write(directory: &Path, gateway: &str, upstream: SocketAddr) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let text = objects(gateway, upstream)
        .map(|object| object.to_string())
        .join("\n---\n");
    fs::write(directory.join("bench.yaml"), text).context("write the bench's manifests")
}

/// JSON is YAML.
fn objects(gateway: &str, upstream: SocketAddr) -> [Value; 3] {
    let (namespace, gateway) = gateway.split_once('/').unwrap_or(("default", gateway));
    let metadata = |name: &str| json!({ "namespace": namespace, "name": name });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata("upstream"),
        "spec": {
            "selector": { "app": "upstream" },
            "ports": [{ "name": "http", "port": 80, "targetPort": upstream.port() }],
        },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace, "name": "upstream-1",
            "labels": { "kubernetes.io/service-name": "upstream" },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": upstream.port(), "protocol": "TCP" }],
        "endpoints": [{
            "addresses": [upstream.ip().to_string()],
            "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "namespace": namespace, "name": "upstream-0" },
        }],
    });
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata("all"),
        "spec": {
            "parentRefs": [{ "name": gateway }],
            "rules": [{ "backendRefs": [{ "name": "upstream", "port": 80 }] }],
        },
    });
    [service, slice, route]
}
