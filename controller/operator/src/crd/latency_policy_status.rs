//! What became of a `LatencyPolicy`, in the shape of GEP-713: per thing that it is attached to, conditions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of a policy. Written when it changes, at most every 10 s.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyPolicyStatus {
    /// Per target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ancestors: Vec<Ancestor>,
    /// Services that it measures, over all targets.
    #[serde(default)]
    pub selected_services: i32,
    /// Worker VMs of its targets that report.
    #[serde(default)]
    pub workers: i32,
    /// The same in few words, for the columns of `kubectl get`, which show the first of several values only.
    #[serde(default)]
    pub summary: Summary,
}

impl LatencyPolicyStatus {
    /// Whether writing the other one would tell nothing new. The summary follows from the rest, and an older definition
    /// does not keep it.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let facts = |s: &Self| (s.selected_services, s.workers);
        self.ancestors == other.ancestors && facts(self) == facts(other)
    }
}

/// Of all targets together.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Names of the targets.
    #[serde(default)]
    pub targets: String,
    /// Reason of the condition `Accepted`; of several the worst, and at how many targets.
    #[serde(default)]
    pub accepted: String,
    /// Reason of the condition `Programmed`, likewise.
    #[serde(default)]
    pub programmed: String,
}

/// What became of a policy at one target.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ancestor {
    /// Which target.
    pub ancestor_ref: AncestorRef,
    /// Who says so.
    #[schemars(length(min = 1, max = 253))]
    pub controller_name: String,
    /// `Accepted` and `Programmed`.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}

/// Names a target.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AncestorRef {
    /// Its group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Absent for an IngressClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}
