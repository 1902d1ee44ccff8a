//! The filter in Kong: plugins, which routes name.

use anyhow::ensure;
use gaugeway_apiserver::{Effect, Fault, Logged, Verb};
use gaugeway_controller::{
    config,
    detach::{Left, detach_all},
};
use gaugeway_rig::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, story, story_with_faults},
    deploying::{gateway_of, start, start_in, until_gone, until_reason, until_there},
    objects::{ingress, policy, route, service},
};

const KIC: &str = "konghq.com/kic-gateway-controller";
const OPERATOR: &str = "konghq.com/gateway-operator";
const PLUGINS: &str = "konghq.com/plugins";

/// What a Pod of Kong that can load the filter looks like.
pub(crate) fn proxy(image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "kong-1", "labels": {"app": "kong"}},
        "spec": {
            "containers": [{
                "name": "proxy", "image": image,
                "env": [{"name": "KONG_WASM", "value": "on"}, {"name": "KONG_WASM_FILTERS_PATH", "value": "/wasm"}],
                "volumeMounts": [{"name": "wasm", "mountPath": "/wasm"}],
            }],
            "volumes": [{"name": "wasm", "emptyDir": {}}],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

async fn replace_proxy(cluster: &Cluster, image: &str) {
    cluster.delete("Pod", "kong-1").await;
    cluster.apply(&proxy(image)).await;
}

/// Leads to Kong's Pods, with more labels and owners if given.
fn proxy_service(metadata: &Value) -> Value {
    let mut service = service("proxy");
    service["spec"]["selector"] = json!({"app": "kong"});
    for (key, value) in metadata.as_object().unwrap() {
        service["metadata"][key] = value.clone();
    }
    service
}

/// A route of Gateway `edge`, which took it.
fn taken(kind: &str, name: &str, plugins: Option<&str>) -> Value {
    let mut route = route(kind, name, &["cart"]);
    route["status"] = json!({"parents": [{
        "parentRef": {"name": "edge"}, "controllerName": KIC,
        "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }]});
    if let Some(plugins) = plugins {
        route["metadata"]["annotations"] = json!({PLUGINS: plugins});
    }
    route
}

pub(crate) async fn define_plugins(cluster: &Cluster) {
    let group = "configuration.konghq.com";
    cluster
        .define_kind(group, "v1", "KongPlugin", "kongplugins")
        .await;
}

/// Gateway `edge` of Kong's ingress controller, with a Pod, and routes `web` (with plugins of its own) and `api`.
pub(crate) async fn kong(cluster: &Cluster) {
    gateway_of(cluster, KIC).await;
    define_plugins(cluster).await;
    let publish = format!("{}/proxy", cluster.namespace);
    for object in [
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {
                "name": "edge", "annotations": {"konghq.com/publish-service": publish},
            },
        }),
        proxy_service(&json!({})),
        proxy("kong:3.9"),
        taken("HTTPRoute", "web", Some("rate, auth ")),
        taken("GRPCRoute", "api", None),
    ] {
        cluster.apply(&object).await;
    }
}

pub(crate) async fn annotation(cluster: &Cluster, kind: &str, name: &str) -> Option<String> {
    let object = cluster.get(kind, name).await.unwrap();
    let value = object["metadata"]["annotations"][PLUGINS].as_str();
    value.map(str::to_owned)
}

/// Of Gateway `edge`.
async fn plugin_of_edge(cluster: &Cluster) -> anyhow::Result<Option<Value>> {
    let gateway = format!("{}/edge", cluster.namespace);
    let mut all = cluster.list("KongPlugin").await?.into_iter();
    Ok(all.find(|p| p["metadata"]["annotations"]["gaugeway.dev/gateway"] == gateway))
}

/// Both routes name the plugin, or neither does and all is as it was.
pub(crate) async fn until_named(cluster: &Cluster, named: bool) {
    until(&format!("routes named: {named}"), PATIENCE, || async {
        let plugin = plugin_of_edge(cluster).await?;
        let name = plugin.as_ref().and_then(|p| p["metadata"]["name"].as_str());
        let web = annotation(cluster, "HTTPRoute", "web").await;
        let api = annotation(cluster, "GRPCRoute", "api").await;
        let (web_wanted, api_wanted) = match name {
            Some(name) if named => (format!("rate, auth ,{name}"), Some(name.to_owned())),
            _ => ("rate, auth ".to_owned(), None),
        };
        ensure!(name.is_some() == named, "{plugin:?}");
        ensure!(web.as_deref() == Some(&web_wanted), "{web:?}");
        ensure!(api == api_wanted, "{api:?}");
        Ok(())
    })
    .await
    .unwrap();
}

pub(crate) async fn until_no_policy(cluster: &Cluster) {
    until("the policy is gone", PATIENCE, || async {
        let all = cluster.list("LatencyPolicy").await?;
        ensure!(all.is_empty(), "{all:?}");
        Ok(())
    })
    .await
    .unwrap();
}

pub(crate) fn on() -> Value {
    policy("p", "edge", &json!({"deploy": {"enabled": true}}))
}

/// Where requests of a kind stand in the log.
fn at(log: &[Logged], verb: Verb, resource: &str) -> Vec<usize> {
    let is = |r: &Logged| {
        r.verb == verb && r.resource == resource && r.subresource.is_empty() && !r.dry_run
    };
    let found = log.iter().enumerate().filter(|(_, r)| is(r));
    found.map(|(at, _)| at).collect()
}

#[tokio::test]
async fn routes_name_a_plugin_while_there_is_a_policy_and_are_then_as_they_were() {
    story(async |cluster| {
        kong(&cluster).await;
        cluster.apply(&on()).await;
        let set_up = cluster
            .is_double()
            .then(|| cluster.double().requests().len());
        let stage = start(&cluster).await;
        until_named(&cluster, true).await;
        until_reason(&cluster, "NoWorkers").await;
        let plugin = until_there(&cluster, "KongPlugin").await;
        assert_eq!(plugin["plugin"], "gaugeway");
        assert_eq!(
            plugin["config"]["gateway"],
            format!("{}/edge", cluster.namespace)
        );
        cluster.delete("LatencyPolicy", "p").await;
        until_named(&cluster, false).await;
        until_no_policy(&cluster).await;
        stage.stop().await;
        if let Some(set_up) = set_up {
            let log = cluster.double().requests().split_off(set_up);
            // The plugin comes first and goes last, after a dry run; no Service is ever touched.
            let routes = at(&log, Verb::Patch, "httproutes");
            let applied = at(&log, Verb::Patch, "kongplugins");
            let deleted = at(&log, Verb::Delete, "kongplugins");
            assert_eq!((routes.len(), applied.len(), deleted.len()), (2, 1, 1));
            assert!(applied[0] < routes[0] && routes[1] < deleted[0]);
            let dry = log.iter().position(|r| r.dry_run).unwrap();
            assert!(dry < applied[0]);
            let reads = [Verb::List, Verb::Watch, Verb::Get];
            let services = log.iter().filter(|r| r.resource == "services");
            assert!(services.clone().all(|r| reads.contains(&r.verb)));
            assert_eq!(at(&log, Verb::Patch, "grpcroutes").len(), 2);
        }
    })
    .await;
}

/// Kong's own errors count for what the plugin says. Never without a plugin meanwhile, and never with two: Kong's ingress
/// controller takes no second one of a kind.
#[tokio::test]
async fn a_route_that_leads_elsewhere_names_another_plugin() {
    story(async |cluster| {
        kong(&cluster).await;
        cluster.apply(&on()).await;
        let stage = start(&cluster).await;
        until_named(&cluster, true).await;
        let first = plugin_of_edge(&cluster).await.unwrap().unwrap();
        assert_eq!(first["config"]["identity"]["service"], "cart");
        cluster.apply(&service("mail")).await;
        for (kind, name) in [("HTTPRoute", "web"), ("GRPCRoute", "api")] {
            cluster.apply(&route(kind, name, &["mail"])).await;
        }
        until("another plugin stands alone", PATIENCE, || async {
            let plugins = cluster.list("KongPlugin").await?;
            let [plugin] = &plugins[..] else {
                anyhow::bail!("{plugins:?}");
            };
            ensure!(
                plugin["config"]["identity"]["service"] == "mail",
                "{plugin}"
            );
            Ok(())
        })
        .await
        .unwrap();
        until_named(&cluster, true).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_written_without_being_asked() {
    story(async |cluster| {
        kong(&cluster).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "NotDeployed").await;
        until_named(&cluster, false).await;
        stage.stop().await;
    })
    .await;
}

/// Until every Pod shows that it can load the filter, or somebody vouches for it. An upgrade takes it out.
#[tokio::test]
async fn pods_that_cannot_load_it_are_never_told_to() {
    story(async |cluster| {
        kong(&cluster).await;
        replace_proxy(&cluster, "kong:3.11").await;
        cluster.apply(&on()).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "WasmNotProven").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].to_string();
        assert!(status.contains("kong:3.11"), "{status}");
        until_named(&cluster, false).await;
        replace_proxy(&cluster, "kong:3.9.1").await;
        until_named(&cluster, true).await;
        replace_proxy(&cluster, "kong:3.11").await;
        until_named(&cluster, false).await;
        let assumed = json!({"deploy": {"enabled": true, "assumeWasm": true}});
        cluster.apply(&policy("p", "edge", &assumed)).await;
        until_named(&cluster, true).await;
        stage.stop().await;
    })
    .await;
}

/// Nobody knows the Pods: nothing changes, and the status says why.
#[tokio::test]
async fn a_data_plane_that_is_not_found_is_said() {
    story(async |cluster| {
        kong(&cluster).await;
        cluster.apply(&on()).await;
        let stage = start(&cluster).await;
        until_named(&cluster, true).await;
        cluster
            .apply(&json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {
                    "name": "edge", "annotations": {"konghq.com/publish-service": ""},
                },
            }))
            .await;
        until_reason(&cluster, "WasmNotProven").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].to_string();
        assert!(status.contains("publish-service"), "{status}");
        until_named(&cluster, true).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_kong_would_refuse_is_not_written() {
    story_with_faults(async |cluster| {
        kong(&cluster).await;
        let assumed = json!({"deploy": {"enabled": true, "assumeWasm": true}});
        cluster.apply(&policy("p", "edge", &assumed)).await;
        let webhook = Fault::on("kongplugins", Effect::Status(400)).verbs(&[Verb::Patch]);
        cluster.double().fault(webhook);
        let stage = start(&cluster).await;
        until_reason(&cluster, "WasmNotProven").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].to_string();
        assert!(status.contains("dry run"), "{status}");
        let log = cluster.double().requests();
        assert!(at(&log, Verb::Patch, "kongplugins").is_empty());
        until_named(&cluster, false).await;
        cluster.double().lift_faults();
        until_named(&cluster, true).await;
        stage.stop().await;
    })
    .await;
}

/// Gateway `edge` of Kong's operator, which made it a DataPlane.
pub(crate) async fn kongs_operator(cluster: &Cluster) {
    gateway_of(cluster, OPERATOR).await;
    let group = "gateway-operator.konghq.com";
    cluster
        .define_kind(group, "v1beta1", "DataPlane", "dataplanes")
        .await;
    let owner = |api: &str, kind: &str, of: &Value| {
        let meta = &of["metadata"];
        json!([{"apiVersion": api, "kind": kind, "name": meta["name"], "uid": meta["uid"]}])
    };
    let gateway = cluster.get("Gateway", "edge").await.unwrap();
    let owners = owner("gateway.networking.k8s.io/v1", "Gateway", &gateway);
    let plane = json!({
        "apiVersion": "gateway-operator.konghq.com/v1beta1", "kind": "DataPlane",
        "metadata": {"name": "edge-1", "ownerReferences": owners},
        "spec": {"deployment": {"podTemplateSpec": {"spec": {"containers": [
            {"name": "proxy", "image": "kong/kong-gateway:3.10"},
        ]}}}},
    });
    let plane = cluster.apply(&plane).await;
    let owners = owner("gateway-operator.konghq.com/v1beta1", "DataPlane", &plane);
    let metadata = json!({
        "labels": {"gateway-operator.konghq.com/dataplane-service-type": "ingress"},
        "ownerReferences": owners,
    });
    cluster.apply(&proxy_service(&metadata)).await;
}

#[tokio::test]
async fn a_gateway_of_kongs_operator_is_found_by_its_data_plane() {
    story(async |cluster| {
        define_plugins(&cluster).await;
        kongs_operator(&cluster).await;
        for object in [
            proxy("kong/kong-gateway:3.10"),
            taken("HTTPRoute", "web", Some("rate, auth ")),
            taken("GRPCRoute", "api", None),
            on(),
        ] {
            cluster.apply(&object).await;
        }
        let stage = start(&cluster).await;
        until_named(&cluster, true).await;
        stage.stop().await;
    })
    .await;
}

/// An IngressClass of Kong with the story's name, an Ingress `shop` of it and one of another class, and a policy `p`.
pub(crate) async fn kongs_class(cluster: &Cluster) {
    let class = &cluster.namespace;
    // An address for documentation: no Service of a cluster has it.
    let address = "192.0.2.7";
    let mut served = proxy_service(&json!({}));
    served["spec"]["externalIPs"] = json!([address]);
    let mut one = ingress("shop", class, "cart");
    one["status"] = json!({"loadBalancer": {"ingress": [{"ip": address}]}});
    let mut policy = on();
    policy["metadata"]["name"] = json!("of-class");
    policy["spec"]["targetRefs"] =
        json!([{"group": "networking.k8s.io", "kind": "IngressClass", "name": class}]);
    for object in [
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": class},
            "spec": {"controller": "ingress-controllers.konghq.com/kong"},
        }),
        service("cart"),
        served,
        proxy("kong:3.9"),
        one,
        ingress("other", "other", "cart"),
        policy,
    ] {
        cluster.apply(&object).await;
    }
}

pub(crate) async fn until_ingress_named(cluster: &Cluster, named: bool) {
    until(&format!("Ingress named: {named}"), PATIENCE, || async {
        let value = annotation(cluster, "Ingress", "shop").await;
        ensure!(value.is_some() == named, "{value:?}");
        Ok(())
    })
    .await
    .unwrap();
}

/// By the address that Kong's ingress controller writes into their status.
#[tokio::test]
async fn ingresses_of_a_class_name_it_too() {
    story(async |cluster| {
        cluster.define_policies().await;
        define_plugins(&cluster).await;
        kongs_class(&cluster).await;
        let stage = start(&cluster).await;
        until_ingress_named(&cluster, true).await;
        let plugin = until_there(&cluster, "KongPlugin").await;
        let value = annotation(&cluster, "Ingress", "shop").await.unwrap();
        assert_eq!(plugin["metadata"]["name"], value);
        assert_eq!(annotation(&cluster, "Ingress", "other").await, None);
        cluster.delete("LatencyPolicy", "of-class").await;
        until_gone(&cluster, "KongPlugin").await;
        until_ingress_named(&cluster, false).await;
        cluster.delete("IngressClass", &cluster.namespace).await;
        stage.stop().await;
    })
    .await;
}

/// The policy of a tenant, and the same of who runs the controller.
#[tokio::test]
async fn a_tenant_cannot_vouch_for_everybodys_kong() {
    story(async |cluster| {
        cluster.define_policies().await;
        define_plugins(&cluster).await;
        kongs_class(&cluster).await;
        replace_proxy(&cluster, "kong:latest").await;
        let mut assumed = cluster.get("LatencyPolicy", "of-class").await.unwrap();
        assumed = json!({
            "apiVersion": assumed["apiVersion"], "kind": "LatencyPolicy", "metadata": {"name": "of-class"},
            "spec": {"targetRefs": assumed["spec"]["targetRefs"], "deploy": {"enabled": true, "assumeWasm": true}},
        });
        cluster.apply(&assumed).await;
        let stage = start_in(&cluster, "default").await;
        until("it says that it is not proven", PATIENCE, || async {
            let policy = cluster.get("LatencyPolicy", "of-class").await?;
            let text = policy["status"].to_string();
            ensure!(text.contains("WasmNotProven") && text.contains("controller's namespace"), "{text}");
            Ok(())
        })
        .await
        .unwrap();
        until_ingress_named(&cluster, false).await;
        stage.stop().await;
        let stage = start(&cluster).await;
        until_ingress_named(&cluster, true).await;
        cluster.delete("LatencyPolicy", "of-class").await;
        until_ingress_named(&cluster, false).await;
        cluster.delete("IngressClass", &cluster.namespace).await;
        stage.stop().await;
    })
    .await;
}

/// Kong's definitions are not installed, though a class says that Kong is here.
#[tokio::test]
async fn a_kind_that_is_not_served_is_said() {
    story_with_faults(async |cluster| {
        gateway_of(&cluster, KIC).await;
        let assumed = json!({"deploy": {"enabled": true, "assumeWasm": true}});
        for object in [
            taken("HTTPRoute", "web", Some("rate, auth ")),
            policy("p", "edge", &assumed),
        ] {
            cluster.apply(&object).await;
        }
        let stage = start(&cluster).await;
        until_reason(&cluster, "ApplyFailed").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].to_string();
        assert!(status.contains("CustomResourceDefinition"), "{status}");
        let value = annotation(&cluster, "HTTPRoute", "web").await;
        assert_eq!(value.as_deref(), Some("rate, auth "));
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn detach_all_takes_it_out_of_kong() {
    story(async |cluster| {
        kong(&cluster).await;
        cluster.apply(&on()).await;
        let stage = start(&cluster).await;
        until_named(&cluster, true).await;
        let asked = config::Cluster {
            kubeconfig: Some(cluster.kubeconfig.clone()),
            namespaces: vec![cluster.namespace.clone()],
            own_namespace: Some(cluster.namespace.clone()),
            ..config::Cluster::default()
        };
        let mut told = Vec::new();
        let done = detach_all(&asked, PATIENCE, |left| told.push(left.clone())).await;
        assert_eq!(done.unwrap().policies, [format!("{}/p", cluster.namespace)]);
        assert_eq!(told.last(), Some(&Left::default()));
        until_named(&cluster, false).await;
        until_reason(&cluster, "Detached").await;
        stage.stop().await;
    })
    .await;
}
