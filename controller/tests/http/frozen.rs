//! The metrics API's answers byte for byte, and read by types that are not ours.

use gaugeway_operator::deploy::covers;
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{APIGroup, APIGroupList, APIResourceList, LabelSelector, ListMeta, Time},
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    api::ask,
    custom_metrics::{AVERAGE, paying},
};

const GROUP: &str = "/apis/custom.metrics.k8s.io";

/// `k8s.io/metrics/pkg/apis/custom_metrics/v1beta1`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetricValueV1beta1 {
    described_object: ObjectReference,
    metric_name: String,
    timestamp: Time,
    window: Option<i64>,
    value: Quantity,
    selector: Option<LabelSelector>,
}

/// `k8s.io/metrics/pkg/apis/custom_metrics/v1beta2`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetricValueV1beta2 {
    described_object: ObjectReference,
    metric: MetricIdentifier,
    timestamp: Time,
    window_seconds: Option<i64>,
    value: Quantity,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct MetricIdentifier {
    name: String,
    selector: Option<LabelSelector>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetricValueList<T> {
    kind: String,
    api_version: String,
    metadata: ListMeta,
    items: Vec<T>,
}

/// Nothing is lost when they are read and written again.
fn reads<T: DeserializeOwned + Serialize>(text: &str) {
    let read: T = serde_json::from_str(text).unwrap();
    let again = serde_json::to_value(&read).unwrap();
    let sent: Value = serde_json::from_str(text).unwrap();
    assert!(covers(&again, &sent), "{again} instead of {sent}");
}

/// With another time, which is all that differs from run to run.
fn at_a_fixed_time(text: &str) -> String {
    const FIELD: &str = "\"timestamp\":\"";
    let mut parts = text.split(FIELD);
    let mut fixed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('"').unwrap();
        assert_eq!(time.len(), "2026-01-01T00:00:00Z".len(), "{time}");
        fixed += &format!("{FIELD}2026-01-01T00:00:00Z\"{rest}");
    }
    fixed
}

/// The answer to a path, the file that it is in, and who can read it.
type Frozen = (String, &'static str, &'static str, fn(&str));

macro_rules! frozen {
    ($path:expr, $name:literal, $reads:ty) => {
        (
            $path.to_string(),
            $name,
            include_str!(concat!("../golden/", $name)),
            reads::<$reads> as fn(&str),
        )
    };
}

fn all() -> Vec<Frozen> {
    let values = |version: &str, of: &str, query: &str| {
        format!("{GROUP}/{version}/namespaces/shop/{of}/{AVERAGE}{query}")
    };
    let window = "?metricLabelSelector=window%3D5m";
    vec![
        frozen!("/apis", "apis.json", APIGroupList),
        frozen!(GROUP, "group.json", APIGroup),
        frozen!(format!("{GROUP}/v1beta1"), "v1beta1.json", APIResourceList),
        frozen!(format!("{GROUP}/v1beta2"), "v1beta2.json", APIResourceList),
        frozen!("/openapi/v2", "openapi-v2.json", Value),
        frozen!("/openapi/v3", "openapi-v3.json", Value),
        frozen!(
            values("v1beta1", "deployments.apps/pay", ""),
            "deployment-v1beta1.json",
            MetricValueList<MetricValueV1beta1>
        ),
        frozen!(
            values("v1beta2", "deployments.apps/pay", ""),
            "deployment-v1beta2.json",
            MetricValueList<MetricValueV1beta2>
        ),
        frozen!(
            values(
                "v1beta1",
                "services/pay",
                "?metricLabelSelector=window%3D30s"
            ),
            "service-v1beta1.json",
            MetricValueList<MetricValueV1beta1>
        ),
        frozen!(
            values("v1beta1", "pods/*", "?labelSelector=app%3Dpay"),
            "pods-v1beta1.json",
            MetricValueList<MetricValueV1beta1>
        ),
        frozen!(
            values("v1beta2", "pods/*", "?labelSelector=app%3Dpay"),
            "pods-v1beta2.json",
            MetricValueList<MetricValueV1beta2>
        ),
        frozen!(
            values("v1beta2", "pods/pay-0", window),
            "unknown.json",
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Status
        ),
    ]
}

#[tokio::test]
async fn answers_are_frozen_and_read_without_loss() {
    let scene = paying().await;
    for (path, name, frozen, reads) in all() {
        let answer = ask(&scene, &path).await;
        assert_eq!(answer.headers["content-type"], "application/json");
        let text = at_a_fixed_time(&answer.text());
        reads(&text);
        if text != frozen.trim_end() {
            let there = std::env::temp_dir().join(name);
            std::fs::write(&there, text + "\n").unwrap();
            panic!(
                "controller/tests/golden/{name} differs; if that is meant, copy {there:?} there"
            );
        }
    }
}
