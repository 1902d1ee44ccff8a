//! Two replicas of which one leads by a Lease.

use std::time::Duration;

use anyhow::{Result, ensure};
use gaugeway_apiserver::{Effect, Fault, Verb};
use gaugeway_controller::config::{Election, Timing};
use gaugeway_rig::{
    Client,
    client::{Answer, Request},
    wait::{PATIENCE, until},
};
use gaugeway_wire::VmId;

use crate::{
    cluster::{Cluster, story, story_with_faults},
    objects::{route, service, slice},
    stage::Stage,
};

/// Short, so that a story about a Lease that runs out takes seconds.
const TIMING: Timing = Timing {
    lease: Duration::from_secs(2),
    deadline: Duration::from_millis(1200),
    retry: Duration::from_millis(200),
};
const VM: VmId = VmId([7; 16]);

async fn replica(cluster: &Cluster, identity: &str) -> Stage {
    let election = Election {
        identity: identity.to_owned(),
        namespace: cluster.namespace.clone(),
        lease: "gaugeway".to_owned(),
        advertise: [127, 0, 0, 1].into(),
        timing: TIMING,
    };
    let stage = Stage::launch_with(&cluster.kubeconfig, &[], |config| {
        config.election = Some(election);
    })
    .await;
    stage.ready().await;
    stage
}

/// Service `cart` behind Gateway `edge`.
async fn shop(cluster: &Cluster) {
    cluster.define_routes().await;
    for object in [
        service("cart"),
        slice("cart-1", "cart", &["10.0.0.1=a"]),
        route("HTTPRoute", "web", &["cart"]),
    ] {
        cluster.apply(&object).await;
    }
}

/// One request of `cart`, as report number `seq` of the one worker VM.
async fn report(cluster: &Cluster, to: &Stage, seq: u64) -> Result<Answer> {
    let namespace = &cluster.namespace;
    let gateway = format!("{namespace}/edge");
    to.report_as(VM, seq, &gateway, namespace, "cart").await
}

/// Sends it until it is acknowledged.
async fn acknowledged(cluster: &Cluster, to: &Stage, seq: u64) {
    until("the report is acknowledged", PATIENCE, || async {
        let answer = report(cluster, to, seq).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok(())
    })
    .await
    .unwrap();
}

/// Waits until it shows so many requests of `cart` (a series is shown at 0 once).
async fn until_requests(stage: &Stage, expected: u32) {
    let name = "gaugeway_upstream_requests_total";
    until(name, PATIENCE, || async {
        let seen = stage
            .metric(name, &[("kubernetes_service", "cart")])
            .await?;
        // A sum of nothing is -0.
        ensure!(
            (seen - f64::from(expected)).abs() < 0.5,
            "{seen} of {expected}"
        );
        Ok(())
    })
    .await
    .unwrap();
}

async fn until_metric(stage: &Stage, name: &str, value: f64) {
    until(name, PATIENCE, || async {
        let seen = stage.metric(name, &[]).await?;
        ensure!((seen - value).abs() < 0.5, "{seen}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn one_leads_the_other_passes_on_and_takes_over_when_it_goes() {
    story(async |cluster| {
        shop(&cluster).await;
        let a = replica(&cluster, "a").await;
        until_metric(&a, "gaugeway_leader", 1.0).await;
        let b = replica(&cluster, "b").await;
        let lease = cluster.get("Lease", "gaugeway").await.unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "a", "{lease}");
        // Both take reports, and mapping calls; one counts.
        acknowledged(&cluster, &a, 1).await;
        acknowledged(&cluster, &b, 2).await;
        let edge = format!("{}/edge", cluster.namespace);
        let owner = format!("{} a cart http", cluster.namespace);
        b.until_owners(&edge, "10.0.0.1:8080", &[&owner]).await;
        until_requests(&a, 2).await;
        until_requests(&b, 0).await;
        until_metric(&b, "gaugeway_leader", 0.0).await;
        let (_, said) = b.readiness().await.unwrap();
        assert!(said.contains("stands by; a leads"), "{said}");
        let asked = Client::unpooled(b.ports().api);
        let windows = asked.send(Request::get("/api/v1/gateways")).await.unwrap();
        assert_eq!(windows.status, 200, "{}", windows.text());
        assert!(windows.text().contains(&edge), "{}", windows.text());
        // Without waiting for the Lease to run out.
        a.stop().await;
        acknowledged(&cluster, &b, 3).await;
        until_requests(&b, 1).await;
        until_metric(&b, "gaugeway_leader", 1.0).await;
        let lease = cluster.get("Lease", "gaugeway").await.unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "b", "{lease}");
        assert_eq!(lease["spec"]["leaseTransitions"], 1, "{lease}");
        b.stop().await;
    })
    .await;
}

#[tokio::test]
async fn without_an_api_server_reports_are_refused_and_nothing_is_lost() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let a = replica(&cluster, "a").await;
        acknowledged(&cluster, &a, 1).await;
        cluster.double().go_away();
        until_metric(&a, "gaugeway_stale", 1.0).await;
        let refused = report(&cluster, &a, 2).await.unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.headers["retry-after"], "1");
        assert_eq!(refused.headers["connection"], "close");
        let scraper = Client::unpooled(a.ports().metrics);
        let page = scraper.send(Request::get("/metrics")).await.unwrap();
        assert_eq!(page.headers["x-gaugeway-stale"], "1");
        until_requests(&a, 1).await;
        cluster.double().come_back();
        acknowledged(&cluster, &a, 2).await;
        until_requests(&a, 2).await;
        until_metric(&a, "gaugeway_stale", 0.0).await;
        a.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_another_replaced_ends_and_says_so() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let a = replica(&cluster, "a").await;
        acknowledged(&cluster, &a, 1).await;
        // Somebody takes it by force.
        cluster
            .apply(&serde_json::json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "gaugeway"},
                "spec": {"holderIdentity": "z", "leaseTransitions": 1, "leaseDurationSeconds": 3600},
            }))
            .await;
        let ended = a.ended().await.unwrap_err().to_string();
        assert!(ended.contains("held by z"), "{ended}");
    })
    .await;
}

#[tokio::test]
async fn nobody_leads_without_a_right_to_the_lease() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let forbidden = Fault::on("leases", Effect::Status(403)).verbs(&[Verb::Create]);
        cluster.double().fault(forbidden);
        let a = replica(&cluster, "a").await;
        until("nobody leads", PATIENCE, || async {
            let (status, said) = a.readiness().await?;
            // Ready means synced, never leader.
            ensure!(status == 200 && said.contains("nobody leads"), "{said}");
            Ok(())
        })
        .await
        .unwrap();
        let refused = report(&cluster, &a, 1).await.unwrap();
        assert_eq!(refused.status, 503);
        assert!(
            refused.text().contains("no replica leads"),
            "{}",
            refused.text()
        );
        cluster.double().lift_faults();
        acknowledged(&cluster, &a, 1).await;
        a.stop().await;
    })
    .await;
}
