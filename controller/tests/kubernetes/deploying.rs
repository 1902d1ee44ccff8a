//! The controller puts the filter into gateways, and takes it out again.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use gaugeway_apiserver::{Effect, Fault, Verb};
use gaugeway_controller::{
    config::{self, Deploying, Installation, ServicePort, Source},
    detach::{Left, detach_all},
};
use gaugeway_rig::{
    Client,
    client::Request,
    wait::{PATIENCE, until},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, story, story_with_faults},
    objects::{policy, route, service},
    stage::Stage,
};

const SHA: &str = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476";
pub(crate) const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io/gatewayclass-controller";
pub(crate) const ISTIO: &str = "istio.io/gateway-controller";

/// A Gateway `edge` of a class of that controller, with a Service behind it.
pub(crate) async fn gateway_of(cluster: &Cluster, controller: &str) {
    cluster.define_routes().await;
    cluster.define_policies().await;
    let ns = &cluster.namespace;
    let class = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": ns},
        "spec": {"controllerName": controller},
    });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "edge"},
        "spec": {"gatewayClassName": ns, "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    });
    for object in [
        class,
        gateway,
        service("cart"),
        route("HTTPRoute", "web", &["cart"]),
    ] {
        cluster.apply(&object).await;
    }
}

/// A controller in a namespace of its own, whose only replica is this one.
pub(crate) async fn start(cluster: &Cluster) -> Stage {
    start_in(cluster, &cluster.namespace).await
}

pub(crate) async fn start_in(cluster: &Cluster, namespace: &str) -> Stage {
    start_with(cluster, namespace, |_, _| {}).await
}

pub(crate) async fn start_with(
    cluster: &Cluster,
    namespace: &str,
    change: impl FnOnce(&mut config::Cluster, &mut Deploying),
) -> Stage {
    let own = namespace.to_owned();
    let address = cluster.own_address();
    let stage = Stage::launch_with(&cluster.kubeconfig, &[], |config| {
        config.wasm_listen.set_ip(address);
        let Source::Kubernetes(cluster) = &mut config.source else {
            panic!()
        };
        cluster.own_namespace = Some(own.clone());
        let at = |name: &str, port| ServicePort {
            name: name.to_owned(),
            port,
        };
        let mut deploying = Deploying {
            home: Installation {
                namespace: own,
                filters: at("gaugeway-filters", 7080),
                wasm: at("gaugeway-wasm", 7081),
                cluster_domain: "cluster.local".to_owned(),
            },
            module: SHA.to_owned(),
            classes: BTreeMap::new(),
            kong: true,
        };
        change(cluster, &mut deploying);
        cluster.deploying = Some(Box::new(deploying));
    })
    .await;
    stage.ready().await;
    let mut slice = crate::objects::slice(
        "gaugeway-wasm-1",
        "gaugeway-wasm",
        &[&format!("{address}=controller")],
    );
    slice["metadata"]["namespace"] = json!(namespace);
    slice["ports"][0]["port"] = json!(stage.ports().wasm.port());
    cluster.apply(&slice).await;
    stage
}

/// The only object of that kind that carries our label.
pub(crate) async fn ours(cluster: &Cluster, kind: &str) -> anyhow::Result<Option<Value>> {
    let all = cluster.list(kind).await?;
    let label = "app.kubernetes.io/managed-by";
    let mut ours = all
        .into_iter()
        .filter(|o| o["metadata"]["labels"][label] == "gaugeway");
    Ok(ours.next())
}

pub(crate) async fn until_there(cluster: &Cluster, kind: &str) -> Value {
    until(&format!("{kind} is there"), PATIENCE, || async {
        let found = ours(cluster, kind).await?;
        found.ok_or_else(|| anyhow::anyhow!("no {kind}"))
    })
    .await
    .unwrap()
}

pub(crate) async fn until_gone(cluster: &Cluster, kind: &str) {
    until(&format!("{kind} is gone"), PATIENCE, || async {
        ensure!(ours(cluster, kind).await?.is_none());
        Ok(())
    })
    .await
    .unwrap();
}

pub(crate) async fn until_reason(cluster: &Cluster, reason: &str) {
    until(&format!("the policy says {reason}"), PATIENCE, || async {
        let object = cluster.get("LatencyPolicy", "p").await?;
        let programmed = object["status"]["ancestors"][0]["conditions"][1]["reason"].clone();
        ensure!(programmed == reason, "{programmed}: {}", object["status"]);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_istio_gateway_gets_a_plugin_and_loses_it_with_its_policy() {
    story(async |cluster| {
        gateway_of(&cluster, ISTIO).await;
        cluster
            .define_kind(
                "extensions.istio.io",
                "v1alpha1",
                "WasmPlugin",
                "wasmplugins",
            )
            .await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        let plugin = until_there(&cluster, "WasmPlugin").await;
        assert_eq!(plugin["spec"]["failStrategy"], "FAIL_OPEN");
        assert_eq!(plugin["spec"]["sha256"], SHA);
        assert_eq!(plugin["metadata"]["ownerReferences"][0]["name"], "p");
        until_reason(&cluster, "NoWorkers").await;
        // Off by the policy; on again; gone with it.
        cluster
            .apply(&policy("p", "edge", &json!({"deploy": {"enabled": false}})))
            .await;
        until_gone(&cluster, "WasmPlugin").await;
        until_reason(&cluster, "NotDeployed").await;
        cluster
            .apply(&policy("p", "edge", &json!({"deploy": {"enabled": true}})))
            .await;
        until_there(&cluster, "WasmPlugin").await;
        cluster.delete("LatencyPolicy", "p").await;
        until_gone(&cluster, "WasmPlugin").await;
        stage.stop().await;
    })
    .await;
}

/// What is elsewhere is taken away before the policy may go, also by a controller that was away meanwhile.
#[tokio::test]
async fn an_envoy_gateway_is_cleaned_up_before_its_policy_goes() {
    story(async |cluster| {
        gateway_of(&cluster, ENVOY_GATEWAY).await;
        let group = "gateway.envoyproxy.io";
        cluster
            .define_kind(
                group,
                "v1alpha1",
                "EnvoyExtensionPolicy",
                "envoyextensionpolicies",
            )
            .await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        let extension = until_there(&cluster, "EnvoyExtensionPolicy").await;
        let wasm = &extension["spec"]["wasm"][0];
        assert_eq!(wasm["failOpen"], true);
        let route = until_there(&cluster, "HTTPRoute").await;
        let name = route["metadata"]["name"].as_str().unwrap();
        assert_eq!(
            wasm["config"]["cluster"],
            format!("httproute/{}/{name}/rule/0", cluster.namespace)
        );
        // The way to the controller itself is nothing that is measured.
        until_reason(&cluster, "NoWorkers").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].clone();
        assert_eq!(status["selectedServices"], 1, "{status}");
        stage.stop().await;
        cluster.delete("LatencyPolicy", "p").await;
        let stage = start(&cluster).await;
        for kind in ["EnvoyExtensionPolicy", "HTTPRoute"] {
            until_gone(&cluster, kind).await;
        }
        stage.stop().await;
    })
    .await;
}

/// What `gaugeway detach --all` does. Without a controller it says what is left, and does not wait for ever.
#[tokio::test]
async fn everything_is_taken_out_before_an_uninstall() {
    story(async |cluster| {
        gateway_of(&cluster, ENVOY_GATEWAY).await;
        cluster
            .define_kind(
                "gateway.envoyproxy.io",
                "v1alpha1",
                "EnvoyExtensionPolicy",
                "envoyextensionpolicies",
            )
            .await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        until_there(&cluster, "EnvoyExtensionPolicy").await;
        until_there(&cluster, "HTTPRoute").await;
        stage.stop().await;
        let asked = config::Cluster {
            kubeconfig: Some(cluster.kubeconfig.clone()),
            namespaces: vec![cluster.namespace.clone()],
            own_namespace: Some(cluster.namespace.clone()),
            ..config::Cluster::default()
        };
        let alone = detach_all(&asked, Duration::ZERO, |_| {}).await;
        let text = alone.unwrap_err().to_string();
        assert!(text.contains("EnvoyExtensionPolicy"), "{text}");
        let stage = start(&cluster).await;
        let mut told = Vec::new();
        let done = detach_all(&asked, PATIENCE, |left| told.push(left.clone())).await;
        assert_eq!(done.unwrap().policies, [format!("{}/p", cluster.namespace)]);
        assert_eq!(told.last(), Some(&Left::default()));
        for kind in ["EnvoyExtensionPolicy", "HTTPRoute"] {
            assert_eq!(ours(&cluster, kind).await.unwrap(), None);
        }
        until_reason(&cluster, "Detached").await;
        stage.stop().await;
    })
    .await;
}

/// peers.md: `EnvoyPatchPolicy` is off by default. Where no listener takes a route of ours, the filter waits for Envoy
/// Gateway's word on the patch, and goes when that is taken back.
#[tokio::test]
async fn a_patch_is_used_only_where_envoy_gateway_takes_it() {
    story(async |cluster| {
        gateway_of(&cluster, ENVOY_GATEWAY).await;
        let group = "gateway.envoyproxy.io";
        for (kind, plural) in [
            ("EnvoyExtensionPolicy", "envoyextensionpolicies"),
            ("EnvoyPatchPolicy", "envoypatchpolicies"),
        ] {
            cluster.define_kind(group, "v1alpha1", kind, plural).await;
        }
        let listeners = json!([{"name": "http", "port": 80, "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}}}]);
        let gateway = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "edge"},
            "spec": {"listeners": listeners},
        });
        cluster.apply(&gateway).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        let patch = until_there(&cluster, "EnvoyPatchPolicy").await;
        until_reason(&cluster, "NotDeployed").await;
        assert_eq!(ours(&cluster, "EnvoyExtensionPolicy").await.unwrap(), None);
        let says = async |accepted: &str, reason: &str| {
            let gateway = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"});
            let mut told = json!({"apiVersion": patch["apiVersion"], "kind": "EnvoyPatchPolicy",
                "metadata": {"name": patch["metadata"]["name"]}});
            told["status"] = json!({"ancestors": [{
                "ancestorRef": gateway, "controllerName": ENVOY_GATEWAY, "conditions": [{
                    "type": "Accepted", "status": accepted, "reason": reason, "message": "as it is configured",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            }]});
            cluster.apply(&told).await;
        };
        says("False", "Disabled").await;
        until_reason(&cluster, "Refused").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].to_string();
        assert!(status.contains("enableEnvoyPatchPolicy"), "{status}");
        says("True", "Accepted").await;
        let extension = until_there(&cluster, "EnvoyExtensionPolicy").await;
        let cluster_name = &extension["spec"]["wasm"][0]["config"]["cluster"];
        assert_eq!(cluster_name, "gaugeway-controller");
        until_reason(&cluster, "NoWorkers").await;
        says("False", "Disabled").await;
        until_gone(&cluster, "EnvoyExtensionPolicy").await;
        until_there(&cluster, "EnvoyPatchPolicy").await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn another_policy_on_the_gateway_makes_room_for_itself() {
    story(async |cluster| {
        gateway_of(&cluster, ENVOY_GATEWAY).await;
        let group = "gateway.envoyproxy.io";
        cluster
            .define_kind(
                group,
                "v1alpha1",
                "EnvoyExtensionPolicy",
                "envoyextensionpolicies",
            )
            .await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        until_there(&cluster, "EnvoyExtensionPolicy").await;
        let theirs = json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyExtensionPolicy",
            "metadata": {"name": "theirs"}, "spec": {"targetRefs": [
                {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"},
            ]},
        });
        cluster.apply(&theirs).await;
        until_gone(&cluster, "EnvoyExtensionPolicy").await;
        until_reason(&cluster, "PolicyInTheWay").await;
        cluster.delete("EnvoyExtensionPolicy", "theirs").await;
        until_there(&cluster, "EnvoyExtensionPolicy").await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_may_not_be_written_is_said_and_tried_again() {
    story_with_faults(async |cluster| {
        gateway_of(&cluster, ISTIO).await;
        cluster
            .define_kind(
                "extensions.istio.io",
                "v1alpha1",
                "WasmPlugin",
                "wasmplugins",
            )
            .await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let refuse = Fault::on("wasmplugins", Effect::Status(403));
        cluster.double().fault(refuse.verbs(&[Verb::Patch]));
        let stage = start(&cluster).await;
        until_reason(&cluster, "ApplyFailed").await;
        cluster.double().lift_faults();
        until_there(&cluster, "WasmPlugin").await;
        until_reason(&cluster, "NoWorkers").await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_left_alone() {
    story(async |cluster| {
        gateway_of(&cluster, ISTIO).await;
        cluster
            .define_kind(
                "extensions.istio.io",
                "v1alpha1",
                "WasmPlugin",
                "wasmplugins",
            )
            .await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        let name = until_there(&cluster, "WasmPlugin").await["metadata"]["name"].clone();
        // Somebody takes the labels off: it is theirs now, and stays as they have it.
        let theirs = json!({
            "apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "somebody"}},
            "spec": {"url": "http://example.com/other.wasm"},
        });
        cluster.apply(&theirs).await;
        until_reason(&cluster, "NotOurs").await;
        let held = cluster
            .get("WasmPlugin", name.as_str().unwrap())
            .await
            .unwrap();
        assert_eq!(held["spec"]["url"], "http://example.com/other.wasm");
        stage.stop().await;
    })
    .await;
}

/// No CustomResourceDefinition of the gateway's is there: said, and nothing else fails.
#[tokio::test]
async fn kinds_that_are_not_served_are_no_failure_of_the_rest() {
    story(async |cluster| {
        gateway_of(&cluster, "example.com/unknown").await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "Unsupported").await;
        stage.stop().await;
    })
    .await;
}

/// Waits until so many more rounds have looked at what gateways have.
async fn until_looked(stage: &Stage, rounds: f64) {
    let done = || stage.metric("gaugeway_deploy_rounds_total", &[("result", "ok")]);
    let goal = done().await.unwrap() + rounds;
    until("rounds of deploying", PATIENCE, || async {
        let seen = done().await?;
        ensure!(seen >= goal, "{seen} of {goal}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Gateways fetch the module through a Service that takes any replica: it is named only when all of them have it. Each serves
/// what it has to whoever asks, without a token.
#[tokio::test]
async fn a_module_is_named_when_old_replicas_are_gone() {
    const OLD: &[u8] = b"\0asm\x01\0\0\0\0\x01\0";
    const OLD_SHA: &str = "ed329ca3ea51d9310bbae0e2b594595dda73ff5b72ace36d1eda4a6391696473";
    story_with_faults(async |cluster| {
        gateway_of(&cluster, ISTIO).await;
        let istio = "extensions.istio.io";
        cluster
            .define_kind(istio, "v1alpha1", "WasmPlugin", "wasmplugins")
            .await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        // It serves modules, and judges no policy of this cluster.
        let nothing = tempfile::tempdir().unwrap();
        let old = Stage::launch_with(&cluster.kubeconfig, &[], |config| {
            config.filter_modules = &[OLD];
            config.source = Source::Manifests(nothing.path().to_owned());
        })
        .await;
        let mut replica =
            crate::objects::slice("gaugeway-wasm-0", "gaugeway-wasm", &["127.0.0.1=old"]);
        replica["ports"][0]["port"] = json!(old.ports().wasm.port());
        cluster.apply(&replica).await;
        let new = start(&cluster).await;
        let has = async |stage: &Stage, sha: &str| {
            let path = format!("/v1/filter/{sha}.wasm");
            let client = Client::unpooled(stage.ports().wasm);
            client.send(Request::get(&path)).await.unwrap().status
        };
        assert_eq!((has(&new, SHA).await, has(&old, SHA).await), (200, 404));
        assert_eq!(
            (has(&new, OLD_SHA).await, has(&old, OLD_SHA).await),
            (404, 200)
        );
        until_looked(&new, 3.0).await;
        until_reason(&cluster, "NotDeployed").await;
        assert_eq!(ours(&cluster, "WasmPlugin").await.unwrap(), None);
        cluster.delete("EndpointSlice", "gaugeway-wasm-0").await;
        let plugin = until_there(&cluster, "WasmPlugin").await;
        assert_eq!(plugin["spec"]["sha256"], SHA);
        new.stop().await;
        old.stop().await;
    })
    .await;
}
