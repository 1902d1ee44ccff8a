//! Objects of Kong's operator, as its users write them. The operator's tests hold them against the real definitions; the
//! controller's stories tell of the same ones. Without a namespace: whoever uses them says which.

use serde_json::{Value, json};

pub(crate) const GROUP: &str = "gateway-operator.konghq.com";

pub(crate) fn extension(name: &str, services: &[&str], latency: bool) -> Value {
    let names: Vec<Value> = services.iter().map(|s| json!({"name": s})).collect();
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "DataPlaneMetricsExtension",
        "metadata": {"name": name},
        "spec": {
            "serviceSelector": {"matchNames": names},
            "config": {"latency": latency, "bandwidth": true, "statusCode": false, "upstreamHealth": true},
        },
    })
}

fn refs(names: &[&str]) -> Vec<Value> {
    let one =
        |name: &&str| json!({"kind": "DataPlaneMetricsExtension", "group": GROUP, "name": name});
    names.iter().map(one).collect()
}

/// Of version `v1beta1` or `v2beta1`. Owned by a Gateway, with an IngressClass, or neither: `Gateway/edge`, `kong`, ``.
pub(crate) fn control_plane(version: &str, name: &str, of: &str, names: &[&str]) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/{version}"), "kind": "ControlPlane", "metadata": {"name": name},
        "spec": {"extensions": refs(names)},
    });
    if version == "v1beta1" {
        object["spec"]["dataplane"] = json!("dp");
        object["spec"]["deployment"] = json!({});
    } else {
        object["spec"]["dataplane"] = json!({"type": "ref", "ref": {"name": "dp"}});
    }
    match of.split_once('/') {
        Some((kind, owner)) => {
            object["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "name": owner,
                "uid": "00000000-0000-4000-8000-00000000abcd",
            }]);
        }
        None if of.is_empty() => {}
        None => object["spec"]["ingressClass"] = json!(of),
    }
    object
}

/// `member` is `extensions`, or `controlPlaneOptions` as the older guide has it.
pub(crate) fn configuration(version: &str, name: &str, member: &str, names: &[&str]) -> Value {
    let spec = match member {
        "extensions" => json!({"extensions": refs(names)}),
        _ => json!({"controlPlaneOptions": {"extensions": refs(names)}}),
    };
    json!({
        "apiVersion": format!("{GROUP}/{version}"), "kind": "GatewayConfiguration",
        "metadata": {"name": name}, "spec": spec,
    })
}

/// A GatewayClass with that GatewayConfiguration.
pub(crate) fn class(name: &str, namespace: &str, configuration: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name},
        "spec": {"controllerName": "konghq.com/gateway-operator", "parametersRef": {
            "group": GROUP, "kind": "GatewayConfiguration", "namespace": namespace, "name": configuration,
        }},
    })
}
