//! Kinds of objects: those that every cluster has, and those that CustomResourceDefinitions bring.

use serde_json::{Value, json};

/// A kind that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) group: String,
    /// Served versions, the first is stored. All have the same shape here.
    pub(crate) versions: Vec<String>,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
    /// Whether status is written apart.
    pub(crate) status: bool,
}

/// Group, version, kind, plural, namespaced, status.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    bool,
);

const BUILT_IN: [Row; 18] = [
    ("", "v1", "Namespace", "namespaces", false, true),
    ("", "v1", "Node", "nodes", false, true),
    ("", "v1", "Service", "services", true, true),
    ("", "v1", "Pod", "pods", true, true),
    ("", "v1", "ConfigMap", "configmaps", true, false),
    ("", "v1", "Secret", "secrets", true, false),
    ("", "v1", "Event", "events", true, false),
    ("events.k8s.io", "v1", "Event", "events", true, false),
    ("apps", "v1", "StatefulSet", "statefulsets", true, true),
    ("apps", "v1", "ReplicaSet", "replicasets", true, true),
    ("apps", "v1", "Deployment", "deployments", true, true),
    (
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        true,
        false,
    ),
    (
        "networking.k8s.io",
        "v1",
        "Ingress",
        "ingresses",
        true,
        true,
    ),
    (
        "networking.k8s.io",
        "v1",
        "IngressClass",
        "ingressclasses",
        false,
        false,
    ),
    ("coordination.k8s.io", "v1", "Lease", "leases", true, false),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "Role",
        "roles",
        true,
        false,
    ),
    (
        "apiregistration.k8s.io",
        "v1",
        "APIService",
        "apiservices",
        false,
        true,
    ),
    (
        CRD_GROUP,
        "v1",
        "CustomResourceDefinition",
        CRD_PLURAL,
        false,
        true,
    ),
];

pub(crate) const CRD_GROUP: &str = "apiextensions.k8s.io";
pub(crate) const CRD_PLURAL: &str = "customresourcedefinitions";

pub(crate) fn built_in() -> impl Iterator<Item = Resource> {
    let rows = BUILT_IN.into_iter();
    rows.map(
        |(group, version, kind, plural, namespaced, status)| Resource {
            group: group.to_owned(),
            versions: vec![version.to_owned()],
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced,
            status,
        },
    )
}

impl Resource {
    /// What a CustomResourceDefinition brings; `None` if it is none.
    pub(crate) fn of_crd(crd: &Value) -> Option<Self> {
        let spec = crd.get("spec")?;
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let versions = spec.get("versions")?.as_array()?;
        let served = versions.iter().filter(|v| v["served"] == json!(true));
        Some(Self {
            group: text(spec.get("group")?)?,
            versions: served.filter_map(|v| text(&v["name"])).collect(),
            kind: text(&spec["names"]["kind"])?,
            plural: text(&spec["names"]["plural"])?,
            namespaced: spec["scope"] == json!("Namespaced"),
            status: versions
                .iter()
                .any(|v| !v["subresources"]["status"].is_null()),
        })
    }

    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    /// Its rows of an `APIResourceList`.
    pub(crate) fn discovered(&self) -> Vec<Value> {
        let row = |name: String, verbs: &[&str]| {
            json!({
                "name": name, "singularName": self.kind.to_lowercase(), "namespaced": self.namespaced,
                "kind": self.kind, "verbs": verbs,
            })
        };
        let all = [
            "create", "delete", "get", "list", "patch", "update", "watch",
        ];
        let mut rows = vec![row(self.plural.clone(), &all)];
        if self.status {
            rows.push(row(
                format!("{}/status", self.plural),
                &["get", "patch", "update"],
            ));
        }
        rows
    }
}

/// A CustomResourceDefinition that accepts everything, with a status of its own. A real API server takes it as well.
#[must_use]
pub fn crd(group: &str, versions: &[&str], kind: &str, plural: &str, namespaced: bool) -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = |(n, name): (usize, &&str)| {
        json!({
            "name": name, "served": true, "storage": n == 0, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema},
        })
    };
    let versions: Vec<_> = versions.iter().enumerate().map(version).collect();
    let approved = "api-approved.kubernetes.io";
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        // Groups under k8s.io are protected; this is how one says that it is a test.
        "metadata": {"name": format!("{plural}.{group}"), "annotations": {approved: "unapproved, a test's"}},
        "spec": {
            "group": group, "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
            "versions": versions,
        },
    })
}
