//! A controller that deploys reads from watches, and is none the worse for what may become of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use gaugeway_apiserver::{Effect, Fault, Verb};
use gaugeway_rig::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, story, story_with_faults},
    deploying::{ENVOY_GATEWAY, ISTIO, gateway_of, ours, start, until_reason, until_there},
    kong::{kong, on, until_named},
    objects::policy,
    stage::Stage,
};

async fn istio(cluster: &Cluster) {
    gateway_of(cluster, ISTIO).await;
    let group = "extensions.istio.io";
    cluster
        .define_kind(group, "v1alpha1", "WasmPlugin", "wasmplugins")
        .await;
    cluster.apply(&policy("p", "edge", &json!({}))).await;
}

async fn rounds(stage: &Stage) -> Result<f64> {
    let rounds = "gaugeway_deploy_rounds_total";
    stage.metric(rounds, &[("result", "ok")]).await
}

/// What was asked in the course of some rounds.
async fn asked(cluster: &Cluster, stage: &Stage) -> Vec<(Verb, String)> {
    let (first, requests) = (rounds(stage).await.unwrap(), cluster.double().requests());
    until("some rounds", PATIENCE, || async {
        ensure!(rounds(stage).await? >= first + 5.0);
        Ok(())
    })
    .await
    .unwrap();
    let since = cluster.double().requests().split_off(requests.len());
    since.into_iter().map(|r| (r.verb, r.resource)).collect()
}

/// What is ours, changed by somebody else.
async fn edit(cluster: &Cluster) {
    let mut plugin = until_there(cluster, "WasmPlugin").await;
    plugin["spec"]["failStrategy"] = json!("FAIL_CLOSE");
    let change = json!({
        "apiVersion": plugin["apiVersion"], "kind": "WasmPlugin",
        "metadata": {"name": plugin["metadata"]["name"]}, "spec": plugin["spec"],
    });
    cluster.apply(&change).await;
}

async fn until_put_back(cluster: &Cluster) {
    until("it is as it was", PATIENCE, || async {
        let plugin = ours(cluster, "WasmPlugin").await?.unwrap_or(Value::Null);
        ensure!(plugin["spec"]["failStrategy"] == "FAIL_OPEN", "{plugin}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn rounds_that_find_nothing_to_do_list_nothing() {
    story_with_faults(async |cluster| {
        kong(&cluster).await;
        cluster.apply(&on()).await;
        let stage = start(&cluster).await;
        until_named(&cluster, true).await;
        // Of a gateway that says where it is published.
        let few = ["pods", "services"];
        until("what is asked is watched", PATIENCE, || async {
            let asked = asked(&cluster, &stage).await;
            let lists = asked.iter().filter(|(verb, _)| *verb == Verb::List);
            let more: Vec<_> = lists.filter(|(_, of)| !few.contains(&&**of)).collect();
            ensure!(more.is_empty(), "{more:?}");
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_somebody_edits_is_put_back() {
    story(async |cluster| {
        istio(&cluster).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "NoWorkers").await;
        for _ in 0..2 {
            edit(&cluster).await;
            until_put_back(&cluster).await;
        }
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_fails_or_expires_hides_no_edit() {
    story_with_faults(async |cluster| {
        istio(&cluster).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "NoWorkers").await;
        let double = cluster.double();
        for status in [403, 500, 410] {
            double.fault(Fault::on("wasmplugins", Effect::Status(status)).verbs(&[Verb::Watch]));
            double.drop_watches();
            edit(&cluster).await;
            until_put_back(&cluster).await;
            edit(&cluster).await;
            double.expire();
            double.lift_faults();
            until_put_back(&cluster).await;
        }
        stage.stop().await;
    })
    .await;
}

/// What was written is known before the watch tells of it: it is not written again, round after round.
#[tokio::test]
async fn a_watch_that_is_late_makes_nothing_be_written_twice() {
    story_with_faults(async |cluster| {
        istio(&cluster).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "NoWorkers").await;
        let list = (Verb::List, "wasmplugins".to_owned());
        until("its plugins are watched", PATIENCE, || async {
            ensure!(!asked(&cluster, &stage).await.contains(&list));
            Ok(())
        })
        .await
        .unwrap();
        let late = Effect::Latency(Duration::from_secs(3600));
        let double = cluster.double();
        double.fault(Fault::on("wasmplugins", late).verbs(&[Verb::Watch]));
        double.drop_watches();
        cluster.apply(&policy("q", "edge", &json!({}))).await;
        until("the plugin names both", PATIENCE, || async {
            let plugin = ours(&cluster, "WasmPlugin").await?.unwrap_or(Value::Null);
            ensure!(plugin["metadata"]["ownerReferences"][1]["name"] == "q");
            Ok(())
        })
        .await
        .unwrap();
        let _ = asked(&cluster, &stage).await;
        let since = asked(&cluster, &stage).await;
        let plugins: Vec<_> = since.iter().filter(|(_, of)| of == "wasmplugins").collect();
        assert!(plugins.is_empty(), "{plugins:?}");
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_kind_that_comes_later_is_written_and_then_watched() {
    story_with_faults(async |cluster| {
        gateway_of(&cluster, ENVOY_GATEWAY).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "ApplyFailed").await;
        let (group, plural) = ("gateway.envoyproxy.io", "envoyextensionpolicies");
        cluster
            .define_kind(group, "v1alpha1", "EnvoyExtensionPolicy", plural)
            .await;
        until_there(&cluster, "EnvoyExtensionPolicy").await;
        until_reason(&cluster, "NoWorkers").await;
        let list = (Verb::List, plural.to_owned());
        until("it is watched", PATIENCE, || async {
            ensure!(!asked(&cluster, &stage).await.contains(&list));
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

/// Of kinds that the cluster does not serve nothing is asked, whatever the number of namespaces: discovery says so.
#[tokio::test]
async fn kinds_that_are_not_served_are_looked_for_by_discovery_alone() {
    story_with_faults(async |cluster| {
        istio(&cluster).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "NoWorkers").await;
        let kinds = [
            "envoyextensionpolicies",
            "envoypatchpolicies",
            "kongplugins",
        ];
        let all = asked(&cluster, &stage).await;
        let absent: Vec<_> = all
            .iter()
            .filter(|(_, of)| kinds.contains(&&**of))
            .collect();
        assert!(absent.is_empty(), "{absent:?}");
        assert!(all.iter().any(|(verb, _)| *verb == Verb::Discover));
        stage.stop().await;
    })
    .await;
}

/// A definition that goes takes the objects with it. That is said, nothing is asked of it meanwhile, and when it comes back
/// they are written anew.
#[tokio::test]
async fn a_kind_that_goes_is_waited_for() {
    story_with_faults(async |cluster| {
        istio(&cluster).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "NoWorkers").await;
        for _ in 0..2 {
            let definition = "wasmplugins.extensions.istio.io";
            cluster.delete("CustomResourceDefinition", definition).await;
            until_reason(&cluster, "ApplyFailed").await;
            let object = cluster.get("LatencyPolicy", "p").await.unwrap();
            let said = object["status"]["ancestors"][0]["conditions"][1]["message"].to_string();
            let advice = format!("does not serve {definition} in version v1alpha1; install its");
            assert!(said.contains(&advice), "{said}");
            let all = asked(&cluster, &stage).await;
            let of: Vec<_> = all.iter().filter(|(_, of)| of == "wasmplugins").collect();
            assert!(of.is_empty(), "{of:?}");
            let group = "extensions.istio.io";
            cluster
                .define_kind(group, "v1alpha1", "WasmPlugin", "wasmplugins")
                .await;
            until_there(&cluster, "WasmPlugin").await;
            until_reason(&cluster, "NoWorkers").await;
        }
        stage.stop().await;
    })
    .await;
}

/// Who cannot be asked what there is leaves everything as it is.
#[tokio::test]
async fn discovery_that_fails_takes_nothing_away() {
    story_with_faults(async |cluster| {
        istio(&cluster).await;
        let stage = start(&cluster).await;
        until_reason(&cluster, "NoWorkers").await;
        let plugin = until_there(&cluster, "WasmPlugin").await;
        let double = cluster.double();
        double.fault(Fault::always(Effect::Status(500)).verbs(&[Verb::Discover]));
        double.drop_watches();
        until("rounds fail", PATIENCE, || async {
            let failed = [("result", "failed")];
            ensure!(
                stage
                    .metric("gaugeway_deploy_rounds_total", &failed)
                    .await?
                    >= 3.0
            );
            Ok(())
        })
        .await
        .unwrap();
        double.lift_faults();
        let _ = asked(&cluster, &stage).await;
        let after = until_there(&cluster, "WasmPlugin").await;
        assert_eq!(after["metadata"]["uid"], plugin["metadata"]["uid"]);
        stage.stop().await;
    })
    .await;
}
