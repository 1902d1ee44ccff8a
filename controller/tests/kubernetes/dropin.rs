//! Extensions of Kong's operator measure what they select, and nothing of theirs is written.

use anyhow::ensure;
use gaugeway_apiserver::Verb;
use gaugeway_controller::{Config, config::Source};
use gaugeway_rig::{
    Client,
    client::Request,
    wait::{PATIENCE, until},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, story, story_with_faults},
    kong::{kongs_operator, proxy},
    kong_objects::{GROUP, class, configuration, control_plane, extension},
    objects::{gateway, ingress, policy, route, service, slice},
    stage::Stage,
};

const VERSIONS: [&str; 2] = ["v1beta1", "v2beta1"];
const CART: &str = "10.0.0.1:8080";
const PAY: &str = "10.0.0.2:8080";

/// Kinds of Kong's operator, its ControlPlanes and GatewayConfigurations of one version.
pub(crate) async fn define_kong(cluster: &Cluster, version: &str) {
    for (version, kind, plural) in [
        (
            "v1alpha1",
            "DataPlaneMetricsExtension",
            "dataplanemetricsextensions",
        ),
        (version, "ControlPlane", "controlplanes"),
        (version, "GatewayConfiguration", "gatewayconfigurations"),
    ] {
        cluster.define_kind(GROUP, version, kind, plural).await;
    }
}

/// Services `cart` and `pay` behind Gateway `edge`.
async fn shop(cluster: &Cluster) {
    cluster.define_routes().await;
    cluster.define_policies().await;
    for object in [
        gateway("edge"),
        service("cart"),
        slice("cart-1", "cart", &["10.0.0.1=a"]),
        service("pay"),
        slice("pay-1", "pay", &["10.0.0.2=b"]),
        route("HTTPRoute", "web", &["cart", "pay"]),
    ] {
        cluster.apply(&object).await;
    }
}

/// A ControlPlane of a Gateway, which names these extensions. A garbage collector takes what a Gateway owns that is not there.
pub(crate) async fn own(cluster: &Cluster, version: &str, gateway: &str, names: &[&str]) {
    let mut plane = control_plane(version, "cp", &format!("Gateway/{gateway}"), names);
    let owner = cluster.get("Gateway", gateway).await.unwrap();
    plane["metadata"]["ownerReferences"][0]["uid"] = owner["metadata"]["uid"].clone();
    cluster.apply(&plane).await;
}

pub(crate) fn reads_extensions(config: &mut Config) {
    let Source::Kubernetes(cluster) = &mut config.source else {
        panic!("a cluster")
    };
    cluster.kong_extensions = true;
}

async fn start(cluster: &Cluster) -> Stage {
    let stage = Stage::launch_with(&cluster.kubeconfig, &[], reads_extensions).await;
    stage.ready().await;
    stage
}

/// `cart` alone is measured at `edge`, by the extension: without further labels.
async fn until_selected(cluster: &Cluster, stage: &Stage) {
    let ns = &cluster.namespace;
    let (edge, cart) = (format!("{ns}/edge"), format!("{ns} cart"));
    stage.until_owners(&edge, CART, &[&cart]).await;
    stage.until_owners(&edge, PAY, &[]).await;
}

/// Everything is measured as the command line says.
async fn until_default(cluster: &Cluster, stage: &Stage) {
    let ns = &cluster.namespace;
    let edge = format!("{ns}/edge");
    stage
        .until_owners(&edge, CART, &[&format!("{ns} a cart http")])
        .await;
    stage
        .until_owners(&edge, PAY, &[&format!("{ns} b pay http")])
        .await;
}

/// As `gaugeway explain extension/NAME` has it.
async fn explained(cluster: &Cluster, stage: &Stage, name: &str) -> anyhow::Result<Value> {
    let path = format!("/api/v1/explain/extension/{}/{name}", cluster.namespace);
    let answer = Client::unpooled(stage.ports().api)
        .send(Request::get(&path))
        .await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Waits until the explanation has these words, and its verdict.
async fn until_explained(cluster: &Cluster, stage: &Stage, verdict: &str, words: &str) {
    until(&format!("{verdict}: {words}"), PATIENCE, || async {
        let told = explained(cluster, stage, "e").await?;
        ensure!(
            told["verdict"] == verdict && told.to_string().contains(words),
            "{told}"
        );
        Ok(())
    })
    .await
    .unwrap();
}

pub(crate) async fn until_state(stage: &Stage, state: &str) {
    until(&format!("an extension is {state}"), PATIENCE, || async {
        let name = "gaugeway_kong_metrics_extensions";
        let count = stage.metric(name, &[("state", state)]).await?;
        ensure!((count - 1.0).abs() < 1e-9, "{count}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Samples that `kong_upstream_latency_ms` has of a Service.
async fn shown(cluster: &Cluster, stage: &Stage, service: &str) -> f64 {
    let labels = [("service", service), ("namespace", &cluster.namespace)];
    let name = "kong_upstream_latency_ms_count";
    stage.metric(name, &labels).await.unwrap()
}

#[tokio::test]
async fn what_an_extension_selects_is_measured_until_it_goes() {
    // A real cluster has one definition for all stories.
    for version in VERSIONS {
        story_with_faults(async |cluster| {
            shop(&cluster).await;
            define_kong(&cluster, version).await;
            let edge = format!("{}/edge", cluster.namespace);
            cluster.apply(&extension("e", &["cart"], true)).await;
            let stage = start(&cluster).await;
            until_default(&cluster, &stage).await;
            until_state(&stage, "unattached").await;
            until_explained(&cluster, &stage, "notMeasured", "no ControlPlane names it").await;
            own(&cluster, version, "edge", &["e"]).await;
            until_selected(&cluster, &stage).await;
            until_state(&stage, "measured").await;
            until_explained(
                &cluster,
                &stage,
                "measured",
                "config.upstreamHealth is not Gaugeway's",
            )
            .await;
            for service in ["cart", "pay"] {
                stage
                    .report(&edge, &cluster.namespace, service)
                    .await
                    .unwrap();
            }
            let labels = [
                ("namespace", cluster.namespace.as_str()),
                ("service", "cart"),
                ("kubernetes_apiversion", "v1"),
                ("kubernetes_kind", "service"),
                ("kubernetes_name", "cart"),
                ("kubernetes_namespace", &cluster.namespace),
                ("dataplane_url", &edge),
            ];
            // A scraper that came before is shown a new series at 0 once.
            until("it is shown", PATIENCE, || async {
                let name = "kong_upstream_latency_ms_count";
                let count = stage.metric(name, &labels).await?;
                ensure!((count - 1.0).abs() < 1e-9, "{count}");
                Ok(())
            })
            .await
            .unwrap();
            assert!(shown(&cluster, &stage, "pay").await.abs() < 1e-9);
            cluster.delete("DataPlaneMetricsExtension", "e").await;
            until_default(&cluster, &stage).await;
            until_explained(
                &cluster,
                &stage,
                "notMeasured",
                "there is no DataPlaneMetricsExtension",
            )
            .await;
            assert!(shown(&cluster, &stage, "cart").await.abs() < 1e-9);
            stage.stop().await;
        })
        .await;
    }
}

#[tokio::test]
async fn kinds_that_come_later_are_picked_up() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let stage = start(&cluster).await;
        until_default(&cluster, &stage).await;
        define_kong(&cluster, "v2beta1").await;
        cluster.apply(&extension("e", &["cart"], true)).await;
        own(&cluster, "v2beta1", "edge", &["e"]).await;
        until_selected(&cluster, &stage).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_gateway_configuration_names_extensions_for_its_gateways() {
    for (version, member) in [
        ("v1beta1", "controlPlaneOptions"),
        ("v2beta1", "extensions"),
    ] {
        story_with_faults(async |cluster| {
            shop(&cluster).await;
            define_kong(&cluster, version).await;
            let ns = cluster.namespace.clone();
            let mut edge = gateway("edge");
            edge["spec"]["gatewayClassName"] = json!(ns);
            for object in [
                edge,
                class(&ns, &ns, "conf"),
                configuration(version, "conf", member, &["e"]),
                extension("e", &["cart"], true),
            ] {
                cluster.apply(&object).await;
            }
            own(&cluster, version, "edge", &[]).await;
            let stage = start(&cluster).await;
            until_selected(&cluster, &stage).await;
            // Detached: the reference goes.
            let mut detached = configuration(version, "conf", member, &[]);
            detached["spec"][member] = json!(match member {
                "extensions" => json!([]),
                _ => json!({"extensions": []}),
            });
            cluster.apply(&detached).await;
            until_default(&cluster, &stage).await;
            stage.stop().await;
        })
        .await;
    }
}

#[tokio::test]
async fn one_at_an_ingress_class_measures_its_ingresses() {
    story(async |cluster| {
        shop(&cluster).await;
        define_kong(&cluster, "v2beta1").await;
        let ns = cluster.namespace.clone();
        let kong = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": ns},
            "spec": {"controller": "ingress-controllers.konghq.com/kong"},
        });
        for object in [
            kong,
            ingress("web", &ns, "cart"),
            extension("e", &["cart"], true),
            control_plane("v2beta1", "cp", &ns, &["e"]),
        ] {
            cluster.apply(&object).await;
        }
        let stage = start(&cluster).await;
        let of_class = format!("ingressclass:{ns}");
        stage
            .until_owners(&of_class, CART, &[&format!("{ns} cart")])
            .await;
        until_state(&stage, "measured").await;
        // Routes of Gateways are not its.
        until_default(&cluster, &stage).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn without_latency_it_measures_nothing() {
    story(async |cluster| {
        shop(&cluster).await;
        define_kong(&cluster, "v2beta1").await;
        cluster.apply(&extension("e", &["cart"], false)).await;
        own(&cluster, "v2beta1", "edge", &["e"]).await;
        let stage = start(&cluster).await;
        until_state(&stage, "off").await;
        until_default(&cluster, &stage).await;
        until_explained(&cluster, &stage, "notMeasured", "config.latency is false").await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_latency_policy_wins_however_young_and_the_extension_follows_it() {
    story(async |cluster| {
        shop(&cluster).await;
        define_kong(&cluster, "v2beta1").await;
        cluster.apply(&extension("e", &["cart"], true)).await;
        own(&cluster, "v2beta1", "edge", &["e"]).await;
        let stage = start(&cluster).await;
        until_selected(&cluster, &stage).await;
        let pods = json!({"dimensions": ["pod"]});
        cluster.apply(&policy("p", "edge", &pods)).await;
        let ns = &cluster.namespace;
        let edge = format!("{ns}/edge");
        stage
            .until_owners(&edge, CART, &[&format!("{ns} a cart")])
            .await;
        stage
            .until_owners(&edge, PAY, &[&format!("{ns} b pay")])
            .await;
        until_state(&stage, "overridden").await;
        until_explained(
            &cluster,
            &stage,
            "notMeasured",
            &format!("LatencyPolicy {ns}/p has every"),
        )
        .await;
        cluster.delete("LatencyPolicy", "p").await;
        until_selected(&cluster, &stage).await;
        stage.stop().await;
    })
    .await;
}

/// The migration: detached, cleaned up, scraper off, attached again.
#[tokio::test]
async fn kongs_metric_has_one_source() {
    story(async |cluster| {
        shop(&cluster).await;
        define_kong(&cluster, "v2beta1").await;
        let ns = cluster.namespace.clone();
        let edge = format!("{ns}/edge");
        let mut held = extension("e", &["cart"], true);
        held["status"] = json!({"controlPlaneRef": {"name": "cp"}});
        let mut plugged = service("cart");
        plugged["metadata"]["annotations"] =
            json!({"konghq.com/plugins": "auth,cart-metrics-prometheus"});
        cluster.apply(&held).await;
        cluster.apply(&plugged).await;
        own(&cluster, "v2beta1", "edge", &["e"]).await;
        let stage = start(&cluster).await;
        until_selected(&cluster, &stage).await;
        stage.report(&edge, &ns, "cart").await.unwrap();
        let name = "gaugeway_upstream_requests_total";
        let counted = stage
            .metric(name, &[("kubernetes_service", "cart")])
            .await
            .unwrap();
        assert!((counted - 1.0).abs() < 1e-9);
        assert!(shown(&cluster, &stage, "cart").await.abs() < 1e-9);
        until_explained(&cluster, &stage, "measured", "status.controlPlaneRef names").await;
        // Detached, and not cleaned up.
        held["status"] = json!({"controlPlaneRef": null});
        cluster.apply(&held).await;
        until_explained(&cluster, &stage, "measured", "cart-metrics-prometheus").await;
        plugged["metadata"]["annotations"] = json!({"konghq.com/plugins": "auth"});
        cluster.apply(&plugged).await;
        until_explained(&cluster, &stage, "measured", "has its Services").await;
        until("it is shown", PATIENCE, || async {
            stage.report(&edge, &ns, "cart").await?;
            ensure!(shown(&cluster, &stage, "cart").await > 0.0);
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_latency_policy_is_told_that_kongs_operator_still_scrapes() {
    story(async |cluster| {
        shop(&cluster).await;
        let ns = cluster.namespace.clone();
        let edge = format!("{ns}/edge");
        let mut plugged = service("cart");
        plugged["metadata"]["annotations"] =
            json!({"konghq.com/plugins": "cart-metrics-prometheus"});
        cluster.apply(&plugged).await;
        cluster
            .apply(&policy("p", "edge", &json!({"kongCompatible": true})))
            .await;
        let stage = start(&cluster).await;
        for service in ["cart", "pay"] {
            stage.report(&edge, &ns, service).await.unwrap();
        }
        assert!(shown(&cluster, &stage, "cart").await.abs() < 1e-9);
        assert!((shown(&cluster, &stage, "pay").await - 1.0).abs() < 1e-9);
        stage
            .until_owners(&edge, PAY, &[&format!("{ns} b pay http")])
            .await;
        until("its status says so", PATIENCE, || async {
            let object = cluster.get("LatencyPolicy", "p").await?;
            let condition = &object["status"]["ancestors"][0]["conditions"][1];
            let message = condition["message"].as_str().unwrap_or_default();
            ensure!(condition["reason"] == "PartiallyProgrammed", "{condition}");
            ensure!(message.contains("kongCompatible is off"), "{condition}");
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_data_plane_without_wasm_gains_nothing_and_that_is_said() {
    story(async |cluster| {
        kongs_operator(&cluster).await;
        define_kong(&cluster, "v2beta1").await;
        cluster.apply(&proxy("kong:3.11")).await;
        cluster.apply(&extension("e", &["cart"], true)).await;
        own(&cluster, "v2beta1", "edge", &["e"]).await;
        let stage = start(&cluster).await;
        until_state(&stage, "no_wasm").await;
        until_explained(&cluster, &stage, "notMeasured", "image kong:3.11").await;
        let mut pinned = proxy("kong:3.9");
        pinned["metadata"]["name"] = json!("kong-2");
        cluster.delete("Pod", "kong-1").await;
        cluster.apply(&pinned).await;
        until_state(&stage, "no_workers").await;
        until_explained(&cluster, &stage, "notMeasured", "can load the filter").await;
        // A filter that calls is the best proof.
        let edge = format!("{}/edge", cluster.namespace);
        stage.owners(&edge, CART).await.unwrap();
        until_state(&stage, "measured").await;
        stage.stop().await;
    })
    .await;
}

/// Without a right on anything of the cluster: a ControlPlane names the extension itself.
#[tokio::test]
async fn in_some_namespaces_only_nothing_of_the_cluster_is_read() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        define_kong(&cluster, "v2beta1").await;
        cluster.apply(&extension("e", &["cart"], true)).await;
        own(&cluster, "v2beta1", "edge", &["e"]).await;
        let ns = cluster.namespace.as_str();
        let before = cluster.double().requests().len();
        let stage = Stage::launch_with(&cluster.kubeconfig, &[ns], reads_extensions).await;
        stage.ready().await;
        until_selected(&cluster, &stage).await;
        until_state(&stage, "measured").await;
        stage.stop().await;
        let log = cluster.double().requests().split_off(before);
        let asked = log.iter().filter(|r| r.verb != Verb::Discover);
        let elsewhere: Vec<_> = asked.filter(|r| r.namespace != ns).collect();
        assert!(elsewhere.is_empty(), "{elsewhere:?}");
    })
    .await;
}

#[tokio::test]
async fn nothing_of_kongs_operator_is_written_and_nothing_read_unasked() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        define_kong(&cluster, "v2beta1").await;
        cluster.apply(&extension("e", &["cart"], true)).await;
        own(&cluster, "v2beta1", "edge", &["e"]).await;
        let asked = |from: usize| {
            let log = cluster.double().requests().split_off(from);
            let of_kong = log.into_iter().filter(|r| r.group == GROUP);
            of_kong.map(|r| r.verb).collect::<Vec<_>>()
        };
        let before = cluster.double().requests().len();
        let stage = Stage::start(&cluster.kubeconfig).await;
        until_default(&cluster, &stage).await;
        let told = explained(&cluster, &stage, "e").await.unwrap();
        assert!(
            told.to_string().contains("--kong-metrics-extensions"),
            "{told}"
        );
        stage.stop().await;
        assert_eq!(asked(before), []);
        let before = cluster.double().requests().len();
        let stage = start(&cluster).await;
        until_selected(&cluster, &stage).await;
        stage.stop().await;
        let reads = [Verb::Discover, Verb::List, Verb::Watch];
        let asked = asked(before);
        assert!(
            !asked.is_empty() && asked.iter().all(|verb| reads.contains(verb)),
            "{asked:?}"
        );
    })
    .await;
}
