//! Objects as they travel, without what nobody here reads. Who manages which field is often the most of an object, and
//! would be taken apart into small pieces only to be dropped.

use std::collections::BTreeMap;

use gaugeway_index::object;
use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery, networking::v1 as net},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let read = Metadata::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: read.name,
        namespace: read.namespace,
        resource_version: read.resource_version,
        labels: read.labels,
        annotations: read.annotations,
        owner_references: read.owner_references,
        ..ObjectMeta::default()
    })
}

/// Nothing else is read of these.
#[derive(Debug, Deserialize)]
pub(super) struct MetadataOnly {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
}

#[derive(Debug, Deserialize)]
pub(super) struct Service {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    spec: Option<core::ServiceSpec>,
    status: Option<core::ServiceStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointSlice {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    address_type: String,
    endpoints: Option<Vec<discovery::Endpoint>>,
    ports: Option<Vec<discovery::EndpointPort>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ingress {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    spec: Option<net::IngressSpec>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Route {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: object::RouteSpec,
}

impl From<Service> for Box<core::Service> {
    fn from(read: Service) -> Self {
        Self::new(core::Service {
            metadata: read.metadata,
            spec: read.spec,
            status: read.status,
        })
    }
}

impl From<EndpointSlice> for Box<discovery::EndpointSlice> {
    fn from(read: EndpointSlice) -> Self {
        Self::new(discovery::EndpointSlice {
            metadata: read.metadata,
            address_type: read.address_type,
            endpoints: read.endpoints,
            ports: read.ports,
        })
    }
}

impl From<Ingress> for Box<net::Ingress> {
    fn from(read: Ingress) -> Self {
        Self::new(net::Ingress {
            metadata: read.metadata,
            spec: read.spec,
            status: None,
        })
    }
}

impl From<Route> for Box<object::Route> {
    fn from(read: Route) -> Self {
        Self::new(object::Route {
            metadata: read.metadata,
            spec: read.spec,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(rest: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "x/v1", "kind": "X",
            "metadata": {
                "name": "a", "namespace": "shop", "resourceVersion": "7", "uid": "u", "generation": 3,
                "labels": {"app": "cart"}, "annotations": {"kubernetes.io/ingress.class": "kong"},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-7", "uid": "v", "controller": true,
                }],
                "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {"f:phase": {}}}}],
            },
        });
        for (name, value) in rest.as_object().into_iter().flatten() {
            object[name] = value.clone();
        }
        object
    }

    /// What the whole type reads, of metadata what the index looks at.
    fn whole<T: for<'de> Deserialize<'de>>(object: &Value) -> T {
        let mut object = object.clone();
        let metadata = object["metadata"].as_object_mut().unwrap();
        for unread in ["uid", "generation", "managedFields"] {
            metadata.remove(unread);
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_is_read_is_what_the_whole_object_says() {
        let service = object(&json!({
            "spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"name": "http", "port": 80}], "type": "ClusterIP"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        }));
        let read: Service = serde_json::from_value(service.clone()).unwrap();
        assert_eq!(
            Box::<core::Service>::from(read),
            whole(&without_type(&service))
        );
        let slice = object(&json!({
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{
                "addresses": ["10.0.0.1"], "conditions": {"ready": false, "terminating": true},
                "nodeName": "n", "zone": "z", "targetRef": {"kind": "Pod", "name": "a"},
            }],
        }));
        let read: EndpointSlice = serde_json::from_value(slice.clone()).unwrap();
        assert_eq!(
            Box::<discovery::EndpointSlice>::from(read),
            whole(&without_type(&slice))
        );
        let ingress = object(&json!({
            "spec": {"ingressClassName": "kong", "rules": [{"http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "cart", "port": {"number": 80}}},
            }]}}]},
        }));
        let read: Ingress = serde_json::from_value(ingress.clone()).unwrap();
        assert_eq!(
            Box::<net::Ingress>::from(read),
            whole(&without_type(&ingress))
        );
        let route = object(&json!({
            "spec": {
                "parentRefs": [{"name": "edge"}], "hostnames": ["shop.example"],
                "rules": [{"backendRefs": [{"name": "cart", "port": 80, "weight": 2}]}],
            },
        }));
        let read: Route = serde_json::from_value(route.clone()).unwrap();
        assert_eq!(Box::<object::Route>::from(read), whole(&route));
        let pod: MetadataOnly = serde_json::from_value(object(&json!({}))).unwrap();
        let expected: object::Route = whole(&object(&json!({})));
        assert_eq!(pod.metadata, expected.metadata);
    }

    /// The client's types insist on their own.
    fn without_type(object: &Value) -> Value {
        let mut object = object.clone();
        for name in ["apiVersion", "kind"] {
            object.as_object_mut().unwrap().remove(name);
        }
        object
    }
}
