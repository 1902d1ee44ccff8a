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
