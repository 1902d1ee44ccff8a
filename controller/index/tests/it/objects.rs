//! Objects and questions, in few words.

use gaugeway_index::{
    Dimension, Index, Kind, Moment, Object, ObjectId, ObjectLabels, RecordingPolicy, Resolution,
    Services, Shown,
};
use gaugeway_wire::{GatewayName, Target};
use serde_json::{Value, json};

pub(crate) const EDGE: &str = "shop/edge";

pub(crate) fn gateway(name: &str) -> GatewayName {
    GatewayName::try_new(name).unwrap()
}

pub(crate) fn at(seconds: u64) -> Moment {
    Moment(seconds * 1_000_000_000)
}

pub(crate) fn object(kind: Kind, value: &Value) -> Object {
    let text = value.to_string();
    let json = text.as_str();
    match kind {
        Kind::Service => Object::Service(serde_json::from_str(json).unwrap()),
        Kind::EndpointSlice => Object::EndpointSlice(serde_json::from_str(json).unwrap()),
        Kind::Pod => Object::Pod(serde_json::from_value(value["metadata"].clone()).unwrap()),
        Kind::ReplicaSet => {
            Object::ReplicaSet(serde_json::from_value(value["metadata"].clone()).unwrap())
        }
        Kind::HttpRoute => Object::HttpRoute(serde_json::from_str(json).unwrap()),
        Kind::GrpcRoute => Object::GrpcRoute(serde_json::from_str(json).unwrap()),
        Kind::ReferenceGrant => Object::ReferenceGrant(serde_json::from_str(json).unwrap()),
        Kind::Ingress => Object::Ingress(serde_json::from_str(json).unwrap()),
    }
}

fn meta(namespace: &str, name: &str) -> Value {
    json!({"namespace": namespace, "name": name})
}

/// Ports as `name:number` or `number`.
fn ports(ports: &[&str]) -> Value {
    let one = |p: &&str| match p.split_once(':') {
        Some((name, number)) => json!({"name": name, "port": number.parse::<u16>().unwrap()}),
        None => json!({"port": p.parse::<u16>().unwrap()}),
    };
    ports.iter().map(one).collect()
}

pub(crate) fn service(namespace: &str, name: &str, ips: &[&str], of: &[&str]) -> Object {
    object(
        Kind::Service,
        &json!({
            "metadata": {"namespace": namespace, "name": name, "labels": {"team": name}},
            "spec": {"clusterIPs": ips, "ports": ports(of)},
        }),
    )
}

/// Endpoints as `address` or `address=pod`.
pub(crate) fn slice(
    namespace: &str,
    name: &str,
    service: &str,
    of: &[&str],
    endpoints: &[&str],
) -> Object {
    let one = |e: &&str| {
        let (address, pod) = e.split_once('=').unwrap_or((e, ""));
        let mut endpoint = json!({"addresses": [address], "nodeName": "node-1", "zone": "a"});
        if !pod.is_empty() {
            endpoint["targetRef"] = json!({"kind": "Pod", "namespace": namespace, "name": pod});
        }
        endpoint
    };
    object(
        Kind::EndpointSlice,
        &json!({
            "metadata": {
                "namespace": namespace,
                "name": name,
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": ports(of),
            "endpoints": endpoints.iter().map(one).collect::<Vec<_>>(),
        }),
    )
}

/// Owner as `Kind/name`, labels as `key=value`.
pub(crate) fn pod(namespace: &str, name: &str, owner: &str, labels: &[&str]) -> Object {
    owned(Kind::Pod, namespace, name, owner, labels)
}

pub(crate) fn replica_set(namespace: &str, name: &str, owner: &str) -> Object {
    owned(Kind::ReplicaSet, namespace, name, owner, &[])
}

fn owned(kind: Kind, namespace: &str, name: &str, owner: &str, labels: &[&str]) -> Object {
    let mut meta = meta(namespace, name);
    if let Some((kind, name)) = owner.split_once('/') {
        meta["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true,
        }]);
    }
    let labels = labels.iter().map(|l| l.split_once('=').unwrap());
    meta["labels"] = labels.map(|(k, v)| (k.to_owned(), json!(v))).collect();
    object(kind, &json!({"metadata": meta}))
}

/// A backend as `service`, `service:port` or `namespace/service:port`; one list per rule.
pub(crate) fn route(namespace: &str, name: &str, parent: &str, rules: &[&[&str]]) -> Object {
    let backend = |b: &&str| {
        let (target, port) = b.split_once(':').unwrap_or((b, ""));
        let (of, service) = target.split_once('/').unwrap_or((namespace, target));
        let mut backend = json!({"namespace": of, "name": service});
        if !port.is_empty() {
            backend["port"] = json!(port.parse::<u16>().unwrap());
        }
        backend
    };
    let rule = |backends: &&[&str]| json!({"backendRefs": backends.iter().map(backend).collect::<Vec<_>>()});
    let (of, gateway) = parent.split_once('/').unwrap();
    object(
        Kind::HttpRoute,
        &json!({
            "metadata": meta(namespace, name),
            "spec": {
                "parentRefs": [{"namespace": of, "name": gateway}],
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
            },
        }),
    )
}

/// Backends as `service:port`, where the port is a number or a name; one per path.
pub(crate) fn ingress(namespace: &str, name: &str, class: &str, backends: &[&str]) -> Object {
    let path = |b: &&str| {
        let (service, port) = b.split_once(':').unwrap();
        let port = match port.parse::<u16>() {
            Ok(number) => json!({"number": number}),
            Err(_) => json!({"name": port}),
        };
        let service = json!({"name": service, "port": port});
        json!({"path": "/", "pathType": "Prefix", "backend": {"service": service}})
    };
    let paths: Vec<_> = backends.iter().map(path).collect();
    object(
        Kind::Ingress,
        &json!({
            "metadata": meta(namespace, name),
            "spec": {"ingressClassName": class, "rules": [{"http": {"paths": paths}}]},
        }),
    )
}

pub(crate) fn grant(namespace: &str, from: &str, to: Option<&str>) -> Object {
    object(
        Kind::ReferenceGrant,
        &json!({
            "metadata": meta(namespace, "grant"),
            "spec": {
                "from": [{
                    "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": from,
                }],
                "to": [{"group": "", "kind": "Service", "name": to}],
            },
        }),
    )
}

pub(crate) fn id(kind: Kind, namespace: &str, name: &str) -> ObjectId {
    ObjectId {
        kind,
        namespace: namespace.into(),
        name: name.into(),
    }
}

pub(crate) fn index(objects: &[Object]) -> Index {
    recording(RecordingPolicy::default(), objects)
}

pub(crate) fn recording(policy: RecordingPolicy, objects: &[Object]) -> Index {
    let mut index = Index::new(policy);
    for object in objects {
        let changes = index.apply(object, at(0));
        assert_eq!(changes.issues(), []);
    }
    index
}

pub(crate) fn every_dimension() -> RecordingPolicy {
    use Dimension::{Gateway, Node, Pod, Port, Workload, Zone};
    RecordingPolicy {
        services: Services::Every(Shown {
            dimensions: [Port, Pod, Workload, Node, Zone, Gateway]
                .into_iter()
                .collect(),
            object_labels: ObjectLabels::try_new(&["team", "version"]).unwrap().into(),
        }),
        ..RecordingPolicy::default()
    }
}

pub(crate) fn resolve(index: &Index, key: &str, now: Moment) -> Resolution {
    index.resolve_text(&gateway(EDGE), &RecordingPolicy::default(), key, now)
}

/// Labels without names, in the order of names: `namespace pod service port` by default.
pub(crate) fn brief(target: &[u8]) -> String {
    let target = Target::decode(target).unwrap();
    let values = target.labels().iter().map(|l| l.value.as_str());
    values.collect::<Vec<_>>().join(" ")
}

/// Candidates of a key for [`EDGE`], each by [`brief`].
pub(crate) fn owners(index: &Index, key: &str, now: Moment) -> Vec<String> {
    let candidates = resolve(index, key, now).candidates;
    candidates.iter().map(|c| brief(&c.target.bytes)).collect()
}
