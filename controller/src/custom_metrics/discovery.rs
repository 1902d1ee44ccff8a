//! What is served, as clients and the aggregator look for it. Answered by every replica whatever it knows: an API that
//! does not answer keeps namespaces from being deleted.

use serde_json::{Value, json};

use super::{metric::Metric, question::Resource};

/// The group that an HPA asks.
pub(crate) const GROUP: &str = "custom.metrics.k8s.io";

/// Of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1beta1,
    V1beta2,
}

impl Version {
    /// The best first: clients that take both take that.
    pub(crate) const ALL: [Self; 2] = [Self::V1beta2, Self::V1beta1];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::V1beta1 => "v1beta1",
            Self::V1beta2 => "v1beta2",
        }
    }

    /// Among the group's versions: clients that take both take the higher.
    pub(crate) const fn priority(self) -> i32 {
        match self {
            Self::V1beta1 => 100,
            Self::V1beta2 => 200,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    pub(crate) fn group_version(self) -> String {
        format!("{GROUP}/{}", self.as_str())
    }

    fn to_json(self) -> Value {
        json!({"groupVersion": self.group_version(), "version": self.as_str()})
    }
}

/// `/apis`.
pub(crate) fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group_members()]})
}

/// `/apis/custom.metrics.k8s.io`.
pub(crate) fn the_group() -> Value {
    let mut group = group_members();
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    group
}

fn group_members() -> Value {
    json!({
        "name": GROUP,
        "versions": Version::ALL.map(Version::to_json),
        "preferredVersion": Version::ALL.first().map(|best| best.to_json()),
    })
}

/// `/apis/custom.metrics.k8s.io/VERSION`.
pub(crate) fn resources(version: Version) -> Value {
    let each = |resource: Resource| {
        Metric::ALL.map(|metric| {
            json!({
                "name": format!("{}/{}", resource.as_str(), metric.name()),
                "singularName": "",
                "namespaced": true,
                "kind": "MetricValueList",
                "verbs": ["get"],
            })
        })
    };
    let all: Vec<Value> = Resource::ALL.into_iter().flat_map(each).collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": version.group_version(), "resources": all,
    })
}

/// `/openapi/v2`: nothing that an API server could add to its own description. It must be there all the same: an API server
/// that gets 404 writes errors into its log, again and again, and whenever the registration changes.
pub(crate) fn open_api_v2() -> Value {
    json!({"swagger": "2.0", "info": {"title": GROUP, "version": "v1"}, "paths": {}})
}

/// `/openapi/v3`: the same. Without it the older one would be asked each minute.
pub(crate) fn open_api_v3() -> Value {
    json!({"paths": {}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_there_and_the_newer_is_preferred() {
        let group = the_group();
        assert_eq!(
            group.to_string(),
            r#"{"name":"custom.metrics.k8s.io","preferredVersion":{"groupVersion":"custom.metrics.k8s.io/v1beta2","version":"v1beta2"},"versions":[{"groupVersion":"custom.metrics.k8s.io/v1beta2","version":"v1beta2"},{"groupVersion":"custom.metrics.k8s.io/v1beta1","version":"v1beta1"}],"kind":"APIGroup","apiVersion":"v1"}"#
                .parse::<Value>()
                .unwrap()
                .to_string()
        );
        assert_eq!(groups()["groups"][0]["name"], GROUP);
    }

    #[test]
    fn every_metric_is_listed_for_every_resource() {
        let list = resources(Version::V1beta1);
        assert_eq!(list["groupVersion"], "custom.metrics.k8s.io/v1beta1");
        let names: Vec<_> = list["resources"].as_array().unwrap().iter().collect();
        assert_eq!(names.len(), 4 * Metric::ALL.len());
        let first = json!({
            "name": "services/kong_upstream_latency_ms_60s_average", "singularName": "", "namespaced": true,
            "kind": "MetricValueList", "verbs": ["get"],
        });
        assert_eq!(names[0], &first);
        let has = |name: &str| names.iter().any(|r| r["name"] == name);
        assert!(has("deployments.apps/gaugeway_upstream_concurrency"));
        assert!(has("statefulsets.apps/gaugeway_upstream_error_ratio"));
        assert!(has("pods/gaugeway_upstream_requests_per_second"));
    }
}
