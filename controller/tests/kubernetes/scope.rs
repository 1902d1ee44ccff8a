//! What a controller that deploys may see and do: some namespaces only, not every kind, not Kong.

use gaugeway_apiserver::{Effect, Fault, Verb};
use gaugeway_controller::{config, detach::detach_all};
use gaugeway_rig::wait::PATIENCE;
use serde_json::json;

use crate::{
    cluster::{story, story_with_faults},
    deploying::{
        ENVOY_GATEWAY, ISTIO, gateway_of, start, start_with, until_gone, until_reason, until_there,
    },
    kong::{
        define_plugins, kong, kongs_class, on, until_ingress_named, until_named, until_no_policy,
    },
    objects::policy,
};

/// With Roles only: it asks for nothing that has no namespace, and the command line says whose the classes are.
#[tokio::test]
async fn some_namespaces_are_enough_if_classes_are_named() {
    story(async |cluster| {
        kong(&cluster).await;
        kongs_class(&cluster).await;
        cluster.apply(&on()).await;
        let set_up = cluster
            .is_double()
            .then(|| cluster.double().requests().len());
        let own = cluster.namespace.clone();
        let stage = start_with(&cluster, &own, |cluster, deploying| {
            cluster.namespaces = vec![own.clone()];
            // One name stands for a GatewayClass and an IngressClass: here both are Kong's.
            deploying.classes =
                [(own.clone(), "konghq.com/kic-gateway-controller".to_owned())].into();
        })
        .await;
        until_named(&cluster, true).await;
        until_ingress_named(&cluster, true).await;
        for name in ["p", "of-class"] {
            cluster.delete("LatencyPolicy", name).await;
        }
        until_no_policy(&cluster).await;
        until_named(&cluster, false).await;
        stage.stop().await;
        if let Some(set_up) = set_up {
            let log = cluster.double().requests().split_off(set_up);
            let beyond =
                |r: &&gaugeway_apiserver::Logged| r.verb != Verb::Discover && r.namespace != own;
            let beyond: Vec<_> = log.iter().filter(beyond).collect();
            assert!(beyond.is_empty(), "{beyond:?}");
        }
        cluster.delete("IngressClass", &cluster.namespace).await;
    })
    .await;
}

#[tokio::test]
async fn a_class_that_nobody_names_is_left_alone() {
    story(async |cluster| {
        gateway_of(&cluster, ISTIO).await;
        let istio = "extensions.istio.io";
        cluster
            .define_kind(istio, "v1alpha1", "WasmPlugin", "wasmplugins")
            .await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let own = cluster.namespace.clone();
        let stage = start_with(&cluster, &own, |cluster, deploying| {
            cluster.namespaces = vec![own.clone()];
            deploying.classes = [("other".to_owned(), ISTIO.to_owned())].into();
        })
        .await;
        until_reason(&cluster, "Unsupported").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].to_string();
        assert!(status.contains("--gateway-classes"), "{status}");
        stage.stop().await;
    })
    .await;
}

/// Without `--deploy-kong` nothing of Kong's is so much as asked for.
#[tokio::test]
async fn kong_is_left_alone_by_a_controller_that_was_not_told_to() {
    story(async |cluster| {
        kong(&cluster).await;
        cluster.apply(&on()).await;
        let set_up = cluster
            .is_double()
            .then(|| cluster.double().requests().len());
        let own = cluster.namespace.clone();
        let stage = start_with(&cluster, &own, |_, deploying| deploying.kong = false).await;
        until_reason(&cluster, "NotDeployed").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].to_string();
        assert!(status.contains("--deploy-kong"), "{status}");
        if let Some(set_up) = set_up {
            let log = cluster.double().requests().split_off(set_up);
            assert!(log.iter().all(|r| r.resource != "kongplugins"));
        }
        stage.stop().await;
        until_named(&cluster, false).await;
    })
    .await;
}

/// A right that is missing for one kind of gateway is none of the others' business.
#[tokio::test]
async fn a_missing_right_stops_only_whom_it_is_about() {
    story_with_faults(async |cluster| {
        gateway_of(&cluster, ENVOY_GATEWAY).await;
        define_plugins(&cluster).await;
        let group = "gateway.envoyproxy.io";
        let (kind, plural) = ("EnvoyExtensionPolicy", "envoyextensionpolicies");
        cluster.define_kind(group, "v1alpha1", kind, plural).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        for resource in ["kongplugins", "wasmplugins"] {
            cluster
                .double()
                .fault(Fault::on(resource, Effect::Status(403)));
        }
        let stage = start(&cluster).await;
        until_there(&cluster, "EnvoyExtensionPolicy").await;
        until_reason(&cluster, "NoWorkers").await;
        // And its own: what is there stays, and the reason names the right.
        let refused = Fault::on("envoyextensionpolicies", Effect::Status(403));
        let refused = refused.verbs(&[Verb::List, Verb::Watch]);
        let double = cluster.double();
        double.fault(refused.only(|r| r.namespace.is_empty()));
        // A watch outlives the right to it.
        double.drop_watches();
        until_reason(&cluster, "ApplyFailed").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].to_string();
        assert!(
            status.contains("envoyextensionpolicies.gateway.envoyproxy.io"),
            "{status}"
        );
        until_there(&cluster, "EnvoyExtensionPolicy").await;
        cluster.double().lift_faults();
        cluster.delete("LatencyPolicy", "p").await;
        until_gone(&cluster, "EnvoyExtensionPolicy").await;
        stage.stop().await;
    })
    .await;
}

/// The chart's hook runs with the controller's own rights, which are none on Kong's plugins by default.
#[tokio::test]
async fn detach_all_needs_no_rights_on_kongs_plugins() {
    story_with_faults(async |cluster| {
        gateway_of(&cluster, ISTIO).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        cluster
            .double()
            .fault(Fault::on("kongplugins", Effect::Status(403)));
        let asked = config::Cluster {
            kubeconfig: Some(cluster.kubeconfig.clone()),
            own_namespace: Some(cluster.namespace.clone()),
            ..config::Cluster::default()
        };
        let done = detach_all(&asked, PATIENCE, |_| {}).await;
        assert_eq!(done.unwrap().policies, [format!("{}/p", cluster.namespace)]);
    })
    .await;
}
