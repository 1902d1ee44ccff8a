//! What may go wrong while routes are edited that others edit too: whatever does, the users' annotations end as they are
//! meant to be, and nothing is left over.

use std::time::Duration;

use anyhow::ensure;
use gaugeway_apiserver::{Effect, Fault, Logged, Verb};
use gaugeway_rig::wait::{PATIENCE, until};
use serde_json::json;

use crate::{
    cluster::{Cluster, story_with_faults},
    deploying::{ours, start, until_reason},
    kong::{annotation, kong, until_named, until_no_policy},
    objects::policy,
};

pub(crate) async fn ask(cluster: &Cluster) {
    let on = json!({"deploy": {"enabled": true}});
    cluster.apply(&policy("p", "edge", &on)).await;
}

/// Users edit the annotation while the filter comes and goes. In the end theirs is what they last wrote.
#[tokio::test]
async fn users_edits_meanwhile_survive() {
    story_with_faults(async |cluster| {
        kong(&cluster).await;
        let stage = start(&cluster).await;
        let edit = async |value: Option<&str>| {
            let route = json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {
                    "name": "web", "annotations": {"konghq.com/plugins": value},
                },
            });
            cluster.apply(&route).await;
        };
        for (round, own) in ["a", "a, b", "", " c ,,d"].iter().enumerate() {
            // The controller's write is slow, so that the edit comes between what it saw and what it writes.
            let slow = Effect::Latency(Duration::from_millis(50));
            let slow = Fault::on("httproutes", slow)
                .verbs(&[Verb::Patch])
                .only(|r| r.name == "web");
            cluster.double().fault(slow.after(0).times(2));
            ask(&cluster).await;
            edit(Some(own)).await;
            let named = format!("{own},gaugeway-");
            until("it is named", PATIENCE, || async {
                let value = annotation(&cluster, "HTTPRoute", "web").await;
                ensure!(
                    value.as_ref().is_some_and(|v| v.starts_with(&named)),
                    "{value:?}"
                );
                Ok(())
            })
            .await
            .unwrap();
            cluster.delete("LatencyPolicy", "p").await;
            // In front of it, while it goes.
            let value = annotation(&cluster, "HTTPRoute", "web").await.unwrap();
            let mine = format!("new-{round},{own}");
            if value.contains("gaugeway") {
                edit(Some(&format!("new-{round},{value}"))).await;
            } else {
                edit(Some(&mine)).await;
            }
            until_no_policy(&cluster).await;
            let value = annotation(&cluster, "HTTPRoute", "web").await;
            assert_eq!(value.as_deref(), Some(mine.as_str()));
            cluster.double().lift_faults();
        }
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_finalizer_is_held_while_something_cannot_be_taken_away() {
    story_with_faults(async |cluster| {
        kong(&cluster).await;
        ask(&cluster).await;
        let stage = start(&cluster).await;
        until_named(&cluster, true).await;
        for (resource, verb) in [("httproutes", Verb::Patch), ("kongplugins", Verb::Delete)] {
            let tried = |r: &Logged| r.resource == resource && r.verb == verb;
            let before = cluster
                .double()
                .requests()
                .iter()
                .filter(|r| tried(r))
                .count();
            cluster
                .double()
                .fault(Fault::on(resource, Effect::Status(500)).verbs(&[verb]));
            cluster.delete("LatencyPolicy", "p").await;
            until("it was tried twice", PATIENCE, || async {
                let log = cluster.double().requests();
                ensure!(log.iter().filter(|r| tried(r)).count() >= before + 2);
                Ok(())
            })
            .await
            .unwrap();
            assert_eq!(cluster.list("LatencyPolicy").await.unwrap().len(), 1);
            assert!(ours(&cluster, "KongPlugin").await.unwrap().is_some());
            cluster.double().lift_faults();
            until_no_policy(&cluster).await;
            until_named(&cluster, false).await;
            ask(&cluster).await;
            until_named(&cluster, true).await;
        }
        stage.stop().await;
    })
    .await;
}

/// Somebody else writes the same object at the same time: it is read again, in the same round.
#[tokio::test]
async fn a_conflict_on_apply_is_no_failure() {
    story_with_faults(async |cluster| {
        kong(&cluster).await;
        ask(&cluster).await;
        let conflict = Fault::on("kongplugins", Effect::Status(409)).verbs(&[Verb::Patch]);
        cluster.double().fault(conflict.clone().times(1));
        cluster.double().fault(conflict.after(1).times(1));
        let stage = start(&cluster).await;
        until_named(&cluster, true).await;
        let failures = stage.metric("gaugeway_deploy_failures_total", &[]).await;
        assert!(failures.unwrap() == 0.0);
        stage.stop().await;
    })
    .await;
}

/// One right that is missing is said where it is missing, and takes nothing away: not even finalizers.
#[tokio::test]
async fn a_kind_that_may_not_be_listed_changes_nothing_there() {
    story_with_faults(async |cluster| {
        kong(&cluster).await;
        ask(&cluster).await;
        let stage = start(&cluster).await;
        until_named(&cluster, true).await;
        let refuse = Fault::on("kongplugins", Effect::Status(403));
        let refuse = refuse.verbs(&[Verb::List, Verb::Watch]);
        cluster
            .double()
            .fault(refuse.only(|r| r.namespace.is_empty()));
        cluster.double().drop_watches();
        until_reason(&cluster, "ApplyFailed").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].to_string();
        assert!(
            status.contains("kongplugins.configuration.konghq.com"),
            "{status}"
        );
        cluster.double().lift_faults();
        until_reason(&cluster, "NoWorkers").await;
        until_named(&cluster, true).await;
        stage.stop().await;
    })
    .await;
}
