//! Kubernetes objects written as manifests, changed while the controller watches.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// Every Service here is in this namespace.
pub(crate) const NAMESPACE: &str = "shop";
/// The gateway that all routes belong to.
pub(crate) const GATEWAY: &str = "shop/edge";

/// A directory of manifests.
#[derive(Debug)]
pub(crate) struct Manifests {
    dir: PathBuf,
}

impl Manifests {
    /// An empty one, with the Gateway.
    pub(crate) fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let manifests = Self {
            dir: dir.to_owned(),
        };
        manifests.write("gateway", &[gateway()]);
        manifests
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes (or replaces) a Service with its Pods, and a route `/<name>` to it.
    pub(crate) fn service(&self, name: &str, pods: &[(&str, SocketAddr)]) {
        self.write(&format!("service-{name}"), &service(name, pods));
        self.route(name, &[(name, 1)]);
    }

    /// Writes (or replaces) a route `/<name>`.
    pub(crate) fn route(&self, name: &str, backends: &[(&str, u32)]) {
        self.write(&format!("route-{name}"), &[route(name, backends)]);
    }

    /// Writes a Service without endpoints of its own, reached at its cluster IP.
    pub(crate) fn cluster_ip_service(&self, name: &str, at: SocketAddr) {
        let mut objects = service(name, &[]);
        let ip = at.ip().to_string();
        objects[0]["spec"]["clusterIP"] = ip.clone().into();
        objects[0]["spec"]["clusterIPs"] = json!([ip]);
        objects[0]["spec"]["ports"][0]["port"] = at.port().into();
        self.write(&format!("service-{name}"), &objects);
        self.route(name, &[(name, 1)]);
    }

    /// Writes another Gateway, with a route to a Service that is there already.
    pub(crate) fn second_gateway(&self, name: &str, service: &str) {
        let mut gateway = gateway();
        gateway["metadata"]["name"] = name.into();
        let mut route = route(&format!("{name}-{service}"), &[(service, 1)]);
        route["spec"]["parentRefs"][0]["name"] = name.into();
        self.write(&format!("gateway-{name}"), &[gateway, route]);
    }

    /// Removes a Service and its route.
    pub(crate) fn remove_service(&self, name: &str) {
        fs::remove_file(self.path(&format!("route-{name}"))).unwrap();
        fs::remove_file(self.path(&format!("service-{name}"))).unwrap();
    }

    fn write(&self, file: &str, objects: &[Value]) {
        // JSON is YAML. The fresh file has a name that is no manifest, so a half-written one is never read.
        let text: Vec<_> = objects.iter().map(Value::to_string).collect();
        let fresh = self.dir.join(format!("{file}.fresh"));
        fs::write(&fresh, text.join("\n---\n")).unwrap();
        fs::rename(fresh, self.path(file)).unwrap();
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.join(format!("{file}.yaml"))
    }
}

/// The cluster name that the controller recognises for a Service.
pub(crate) fn cluster_name(service: &str) -> String {
    format!("{NAMESPACE}/{service}/80")
}

pub(crate) fn gateway() -> Value {
    let (namespace, name) = GATEWAY.split_once('/').unwrap();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "gatewayClassName": "envoy",
            "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
        },
    })
}

pub(crate) fn route(name: &str, backends: &[(&str, u32)]) -> Value {
    let backends: Vec<_> = backends
        .iter()
        .map(|(service, weight)| json!({ "name": service, "port": 80, "weight": weight }))
        .collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "parentRefs": [{ "name": "edge" }],
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": format!("/{name}") } }],
                "backendRefs": backends,
            }],
        },
    })
}

/// A Service, a slice for each Pod (their ports differ) and the Pods.
pub(crate) fn service(name: &str, pods: &[(&str, SocketAddr)]) -> Vec<Value> {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "selector": { "app": name },
            "ports": [{ "name": "http", "port": 80, "targetPort": "http" }],
        },
    });
    let slices = pods.iter().map(|(pod, at)| slice(name, pod, *at));
    let objects = pods.iter().map(|(pod, at)| pod_object(name, pod, *at));
    [service].into_iter().chain(slices).chain(objects).collect()
}

fn slice(service: &str, pod: &str, at: SocketAddr) -> Value {
    let family = match at.ip() {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{pod}"),
            "namespace": NAMESPACE,
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": family,
        "ports": [{ "name": "http", "port": at.port(), "protocol": "TCP" }],
        "endpoints": [{
            "addresses": [at.ip().to_string()],
            "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "name": pod, "namespace": NAMESPACE },
        }],
    })
}

fn pod_object(service: &str, pod: &str, at: SocketAddr) -> Value {
    let ip = at.ip().to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": pod, "namespace": NAMESPACE, "labels": { "app": service } },
        "spec": { "containers": [{ "name": "server", "image": "example.invalid/server" }] },
        "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }] },
    })
}
