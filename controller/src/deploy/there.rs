//! What is there of ours.

use std::collections::BTreeMap;

use gaugeway_operator::deploy::{APPLIED, GATEWAY, Manifest, ManifestKind, covers};
use gaugeway_wire::GatewayName;
use serde_json::Value;

/// Kind, namespace and name.
pub(super) type Key = (ManifestKind, String, String);

/// All that carries our labels.
#[derive(Debug, Default)]
pub(super) struct There {
    pub(super) objects: BTreeMap<Key, Value>,
    /// Kinds that may not be listed, and what the API server says of them: nothing is known of what is there.
    pub(super) unread: BTreeMap<ManifestKind, String>,
}

impl There {
    pub(super) fn take(&mut self, kind: ManifestKind, object: Value) {
        let key = (
            kind,
            meta(&object, "namespace").to_owned(),
            meta(&object, "name").to_owned(),
        );
        self.objects.insert(key, object);
    }

    pub(super) fn of(&self, manifest: &Manifest) -> Option<&Value> {
        self.objects.get(&key(manifest))
    }

    pub(super) fn has(&self, wanted: ManifestKind) -> bool {
        self.objects.keys().any(|(kind, ..)| *kind == wanted)
    }

    /// What cannot be read of some kinds, in words.
    pub(super) fn unknown(&self, kinds: &[ManifestKind]) -> Option<String> {
        let mut unread = self.unread.iter().filter(|(kind, _)| kinds.contains(kind));
        let (kind, text) = unread.next()?;
        let resource = format!("{}.{}", kind.plural(), kind.group());
        Some(format!("cannot list {resource}: {text}"))
    }

    /// What was written for a gateway, of one kind.
    pub(super) fn for_gateway(&self, wanted: ManifestKind, gateway: &GatewayName) -> &Value {
        let mut all = self.objects.iter();
        let is =
            |kind: ManifestKind, o: &Value| kind == wanted && gateway_of(o) == gateway.as_str();
        let found = all.find(|((kind, ..), object)| is(*kind, object));
        found.map_or(&Value::Null, |(_, object)| object)
    }

    /// The module that a gateway was told of.
    pub(super) fn held_module(&self, gateway: &GatewayName) -> Option<&str> {
        let extension = self.for_gateway(ManifestKind::EnvoyExtensionPolicy, gateway);
        let plugin = self.for_gateway(ManifestKind::WasmPlugin, gateway);
        let envoy = extension["spec"]["wasm"][0]["code"]["http"]["sha256"].as_str();
        envoy.or_else(|| plugin["spec"]["sha256"].as_str())
    }
}

pub(super) fn key(manifest: &Manifest) -> Key {
    (
        manifest.kind,
        manifest.namespace.clone(),
        manifest.name.clone(),
    )
}

/// Whether it was applied as it is now, and nobody changed it since.
pub(super) fn is_applied(held: &Value, manifest: &Manifest) -> bool {
    let hash = |object: &Value| object["metadata"]["annotations"][APPLIED].clone();
    hash(held) == hash(&manifest.object) && covers(held, &manifest.object)
}

pub(super) fn gateway_of(object: &Value) -> &str {
    object["metadata"]["annotations"][GATEWAY]
        .as_str()
        .unwrap_or_default()
}

fn meta<'a>(object: &'a Value, member: &str) -> &'a str {
    object["metadata"][member].as_str().unwrap_or_default()
}
