//! How what we write is called and marked. A name that joins two parts is a hash of both: `a/b-c` and `a-b/c` would
//! meet in `a-b-c`.

use gaugeway_wire::GatewayName;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Field manager of everything that is applied, and the value of [`MANAGED_BY`].
pub const MANAGER: &str = "gaugeway";
/// Label: [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: the namespace of the controller that wrote it.
pub const INSTANCE: &str = "gaugeway.dev/instance";
/// Annotation: the gateway that it is for.
pub const GATEWAY: &str = "gaugeway.dev/gateway";
/// Annotation: hash of what was applied, to see what is no longer in it.
pub const APPLIED: &str = "gaugeway.dev/applied";
/// Annotation of a LatencyPolicy (any value): takes the filter out of its gateways, and keeps it out.
pub const DETACH: &str = "gaugeway.dev/detach";
/// On policies whose deployment would outlive them.
pub const FINALIZER: &str = "gaugeway.dev/detach";

/// Name of everything that belongs to one gateway, where there is only one of a kind in a namespace; else its name begins
/// so, and goes on with a `-`. 64 bits of a hash, readable in no other way: the annotation [`GATEWAY`] says which.
#[must_use]
pub fn object_name(instance: &str, gateway: &GatewayName) -> String {
    format!("gaugeway-{}", short(&[instance, gateway.as_str()]))
}

/// The first 64 bits of a hash of some parts, in hex.
pub(super) fn short(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // Neither names nor JSON have a zero byte.
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let bytes = hash.finalize();
    bytes.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// Whether a controller of that namespace wrote it.
#[must_use]
pub fn is_ours(object: &Value, instance: &str) -> bool {
    let label = |name: &str| object["metadata"]["labels"][name].as_str();
    label(MANAGED_BY) == Some(MANAGER) && label(INSTANCE) == Some(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_parts_never_meet() {
        let name = |gateway: &str| object_name("i", &GatewayName::try_new(gateway).unwrap());
        assert_ne!(name("a/b-c"), name("a-b/c"));
        assert_eq!(name("a/b-c"), name("a/b-c"));
        assert_ne!(short(&["a", "b"]), short(&["ab", ""]));
        assert_eq!(name("a/b").len(), "gaugeway-".len() + 16);
    }
}
