//! Objects, in few words. Real API servers take them as well.

use serde_json::{Value, json};

/// With one TCP port `http`, 80. Headless: a real cluster gives virtual addresses from a range of its own.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
}

/// Endpoints as `address=pod`.
pub(crate) fn slice(name: &str, service: &str, endpoints: &[&str]) -> Value {
    let one = |e: &&str| {
        let (address, pod) = e.split_once('=').unwrap();
        json!({"addresses": [address], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "name": pod}, "nodeName": "node-1", "zone": "zone-a"})
    };
    let family = if endpoints.iter().any(|e| e.contains(':')) {
        "IPv6"
    } else {
        "IPv4"
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": family, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.iter().map(one).collect::<Vec<_>>(),
    })
}

/// Made by `owner`, as the cluster has it: a real one's garbage collector looks whether it is there. On a node, so that
/// an owner which has made one itself meanwhile keeps this one.
pub(crate) fn pod(name: &str, owner: &Value, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "ownerReferences": owned_by(owner)},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "none.invalid/none"}]},
    })
}

/// Of one Pod, which the story makes itself; made by `owner`, as the cluster has it.
pub(crate) fn replica_set(name: &str, owner: &Value, app: &str) -> Value {
    let mut set = workload("ReplicaSet", name, app, &json!({"replicas": 1}));
    set["metadata"]["ownerReferences"] = owned_by(owner);
    set
}

/// One that makes nothing by itself.
pub(crate) fn deployment(name: &str) -> Value {
    workload(
        "Deployment",
        name,
        name,
        &json!({"replicas": 1, "paused": true}),
    )
}

/// One that makes nothing by itself.
pub(crate) fn stateful_set(name: &str) -> Value {
    workload(
        "StatefulSet",
        name,
        name,
        &json!({"replicas": 0, "serviceName": name}),
    )
}

fn workload(kind: &str, name: &str, app: &str, spec: &Value) -> Value {
    let labels = json!({"app": app});
    let mut whole = spec.clone();
    whole["selector"] = json!({"matchLabels": labels});
    whole["template"] = json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "none.invalid/none"}]},
    });
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": labels},
        "spec": whole,
    })
}

fn owned_by(owner: &Value) -> Value {
    json!([{"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": true,
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}])
}

/// Of Gateway `edge`, with one rule and these backends, each port 80.
pub(crate) fn route(kind: &str, name: &str, backends: &[&str]) -> Value {
    let backends: Vec<_> = backends
        .iter()
        .map(|b| json!({"name": b, "port": 80}))
        .collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": backends}]},
    })
}

pub(crate) fn ingress(name: &str, class: &str, service: &str) -> Value {
    let backend = json!({"service": {"name": service, "port": {"name": "http"}}});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
        "spec": {"ingressClassName": class, "rules": [{
            "host": "shop.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
        }]},
    })
}

/// A Gateway of a class that nobody runs.
pub(crate) fn gateway(name: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": name},
        "spec": {"gatewayClassName": "none", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    })
}

/// A LatencyPolicy for a Gateway, with these members of its spec beside.
pub(crate) fn policy(name: &str, gateway: &str, spec: &Value) -> Value {
    let mut whole = json!({
        "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway}],
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({
        "apiVersion": "gaugeway.dev/v1alpha1", "kind": "LatencyPolicy", "metadata": {"name": name},
        "spec": whole,
    })
}
