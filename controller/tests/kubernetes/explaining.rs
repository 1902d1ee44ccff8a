//! Why something is or is not measured, asked of a controller in a cluster: each reason as somebody on call meets it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use gaugeway_rig::{
    Client,
    client::Request,
    wait::{PATIENCE, until},
};
use gaugeway_wire::units::{Nanos, UnixNanos, VmId};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, story},
    deploying::{ISTIO, gateway_of, start, until_reason, until_there},
    kong::{kong, on, proxy},
    objects::{gateway, ingress, policy, route, service, slice},
    stage::{Requests, Stage},
};

/// As `gaugeway explain KIND/NAME --json` prints it.
pub(crate) async fn explained(stage: &Stage, path: &str) -> Result<Value> {
    let path = format!("/api/v1/explain/{path}");
    let client = Client::unpooled(stage.ports().api);
    let answer = client.send(Request::get(&path)).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Waits until the verdict's line begins so, and these words stand in the explanation.
async fn until_told(stage: &Stage, path: &str, summary: &str, words: &[&str]) {
    until(
        &format!("{path}: {summary}, {words:?}"),
        PATIENCE,
        || async {
            let told = explained(stage, path).await?;
            let said = told["summary"].as_str().unwrap_or_default();
            ensure!(said.starts_with(summary), "{told:#}");
            // Who is told that something is wrong is told what to do.
            ensure!(
                (told["verdict"] == "measured") == told["advice"].is_null(),
                "{told:#}"
            );
            let text = told.to_string();
            ensure!(
                words.iter().all(|word| text.contains(word)),
                "{words:?}: {told:#}"
            );
            Ok(())
        },
    )
    .await
    .unwrap();
}

/// Service `cart` at 10.0.0.1 behind Gateway `edge`.
async fn shop(cluster: &Cluster) {
    cluster.define_routes().await;
    cluster.define_policies().await;
    for object in [
        gateway("edge"),
        service("cart"),
        slice("cart-1", "cart", &["10.0.0.1=a"]),
        route("HTTPRoute", "web", &["cart"]),
    ] {
        cluster.apply(&object).await;
    }
}

fn only(service: &str) -> Value {
    json!({"dimensions": [], "serviceSelector": {"matchNames": [{"name": service}]}})
}

/// A worker of Gateway `edge` that asks, and reports a request to `cart` of just now.
async fn work(cluster: &Cluster, stage: &Stage) {
    let (ns, edge) = (&cluster.namespace, format!("{}/edge", cluster.namespace));
    stage.owners(&edge, "10.0.0.1:8080").await.unwrap();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let requests = Requests {
        count: 1,
        took: Nanos::from_millis(3),
        until: UnixNanos(u64::try_from(since.as_nanos()).unwrap()),
    };
    let answer = stage.report_of(requests, (VmId([9; 16]), 1), &edge, ns, "cart");
    assert_eq!(answer.await.unwrap().status, 200);
}

#[tokio::test]
async fn policies_are_told_of_until_it_is_measured() {
    story(async |cluster| {
        shop(&cluster).await;
        let ns = &cluster.namespace;
        let (cart, edge) = (format!("service/{ns}/cart"), format!("gateway/{ns}/edge"));
        let stage = Stage::start(&cluster.kubeconfig).await;
        let nobody = "not measured: no worker of";
        until_told(
            &stage,
            &cart,
            nobody,
            &["has no policy of its own", "gaugeway render"],
        )
        .await;
        cluster.apply(&policy("a", "edge", &only("pay"))).await;
        let select = format!("let serviceSelector of one of its policies select {ns}/cart");
        let unselected = format!("not measured: no policy of {ns}/edge selects it");
        until_told(
            &stage,
            &cart,
            &unselected,
            &[&select, &format!("LatencyPolicy {ns}/a")],
        )
        .await;
        until_told(
            &stage,
            &edge,
            "not measured: 0 of 1 Service selected",
            &["widen"],
        )
        .await;
        cluster.apply(&policy("b", "edge", &json!({}))).await;
        cluster.apply(&policy("c", "edge", &only("cart"))).await;
        let won = format!("LatencyPolicy {ns}/b selects it at {ns}/edge");
        let lost = format!("LatencyPolicy {ns}/c selects it too and is younger: overridden");
        until_told(&stage, &cart, nobody, &[&won, &lost]).await;
        work(&cluster, &stage).await;
        until_told(
            &stage,
            &cart,
            "measured, 1 request",
            &["reported", "1 worker of"],
        )
        .await;
        until_told(&stage, &edge, "measured", &["1 of 1 Service selected"]).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn services_are_told_of_as_they_are_reached() {
    story(async |cluster| {
        shop(&cluster).await;
        let ns = &cluster.namespace;
        cluster.apply(&service("lone")).await;
        let away = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "away"},
            "spec": {"type": "ExternalName", "externalName": "away.example"},
        });
        cluster.apply(&away).await;
        cluster
            .apply(&route("HTTPRoute", "out", &["away", "gone"]))
            .await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        let of = |name: &str| format!("service/{ns}/{name}");
        let (nobody, headless) = ("not measured: no worker of", "headless, port http:80");
        until_told(&stage, &of("cart"), nobody, &[headless, "1 ready"]).await;
        until_told(
            &stage,
            &of("lone"),
            "not measured: no route",
            &["name it as backend"],
        )
        .await;
        until_told(&stage, &of("away"), nobody, &["an ExternalName has none"]).await;
        until_told(
            &stage,
            &of("gone"),
            "not measured: there is no Service",
            &["spelling"],
        )
        .await;
        let unready = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "cart-1"}, "endpoints": [{
                "addresses": ["10.0.0.1"], "conditions": {"ready": false},
                "targetRef": {"kind": "Pod", "name": "a"},
            }],
        });
        cluster.apply(&unready).await;
        let idle = "1 not ready: no request is sent to it";
        until_told(
            &stage,
            &of("cart"),
            nobody,
            &[idle, "10.0.0.1:8080 a, not ready"],
        )
        .await;
        work(&cluster, &stage).await;
        // What still arrives there is counted.
        until_told(&stage, &of("cart"), "measured", &[idle]).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn addresses_are_told_of_with_whose_they_are() {
    story(async |cluster| {
        shop(&cluster).await;
        let ns = &cluster.namespace;
        let stage = Stage::start(&cluster.kubeconfig).await;
        let address = "address/10.0.0.1:8080";
        until_told(
            &stage,
            address,
            "not measured: no worker of",
            &[&format!("{ns}/cart port")],
        )
        .await;
        let nobody = "not measured: no Service has the address";
        until_told(
            &stage,
            "address/10.0.0.9:8080",
            nobody,
            &["count as unknown"],
        )
        .await;
        let at = |gateway: &str| format!("{address}?gateway={ns}/{gateway}");
        let elsewhere = format!("not measured: no route leads from {ns}/inner to it");
        until_told(&stage, &at("inner"), &elsewhere, &["without --gateway"]).await;
        // A second Service with the same Pod.
        cluster.apply(&service("canary")).await;
        cluster
            .apply(&slice("canary-1", "canary", &["10.0.0.1=a"]))
            .await;
        cluster
            .apply(&route("HTTPRoute", "half", &["canary"]))
            .await;
        let both = "2 Services have it";
        until_told(
            &stage,
            &at("edge"),
            "not measured",
            &[both, "2 share it", "by cluster"],
        )
        .await;
        let shared = "1 shared with other Services, told apart by cluster";
        let also = format!("also of {ns}/canary");
        let cart = format!("service/{ns}/cart");
        until_told(&stage, &cart, "not measured", &[shared, &also]).await;
        work(&cluster, &stage).await;
        until_told(
            &stage,
            &at("edge"),
            "measured",
            &[both, "its workers have seen it"],
        )
        .await;
        stage.stop().await;
    })
    .await;
}

/// Ingresses stand for their class; routes of both kinds may lead to a Service.
#[tokio::test]
async fn an_ingress_class_is_told_of_as_a_gateway() {
    story(async |cluster| {
        shop(&cluster).await;
        let class = &cluster.namespace;
        let of_class = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": class},
            "spec": {"controller": "none.invalid/none"},
        });
        cluster.apply(&of_class).await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        let path = format!("ingressclass/{class}");
        until_told(&stage, &path, "not measured: no route", &["an Ingress by its class"]).await;
        cluster.apply(&ingress("old", class, "cart")).await;
        until_told(&stage, &path, "not measured: no worker of", &["1 route to 1 Service"]).await;
        work(&cluster, &stage).await;
        let cart = format!("service/{class}/cart");
        until_told(&stage, &cart, "measured in part, at 1 of 2 gateways", &[&path.replace('/', ":")])
            .await;
        stage.stop().await;
        cluster.delete("IngressClass", class).await;
    })
    .await;
}

/// What keeps a controller that deploys from putting the filter there is said of each Service behind the gateway.
#[tokio::test]
async fn deployments_are_told_of() {
    story(async |cluster| {
        gateway_of(&cluster, ISTIO).await;
        let ns = &cluster.namespace;
        cluster
            .apply(&slice("cart-1", "cart", &["10.0.0.1=a"]))
            .await;
        let off = json!({"deploy": {"enabled": false}});
        cluster.apply(&policy("p", "edge", &off)).await;
        let group = "extensions.istio.io";
        cluster
            .define_kind(group, "v1alpha1", "WasmPlugin", "wasmplugins")
            .await;
        let stage = start(&cluster).await;
        let cart = format!("service/{ns}/cart");
        let nobody = "not measured: no worker of";
        until_told(&stage, &cart, nobody, &["spec.deploy.enabled is off here"]).await;
        let on = json!({"deploy": {"enabled": true}});
        cluster.apply(&policy("p", "edge", &on)).await;
        until_there(&cluster, "WasmPlugin").await;
        until_told(
            &stage,
            &cart,
            nobody,
            &["the controller put the filter into"],
        )
        .await;
        let mut paused = policy("p", "edge", &on);
        paused["metadata"]["annotations"] = json!({"gaugeway.dev/detach": ""});
        cluster.apply(&paused).await;
        until_told(&stage, &cart, nobody, &["taken out on demand"]).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_kong_that_cannot_load_it_is_told_of() {
    story(async |cluster| {
        kong(&cluster).await;
        cluster.delete("Pod", "kong-1").await;
        cluster.apply(&proxy("kong:3.11")).await;
        cluster
            .apply(&slice("cart-1", "cart", &["10.0.0.1=a"]))
            .await;
        cluster.apply(&on()).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "WasmNotProven").await;
        let cart = format!("service/{}/cart", cluster.namespace);
        let why = "not measured: the filter is not in";
        until_told(&stage, &cart, why, &["WasmNotProven", "kong:3.11"]).await;
        stage.stop().await;
    })
    .await;
}
