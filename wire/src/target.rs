//! Targets: what an upstream address belongs to, by labels, and their fingerprints.

use alloc::{string::String, vec::Vec};

use crate::DecodeError;

/// 64-bit name of a target: XXH3-64 of its canonical encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

/// What kind of thing a target is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// A Kubernetes object, by its labels.
    #[default]
    Kubernetes,
    /// An address that no selected Service owns.
    Unknown,
    /// Counts that could not have an entry of their own.
    Overflow,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// One of [`names`], or `label_` + a sanitised object label.
    pub name: String,
    /// Its value, bounded UTF-8.
    pub value: String,
}

/// Names of the labels a target can have.
pub mod names {
    /// The Service's namespace.
    pub const NAMESPACE: &str = "kubernetes_namespace";
    /// The Service's name.
    pub const SERVICE: &str = "kubernetes_service";
    /// The Service port: its name, or its number where it has none.
    pub const SERVICE_PORT: &str = "kubernetes_service_port";
    /// The Pod's name.
    pub const POD: &str = "kubernetes_pod";
    /// Kind of the workload that owns the Pod.
    pub const WORKLOAD_KIND: &str = "kubernetes_workload_kind";
    /// Name of the workload that owns the Pod.
    pub const WORKLOAD: &str = "kubernetes_workload";
    /// The node.
    pub const NODE: &str = "kubernetes_node";
    /// The zone.
    pub const ZONE: &str = "topology_zone";
    /// The gateway.
    pub const GATEWAY: &str = "gateway";
    /// The route; comes with the series, not with the target.
    pub const ROUTE: &str = "route";
    /// Prefix of chosen object labels.
    pub const OBJECT_LABEL_PREFIX: &str = "label_";
}

/// What an upstream address belongs to. Invariant: labels are sorted by name, names are unique and allowed,
/// everything is within [`crate::limits`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    kind: TargetKind,
    labels: Vec<Label>,
}

/// Why labels do not make a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The same name twice.
    #[error("label {0} is given twice")]
    Duplicate(String),
    /// A name outside the closed set.
    #[error("label {0} is not one that a target can have")]
    Name(String),
    /// Over a bound of [`crate::limits`].
    #[error("{0} is over its bound")]
    Bound(&'static str),
}

impl Target {
    /// Sorts and checks.
    ///
    /// # Errors
    /// When a name is foreign or doubled, or a bound of [`crate::limits`] is passed.
    pub fn try_new(_kind: TargetKind, _labels: Vec<Label>) -> Result<Self, TargetError> {
        todo!()
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// Its labels, sorted by name.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Value of one label.
    #[must_use]
    pub fn label(&self, _name: &str) -> Option<&str> {
        todo!()
    }

    /// The canonical encoding, whose hash is the fingerprint.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Decodes and checks. Accepts any field order, unknown fields are an error here: a fingerprint covers all bytes.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(_bytes: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }

    /// XXH3-64 of [`Target::encode`].
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        todo!()
    }
}

/// A target with its fingerprint, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetDefinition<'a> {
    /// The claimed fingerprint. The controller checks it against the bytes, the filter does not.
    pub fingerprint: Fingerprint,
    /// An encoded [`Target`].
    pub target: &'a [u8],
}
