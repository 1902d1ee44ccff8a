//! An API server that is away, refuses, forgets, or is slow.

use std::time::Duration;

use anyhow::ensure;
use gaugeway_apiserver::{Effect, Fault, Verb};
use gaugeway_rig::wait::{PATIENCE, until};

use crate::{
    cluster::{Cluster, story_with_faults},
    objects::{route, service, slice},
    stage::Stage,
};

/// Two Services that share an address.
async fn shared_address(cluster: &Cluster) {
    cluster.define_routes().await;
    for object in [
        service("blue"),
        service("green"),
        slice("blue-1", "blue", &["10.0.0.1=a"]),
        slice("green-1", "green", &["10.0.0.1=a"]),
        route("HTTPRoute", "web", &["blue", "green"]),
    ] {
        cluster.apply(&object).await;
    }
}

async fn lists(stage: &Stage, kind: &str) -> f64 {
    stage
        .metric("gaugeway_source_lists_total", &[("kind", kind)])
        .await
        .unwrap()
}

#[tokio::test]
async fn a_dropped_watch_goes_on_where_it_was() {
    story_with_faults(async |cluster| {
        shared_address(&cluster).await;
        let ns = &cluster.namespace;
        let stage = Stage::start(&cluster.kubeconfig).await;
        let edge = format!("{ns}/edge");
        let (blue, green) = (format!("{ns} a blue http"), format!("{ns} a green http"));
        stage
            .until_owners(&edge, "10.0.0.1:8080", &[&blue, &green])
            .await;
        cluster.double().drop_watches();
        cluster.delete("EndpointSlice", "blue-1").await;
        stage.until_owners(&edge, "10.0.0.1:8080", &[&green]).await;
        assert_eq!(lists(&stage, "EndpointSlice").await, 1.0);
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_delete_that_nobody_saw_is_seen_by_the_next_list() {
    story_with_faults(async |cluster| {
        shared_address(&cluster).await;
        let ns = &cluster.namespace;
        let stage = Stage::start(&cluster.kubeconfig).await;
        let edge = format!("{ns}/edge");
        let (blue, green) = (format!("{ns} a blue http"), format!("{ns} a green http"));
        stage
            .until_owners(&edge, "10.0.0.1:8080", &[&blue, &green])
            .await;
        let double = cluster.double();
        double.fault(Fault::on("endpointslices", Effect::Status(503)).verbs(&[Verb::Watch]));
        double.drop_watches();
        cluster.delete("EndpointSlice", "blue-1").await;
        double.expire();
        double.lift_faults();
        stage.until_owners(&edge, "10.0.0.1:8080", &[&green]).await;
        assert_eq!(lists(&stage, "EndpointSlice").await, 2.0);
        let expired = [("kind", "EndpointSlice"), ("reason", "expired")];
        assert_eq!(
            stage
                .metric("gaugeway_source_errors_total", &expired)
                .await
                .unwrap(),
            1.0
        );
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_is_away_takes_nothing_away() {
    story_with_faults(async |cluster| {
        shared_address(&cluster).await;
        let ns = &cluster.namespace;
        let stage = Stage::start(&cluster.kubeconfig).await;
        let edge = format!("{ns}/edge");
        let (blue, green) = (format!("{ns} a blue http"), format!("{ns} a green http"));
        stage
            .until_owners(&edge, "10.0.0.1:8080", &[&blue, &green])
            .await;
        cluster.double().go_away();
        until("the failure shows", PATIENCE, || async {
            let failing = [("kind", "EndpointSlice"), ("state", "failing")];
            let failing = stage.metric("gaugeway_source_watches", &failing).await?;
            ensure!(failing == 1.0);
            Ok(())
        })
        .await
        .unwrap();
        stage
            .until_owners(&edge, "10.0.0.1:8080", &[&blue, &green])
            .await;
        assert_eq!(stage.readiness().await.unwrap().0, 200);
        cluster.double().come_back();
        cluster.delete("EndpointSlice", "blue-1").await;
        stage.until_owners(&edge, "10.0.0.1:8080", &[&green]).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_it_may_not_read_is_named_and_it_is_not_ready() {
    story_with_faults(async |cluster| {
        shared_address(&cluster).await;
        let double = cluster.double();
        double.fault(Fault::on("httproutes", Effect::Status(403)));
        let stage = Stage::launch(&cluster.kubeconfig, &[]).await;
        until("the refusal is named", PATIENCE, || async {
            let (status, text) = stage.readiness().await?;
            ensure!(status == 503, "{status}");
            let advice = "HTTPRoute: the API server answers 403";
            let rest =
                "grant its account get, list and watch on httproutes.gateway.networking.k8s.io";
            ensure!(
                text.contains(advice) && text.contains(rest) && !text.contains("Pod"),
                "{text}"
            );
            Ok(())
        })
        .await
        .unwrap();
        let refused = stage
            .owners(&format!("{}/edge", cluster.namespace), "10.0.0.1:8080")
            .await;
        assert!(refused.unwrap_err().to_string().starts_with("503"));
        double.lift_faults();
        stage.ready().await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_slow_server_that_fails_now_and_then_is_read_in_the_end() {
    story_with_faults(async |cluster| {
        shared_address(&cluster).await;
        let double = cluster.double();
        for _ in 0..6 {
            double.fault(Fault::always(Effect::Status(500)).times(1));
            double.fault(Fault::always(Effect::Hangup { done: false }).times(1));
            double.fault(Fault::always(Effect::Status(429)).times(1));
        }
        double.fault(Fault::always(Effect::Latency(Duration::from_millis(20))));
        let stage = Stage::start(&cluster.kubeconfig).await;
        let ns = &cluster.namespace;
        let (blue, green) = (format!("{ns} a blue http"), format!("{ns} a green http"));
        let owners = [blue.as_str(), green.as_str()];
        stage
            .until_owners(&format!("{ns}/edge"), "10.0.0.1:8080", &owners)
            .await;
        stage.stop().await;
    })
    .await;
}
