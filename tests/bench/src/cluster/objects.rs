//! Each object in the size that a cluster's have.

use gaugeway_apiserver::crd;
use serde_json::{Value, json};

use super::{PORT, Place, Write};

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
const TIME: &str = "2026-01-01T00:00:00Z";

/// The Gateway API's kinds that are watched.
pub(super) fn definitions() -> Vec<Write> {
    let kinds = [
        ("Gateway", "gateways"),
        ("HTTPRoute", "httproutes"),
        ("GRPCRoute", "grpcroutes"),
        ("ReferenceGrant", "referencegrants"),
    ];
    let define = |(kind, plural)| {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let object = crd(GATEWAY_GROUP, &["v1"], kind, plural, true);
        Write::Put(format!("{path}/{plural}.{GATEWAY_GROUP}"), object)
    };
    kinds.map(define).into()
}

pub(super) fn service(of: Place) -> Write {
    let app = of.app();
    let [_, a, b, c] = of.service.to_be_bytes();
    let ip = format!("172.{}.{b}.{c}", 16 + a);
    let fields = json!({
        "f:metadata": {"f:annotations": {}, "f:labels": {"f:app.kubernetes.io/name": {}}},
        "f:spec": {"f:ports": {"k:{\"port\":80}": {".": {}, "f:name": {}, "f:port": {}}}, "f:selector": {}},
    });
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": metadata(of, &app, &json!({
            "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": of.namespace(),
        }), &Value::Null, &[("helm", fields)]),
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "selector": {"app.kubernetes.io/name": app},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": PORT}],
        },
    });
    put(of, "api/v1", "services", &app, object)
}

pub(super) fn replica_set(of: Place) -> Write {
    let (name, app) = (of.replica_set(), of.app());
    let labels = json!({"app.kubernetes.io/name": app, "pod-template-hash": "7d9f8b6c5"});
    let fields = json!({
        "f:metadata": {"f:annotations": {}, "f:labels": {}, "f:ownerReferences": {}},
        "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {}},
    });
    let owner = owner("Deployment", &app);
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": metadata(of, &name, &labels, &owner, &[("kube-controller-manager", fields)]),
        "spec": {"replicas": of.shape.endpoints, "selector": {"matchLabels": labels}},
    });
    put(of, "apis/apps/v1", "replicasets", &name, object)
}

/// Its metadata counts; nobody here asks for more.
pub(super) fn pod(of: Place, moves: u32) -> Write {
    let (name, app) = (of.pod(moves), of.app());
    let labels = json!({
        "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": of.namespace(),
        "app.kubernetes.io/version": "1.4.2", "app.kubernetes.io/managed-by": "Helm",
        "pod-template-hash": "7d9f8b6c5",
    });
    let made = json!({
        "f:metadata": {
            "f:generateName": {}, "f:annotations": {".": {}, "f:checksum/config": {}},
            "f:labels": {".": {}, "f:app.kubernetes.io/name": {}, "f:app.kubernetes.io/version": {}},
            "f:ownerReferences": {".": {}, "k:{\"uid\":\"00000000-0000-4000-8000-00000000abcd\"}": {}},
        },
        "f:spec": {
            "f:containers": {"k:{\"name\":\"server\"}": {
                ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:ports": {}, "f:resources": {},
            }},
            "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {},
        },
    });
    let run = json!({"f:status": {
        "f:conditions": {
            "k:{\"type\":\"ContainersReady\"}": {".": {}, "f:status": {}, "f:lastTransitionTime": {}},
            "k:{\"type\":\"Initialized\"}": {".": {}, "f:status": {}, "f:lastTransitionTime": {}},
            "k:{\"type\":\"Ready\"}": {".": {}, "f:status": {}, "f:lastTransitionTime": {}},
        },
        "f:containerStatuses": {}, "f:hostIP": {}, "f:phase": {}, "f:podIP": {}, "f:podIPs": {}, "f:startTime": {},
    }});
    let owner = owner("ReplicaSet", &of.replica_set());
    let managers = [("kube-controller-manager", made), ("kubelet", run)];
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": metadata(of, &name, &labels, &owner, &managers),
        "spec": {"nodeName": of.node(), "containers": [{"name": "server", "image": "registry.example/server:1.4.2"}]},
    });
    put(of, "api/v1", "pods", &name, object)
}

pub(super) fn slice(of: Place, endpoints: impl Iterator<Item = (Place, u32)>) -> Write {
    let (name, app) = (of.slice(), of.app());
    let labels = json!({
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": app,
    });
    let fields = json!({
        "f:addressType": {}, "f:endpoints": {}, "f:ports": {},
        "f:metadata": {"f:generateName": {}, "f:labels": {".": {}, "f:kubernetes.io/service-name": {}}},
    });
    let endpoint = |(of, moves): (Place, u32)| {
        json!({
            "addresses": [of.ip(moves)],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": of.node(), "zone": format!("zone-{}", of.number() % 3),
            "targetRef": {
                "kind": "Pod", "namespace": of.namespace(), "name": of.pod(moves),
                "uid": "00000000-0000-4000-8000-00000000abcd",
            },
        })
    };
    let owner = owner("Service", &app);
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": metadata(of, &name, &labels, &owner, &[("kube-controller-manager", fields)]),
        "addressType": "IPv4", "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
        "endpoints": endpoints.map(endpoint).collect::<Vec<_>>(),
    });
    put(
        of,
        "apis/discovery.k8s.io/v1",
        "endpointslices",
        &name,
        object,
    )
}

pub(super) fn route(of: Place) -> Write {
    let name = of.app();
    let fields = json!({"f:spec": {"f:hostnames": {}, "f:parentRefs": {}, "f:rules": {}}});
    let object = json!({
        "apiVersion": format!("{GATEWAY_GROUP}/v1"), "kind": "HTTPRoute",
        "metadata": metadata(of, &name, &json!({"app.kubernetes.io/name": name}), &Value::Null, &[("helm", fields)]),
        "spec": {
            "hostnames": [format!("{name}.example.com")],
            "parentRefs": [{"group": GATEWAY_GROUP, "kind": "Gateway", "name": "edge"}],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"group": "", "kind": "Service", "name": name, "port": 80, "weight": 1}],
            }],
        },
    });
    let api = format!("apis/{GATEWAY_GROUP}/v1");
    put(of, &api, "httproutes", &name, object)
}

fn put(of: Place, api: &str, plural: &str, name: &str, object: Value) -> Write {
    let namespace = of.namespace();
    Write::Put(
        format!("/{api}/namespaces/{namespace}/{plural}/{name}"),
        object,
    )
}

fn owner(kind: &str, name: &str) -> Value {
    json!([{
        "apiVersion": "apps/v1", "kind": kind, "name": name, "controller": true, "blockOwnerDeletion": true,
        "uid": "00000000-0000-4000-8000-00000000abcd",
    }])
}

fn metadata(
    of: Place,
    name: &str,
    labels: &Value,
    owners: &Value,
    managers: &[(&str, Value)],
) -> Value {
    let managed = managers.iter().map(|(manager, fields)| {
        json!({
            "manager": manager, "operation": "Update", "apiVersion": "v1", "time": TIME,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    });
    let mut metadata = json!({
        "name": name, "namespace": of.namespace(), "labels": labels,
        "annotations": {"checksum/config": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        "managedFields": managed.collect::<Vec<_>>(),
    });
    if !owners.is_null() {
        metadata["ownerReferences"] = owners.clone();
    }
    metadata
}
