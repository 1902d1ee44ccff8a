//! An object that is to exist.

use serde_json::{Value, json};

use super::{
    Installation, Subject,
    names::{self, APPLIED, GATEWAY, INSTANCE, MANAGED_BY, MANAGER},
};

/// Kinds that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManifestKind {
    /// `ReferenceGrant`.
    ReferenceGrant,
    /// `HTTPRoute`.
    HttpRoute,
    /// `EnvoyPatchPolicy`.
    EnvoyPatchPolicy,
    /// `EnvoyExtensionPolicy`.
    EnvoyExtensionPolicy,
    /// `WasmPlugin`.
    WasmPlugin,
    /// `KongPlugin`.
    KongPlugin,
}

/// An object that is to exist, as it is applied. Has no nulls and names every member that it means, so that a server-side
/// apply owns exactly these.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its kind.
    pub kind: ManifestKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// All of it.
    pub object: Value,
}

impl ManifestKind {
    /// All, in the order in which they are applied: what is named comes before what names it.
    pub const ALL: [Self; 6] = [
        Self::ReferenceGrant,
        Self::HttpRoute,
        Self::EnvoyPatchPolicy,
        Self::EnvoyExtensionPolicy,
        Self::WasmPlugin,
        Self::KongPlugin,
    ];

    /// As in `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReferenceGrant => "ReferenceGrant",
            Self::HttpRoute => "HTTPRoute",
            Self::EnvoyPatchPolicy => "EnvoyPatchPolicy",
            Self::EnvoyExtensionPolicy => "EnvoyExtensionPolicy",
            Self::WasmPlugin => "WasmPlugin",
            Self::KongPlugin => "KongPlugin",
        }
    }

    /// As in a path.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::ReferenceGrant => "referencegrants",
            Self::HttpRoute => "httproutes",
            Self::EnvoyPatchPolicy => "envoypatchpolicies",
            Self::EnvoyExtensionPolicy => "envoyextensionpolicies",
            Self::WasmPlugin => "wasmplugins",
            Self::KongPlugin => "kongplugins",
        }
    }

    /// Its API group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::ReferenceGrant | Self::HttpRoute => "gateway.networking.k8s.io",
            Self::EnvoyPatchPolicy | Self::EnvoyExtensionPolicy => "gateway.envoyproxy.io",
            Self::WasmPlugin => "extensions.istio.io",
            Self::KongPlugin => "configuration.konghq.com",
        }
    }

    /// The only version that is written and read.
    #[must_use]
    pub const fn versions(self) -> &'static [&'static str; 1] {
        match self {
            Self::ReferenceGrant => &["v1beta1"],
            Self::HttpRoute | Self::KongPlugin => &["v1"],
            Self::EnvoyPatchPolicy | Self::EnvoyExtensionPolicy | Self::WasmPlugin => &["v1alpha1"],
        }
    }

    /// Likewise.
    #[must_use]
    pub const fn version(self) -> &'static str {
        let [version] = *self.versions();
        version
    }
}

impl Manifest {
    /// Of one gateway, the only one of its kind in a namespace. `body` is what stands beside the metadata.
    pub(super) fn new(
        home: &Installation,
        subject: &Subject<'_>,
        kind: ManifestKind,
        namespace: &str,
        body: Value,
    ) -> Self {
        let name = names::object_name(&home.namespace, subject.gateway);
        Self::named(home, subject, kind, (namespace, name), body)
    }

    /// Likewise, one of several.
    pub(super) fn named(
        home: &Installation,
        subject: &Subject<'_>,
        kind: ManifestKind,
        (namespace, name): (&str, String),
        body: Value,
    ) -> Self {
        let mut object = body;
        object["apiVersion"] = json!(format!("{}/{}", kind.group(), kind.version()));
        object["kind"] = json!(kind.as_str());
        object["metadata"] = json!({
            "name": name,
            "namespace": namespace,
            "labels": {MANAGED_BY: MANAGER, INSTANCE: home.namespace},
            "annotations": {GATEWAY: subject.gateway.as_str()},
        });
        let owners: Vec<Value> = subject
            .owners
            .iter()
            .filter(|owner| owner.id.namespace == namespace)
            .map(|owner| {
                json!({
                    "apiVersion": "gaugeway.dev/v1alpha1", "kind": "LatencyPolicy",
                    "name": owner.id.name, "uid": owner.uid,
                })
            })
            .collect();
        if !owners.is_empty() {
            object["metadata"]["ownerReferences"] = json!(owners);
        }
        let applied = names::short(&[&object.to_string()]);
        object["metadata"]["annotations"][APPLIED] = json!(applied);
        Self {
            kind,
            namespace: namespace.to_owned(),
            name,
            object,
        }
    }
}

/// Whether all that is wanted is there. What others, and defaults, added does not matter.
#[must_use]
pub fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| there.get(key).is_some_and(|held| covers(held, value))),
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(t, w)| covers(t, w))
        }
        (there, wanted) => there == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_does_not_matter_and_what_is_missing_does() {
        let wanted = json!({"a": {"b": [{"c": 1}]}, "d": "e"});
        let there = json!({"a": {"b": [{"c": 1, "default": 2}], "x": 0}, "d": "e", "status": {}});
        assert!(covers(&there, &wanted));
        for other in [
            json!({"a": {"b": [{"c": 2}]}, "d": "e"}),
            json!({"a": {"b": []}, "d": "e"}),
            json!({"a": {"b": [{"c": 1}, {"c": 1}]}, "d": "e"}),
            json!({"d": "e"}),
        ] {
            assert!(!covers(&other, &wanted), "{other}");
        }
    }
}
