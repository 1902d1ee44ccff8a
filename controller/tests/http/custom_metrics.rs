//! `custom.metrics.k8s.io`, asked as an HPA and `kubectl get --raw` ask: shapes, and what an HPA makes of the values.

use std::fs;

use gaugeway_controller::config::{Dimension, Services, Shown, Source};
use gaugeway_wire::{
    Label, Target, TargetKind,
    target::names,
    units::{Nanos, UnixNanos, VmId},
};
use serde_json::{Value, json};

use crate::{
    api::{ask, now, told},
    hpa::{Read, Scaled, decide},
    scene::{Scene, VM, report_call, target},
};

const V2: &str = "/apis/custom.metrics.k8s.io/v1beta2";
/// The metric of autoscalers made for Kong's operator, and the target of theirs.
const KONG: &str = "kong_upstream_latency_ms_60s_average";
const TARGET: f64 = 40.0;

/// So many reports over 5 s each, the last one's end so long ago, each of so many requests that took so long.
#[derive(Clone, Copy)]
struct History {
    reports: u64,
    ago: Nanos,
    each: (u64, Nanos),
}

const fn seconds(n: u64) -> Nanos {
    Nanos::from_millis(n * 1000)
}

/// Over 70 s until now.
const fn of(count: u64, took_ms: u64) -> History {
    History {
        reports: 14,
        ago: Nanos(0),
        each: (count, Nanos::from_millis(took_ms)),
    }
}

impl History {
    async fn tell(self, scene: &Scene, vm: VmId, target: &Target) {
        let end: UnixNanos = now().minus(self.ago);
        for seq in 1..=self.reports {
            let age = seconds(5 * (self.reports - seq));
            let report = told((vm, seq), end.minus(age), target, self.each);
            let body = report_call(&report, target, None);
            assert_eq!(scene.call("/v1/report", body).await.unwrap().status, 200);
        }
    }
}

async fn json(scene: &Scene, path: &str, status: u16) -> Value {
    let answer = ask(scene, path).await;
    assert_eq!(answer.status, status, "{path}: {}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    serde_json::from_str(&answer.text()).unwrap()
}

/// A quantity without a fraction, or in thousandths.
fn number(quantity: &Value) -> f64 {
    let text = quantity.as_str().unwrap();
    match text.strip_suffix('m') {
        Some(thousandths) => thousandths.parse::<f64>().unwrap() / 1000.0,
        None => text.parse().unwrap(),
    }
}

/// As an HPA's `Object` metric for Service `shop/cart` reads it.
async fn object(scene: &Scene) -> Read {
    let answer = ask(scene, &format!("{V2}/namespaces/shop/services/cart/{KONG}")).await;
    if answer.status != 200 {
        assert_eq!(answer.status, 404, "{}", answer.text());
        return Read::Invalid;
    }
    let list: Value = serde_json::from_str(&answer.text()).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    Read::Object {
        value: number(&items[0]["value"]),
        target: TARGET,
    }
}

fn scaled(replicas: u32) -> Scaled {
    let ready = (0..replicas).map(|n| format!("cart-{n}")).collect();
    Scaled {
        replicas,
        ready,
        unready: Vec::new(),
    }
}

/// What the HPA makes of 2 replicas after this.
async fn after(history: History) -> Option<u32> {
    let scene = Scene::start().await;
    history.tell(&scene, VM, &target("shop", "cart")).await;
    decide(&scaled(2), &[object(&scene).await], 1)
}

#[tokio::test]
async fn slow_traffic_scales_up_and_fast_traffic_down() {
    assert_eq!(after(of(50, 80)).await, Some(4));
    assert_eq!(after(of(50, 42)).await, Some(2), "within the tolerance");
    assert_eq!(after(of(50, 3)).await, Some(1));
}

#[tokio::test]
async fn traffic_that_stopped_scales_down() {
    assert_eq!(after(of(0, 3)).await, Some(1));
}

#[tokio::test]
async fn what_is_unknown_leaves_the_size() {
    let silent = History {
        ago: seconds(100),
        ..of(50, 3)
    };
    assert_eq!(after(silent).await, None, "the gateway has gone");
    let young = History {
        reports: 3,
        ..of(50, 3)
    };
    assert_eq!(after(young).await, None, "the ledger is young");
    let scene = Scene::start().await;
    let idle_and_unknown = [Read::Invalid, object(&scene).await];
    assert_eq!(decide(&scaled(2), &idle_and_unknown, 1), None);
}

#[tokio::test]
async fn one_unknown_metric_holds_a_scale_down_and_no_scale_up() {
    let low = || Read::Object {
        value: 3.0,
        target: TARGET,
    };
    let high = || Read::Object {
        value: 80.0,
        target: TARGET,
    };
    assert_eq!(decide(&scaled(2), &[low(), Read::Invalid], 1), None);
    assert_eq!(decide(&scaled(2), &[high(), Read::Invalid], 1), Some(4));
    assert_eq!(decide(&scaled(2), &[low(), high()], 1), Some(4));
}

/// Deployment `pay` with three Pods, all endpoints of Service `pay`.
const PAY: &str = "
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop, labels: {tier: money}}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: pay-1, namespace: shop, labels: {kubernetes.io/service-name: pay}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [10.0.1.0], conditions: {ready: true}, targetRef: {kind: Pod, name: pay-0}}
- {addresses: [10.0.1.1], conditions: {ready: true}, targetRef: {kind: Pod, name: pay-1}}
- {addresses: [10.0.1.2], conditions: {ready: false}, targetRef: {kind: Pod, name: pay-2}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: pay, namespace: shop}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: pay, port: 80}]}]
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: pay-7d9, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: pay, uid: a, controller: true}]}
";

fn pod(name: &str, color: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: shop
  labels: {{app: pay, color: {color}}}
  ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: pay-7d9, uid: b, controller: true}}]
"
    )
}

fn pod_target(pod: &str) -> Target {
    let labels = [
        (names::NAMESPACE, "shop"),
        (names::SERVICE, "pay"),
        (names::POD, pod),
        (names::WORKLOAD_KIND, "Deployment"),
        (names::WORKLOAD, "pay"),
    ];
    let label = |(name, value): (&str, &str)| Label {
        name: name.to_owned().into(),
        value: value.to_owned(),
    };
    Target::try_new(TargetKind::Kubernetes, labels.map(label).into()).unwrap()
}

/// `pay-0` and `pay-1` had traffic, the new `pay-2` none yet.
pub(crate) async fn paying() -> Scene {
    let scene = Scene::start_with(|config| {
        let Source::Manifests(manifests) = &config.source else {
            panic!()
        };
        let pods = [("pay-0", "blue"), ("pay-1", "green"), ("pay-2", "blue")];
        let pods: String = pods.map(|(name, color)| pod(name, color)).concat();
        fs::write(manifests.join("pay.yaml"), format!("{PAY}{pods}")).unwrap();
        config.recording.services = Services::Every(Shown {
            dimensions: [Dimension::Pod, Dimension::Workload].into_iter().collect(),
            ..Shown::default()
        });
    })
    .await;
    of(50, 80)
        .tell(&scene, VmId([1; 16]), &pod_target("pay-0"))
        .await;
    of(25, 40)
        .tell(&scene, VmId([2; 16]), &pod_target("pay-1"))
        .await;
    scene
}

fn named(list: &Value) -> Vec<(String, f64)> {
    let items = list["items"].as_array().unwrap();
    let one = |item: &Value| {
        let name = item["describedObject"]["name"].as_str().unwrap();
        (name.to_owned(), number(&item["value"]))
    };
    items.iter().map(one).collect()
}

pub(crate) const AVERAGE: &str = "gaugeway_upstream_latency_average_milliseconds";
const RATE: &str = "gaugeway_upstream_requests_per_second";

#[tokio::test]
async fn pods_are_listed_by_their_workloads_selector_idle_ones_with_zero() {
    let scene = paying().await;
    let pods = format!("{V2}/namespaces/shop/pods/*/{AVERAGE}");
    let all = json(&scene, &format!("{pods}?labelSelector=app%3Dpay"), 200).await;
    let expected = [("pay-0", 80.0), ("pay-1", 40.0), ("pay-2", 0.0)];
    assert_eq!(named(&all), expected.map(|(n, v)| (n.to_owned(), v)));
    let described =
        json!({"kind": "Pod", "namespace": "shop", "name": "pay-0", "apiVersion": "v1"});
    assert_eq!(all["items"][0]["describedObject"], described);
    let blue = format!("{pods}?labelSelector=app%20in%20(pay),color%21%3Dgreen");
    assert_eq!(named(&json(&scene, &blue, 200).await).len(), 2);
    let none = json(&scene, &format!("{pods}?labelSelector=app%3Dnone"), 200).await;
    assert_eq!(none["items"], json!([]));
    // 80 and 40 of 40 each on average: three Pods. With the new one not ready yet, it counts as 0, and nothing is done.
    let read = || Read::Pods {
        values: named(&all),
        target: TARGET,
    };
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let mut two = Scaled {
        replicas: 2,
        ready: names(&["pay-0", "pay-1"]),
        unready: Vec::new(),
    };
    assert_eq!(decide(&two, &[read()], 1), Some(3));
    two.replicas = 3;
    two.unready = names(&["pay-2"]);
    assert_eq!(decide(&two, &[read()], 1), Some(3));
}

#[tokio::test]
async fn a_workload_is_the_sum_over_its_pods() {
    let scene = paying().await;
    let path = format!("{V2}/namespaces/shop/deployments.apps/pay/{AVERAGE}");
    let one = json(&scene, &path, 200).await;
    // (50 x 80 + 25 x 40) / 75, in thousandths.
    assert_eq!(named(&one), [("pay".to_owned(), 66.667)]);
    assert_eq!(one["items"][0]["describedObject"]["apiVersion"], "apps/v1");
    let all = json(
        &scene,
        &format!("{V2}/namespaces/shop/deployments.apps/*/{AVERAGE}"),
        200,
    )
    .await;
    assert_eq!(named(&all), named(&one));
    let path = format!("{V2}/namespaces/shop/statefulsets.apps/pay/{AVERAGE}");
    let status = json(&scene, &path, 404).await;
    assert_eq!(status["reason"], "NotFound", "{status:#}");
    let list = json(&scene, "/api/v1/workloads?namespace=shop", 200).await;
    let workload = &list["workloads"][0];
    assert_eq!(workload["kind"], "Deployment", "{list:#}");
    assert_eq!(
        (&workload["name"], &workload["state"]),
        (&json!("pay"), &json!("active"))
    );
    assert_eq!(ask(&scene, "/api/v1/workloads").await.status, 400);
    let one = json(&scene, "/api/v1/workloads/shop/Deployment/pay", 200).await;
    assert_eq!(one["windows"]["60s"]["state"], "active", "{one:#}");
    assert_eq!(one["pods"].as_array().unwrap().len(), 3);
    assert_eq!(
        ask(&scene, "/api/v1/workloads/shop/Deployment/none")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn services_are_selected_by_label_and_windows_by_the_metrics_label() {
    let scene = paying().await;
    let services = format!("{V2}/namespaces/shop/services/*/{RATE}");
    let money = format!("{services}?labelSelector=tier%3Dmoney&metricLabelSelector=window%3D15s");
    let list = json(&scene, &money, 200).await;
    assert_eq!(list["kind"], "MetricValueList");
    assert_eq!(list["apiVersion"], "custom.metrics.k8s.io/v1beta2");
    let item = &list["items"][0];
    assert_eq!(item["windowSeconds"], 15);
    assert_eq!(
        item["metric"]["selector"],
        json!({"matchLabels": {"window": "15s"}})
    );
    let rate = number(&item["value"]);
    // 3 reports of 75 requests in 15 s; 2 or 4 when a slot passes between reports and question.
    assert!((10.0..=20.0).contains(&rate), "{rate}");
    let old = services.replace("v1beta2", "v1beta1");
    let list = json(&scene, &format!("{old}?labelSelector=tier%3Dmoney"), 200).await;
    assert_eq!(list["items"][0]["metricName"], RATE);
    assert_eq!(list["items"][0]["window"], 60);
}

/// What Kubernetes' clients ask beside: it changes nothing here.
#[tokio::test]
async fn other_parameters_are_passed_over() {
    let scene = paying().await;
    let path = format!("{V2}/namespaces/shop/deployments.apps/pay/{AVERAGE}");
    let plain = named(&json(&scene, &path, 200).await);
    for query in [
        "timeout=5s",
        "pretty=true",
        "limit=500",
        "resourceVersion=0&watch=false",
    ] {
        let answer = json(&scene, &format!("{path}?{query}"), 200).await;
        assert_eq!(named(&answer), plain, "{query}");
        let resources = format!("{V2}?{query}");
        assert_eq!(
            json(&scene, &resources, 200).await["kind"],
            "APIResourceList"
        );
    }
}

#[tokio::test]
async fn discovery_is_answered_and_all_else_is_a_status() {
    let scene = Scene::start().await;
    let group = json(&scene, "/apis/custom.metrics.k8s.io", 200).await;
    assert_eq!(group["preferredVersion"]["version"], "v1beta2");
    assert_eq!(
        json(&scene, "/apis", 200).await["groups"][0]["name"],
        group["name"]
    );
    for version in ["v1beta1", "v1beta2"] {
        let list = json(
            &scene,
            &format!("/apis/custom.metrics.k8s.io/{version}"),
            200,
        )
        .await;
        assert_eq!(list["resources"].as_array().unwrap().len(), 36);
    }
    let services = format!("{V2}/namespaces/shop/services");
    for (path, status, reason) in [
        ("/apis/custom.metrics.k8s.io/v1".to_owned(), 404, "NotFound"),
        (format!("{services}/nothing/{KONG}"), 404, "NotFound"),
        (format!("{services}/cart/nonsense"), 404, "NotFound"),
        (format!("{services}/cart/{KONG}"), 404, "NotFound"),
        (
            format!("{V2}/namespaces/shop/pods/none/{KONG}"),
            404,
            "NotFound",
        ),
        (format!("{V2}/nodes/n/{KONG}"), 404, "NotFound"),
        (
            format!("{V2}/namespaces/shop/metrics/{KONG}"),
            404,
            "NotFound",
        ),
        (
            format!("{services}/cart/{KONG}?metricLabelSelector=color%3Dred"),
            400,
            "BadRequest",
        ),
        (
            format!("{services}/*/{RATE}?labelSelector=("),
            400,
            "BadRequest",
        ),
    ] {
        let answer = json(&scene, &path, status).await;
        assert_eq!(answer["kind"], "Status", "{path}");
        assert_eq!(answer["reason"], reason, "{path}");
        assert_eq!(answer["code"], status, "{path}");
        assert!(!answer["message"].as_str().unwrap().is_empty());
    }
}
