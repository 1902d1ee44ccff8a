//! To whom a request is counted: Services that come, go, move and share, and addresses of every kind.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use gaugeway_rig::{
    Client, Cluster, Controller, EnvoyOptions, Gateway, GatewayConfig, Latency, Load, Route,
    Script, Upstream,
    client::Request,
    wait::{PATIENCE, until},
};

use crate::{
    counts::Counts,
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

/// Requests through `path`, on a connection each.
async fn send(gateway: &Gateway, path: &'static str, total: u64) -> Result<()> {
    let client = Client::unpooled(gateway.address());
    let request = Arc::new(move |_| Request::get(path));
    let report = Load {
        client,
        total,
        concurrency: 4,
        rate: None,
        request,
    }
    .run()
    .await?;
    ensure!(report.status(200) == total, "{report:?}");
    Ok(())
}

/// One cluster and route for each (name, endpoint).
fn config(clusters: &[(&str, SocketAddr)]) -> GatewayConfig {
    GatewayConfig {
        clusters: clusters
            .iter()
            .map(|(name, at)| Cluster::new(name, [*at]))
            .collect(),
        routes: clusters
            .iter()
            .map(|(name, _)| {
                Route::to(
                    &format!("/{}", name.split('/').nth(1).unwrap_or(name)),
                    name,
                )
            })
            .collect(),
        ..GatewayConfig::default()
    }
}

/// Waits until every VM that was told something confirmed it, once more than before.
async fn in_force(controller: &Controller, confirmed_before: f64) -> Result<()> {
    until("the mapping in force", PATIENCE, || async {
        let seen = confirmed(controller).await?;
        ensure!(seen > confirmed_before, "{seen} confirmations");
        Ok(())
    })
    .await
}

async fn confirmed(controller: &Controller) -> Result<f64> {
    Ok(controller
        .scrape()
        .await?
        .sum("gaugeway_mapping_lag_seconds_count", &[]))
}

#[tokio::test]
async fn two_services_on_two_routes_are_both_there() -> Result<()> {
    let (a, b) = (Upstream::instant().await?, Upstream::instant().await?);
    let write = |m: &Manifests| {
        m.service("a", &[("a-1", a.address())]);
        m.service("b", &[("b-1", b.address())]);
    };
    let Some(stage) = Stage::start(write).await? else {
        return Ok(());
    };
    let gateway = stage
        .gateway(config(&[
            (&cluster_name("a"), a.address()),
            (&cluster_name("b"), b.address()),
        ]))
        .await?;
    send(&gateway, "/a", 30).await?;
    send(&gateway, "/b", 20).await?;
    let expected = [
        ("a", Counts::responses("2xx", 30)),
        ("b", Counts::responses("2xx", 20)),
    ];
    stage.expect_all(&expected).await?;
    Ok(())
}

#[tokio::test]
async fn a_new_service_is_attributed_by_all_workers_without_a_restart() -> Result<()> {
    let (old, new) = (Upstream::instant().await?, Upstream::instant().await?);
    let write = |m: &Manifests| m.service("old", &[("old-1", old.address())]);
    // Nobody gives up waiting for the mapping here.
    let Some(stage) = Stage::start_with(&["--unknown-grace", "60s"], write).await? else {
        return Ok(());
    };
    // Plain names: only the mapping can tell whose these addresses are.
    let config = stage.with_filter(config(&[("old", old.address()), ("new", new.address())]));
    let options = EnvoyOptions {
        concurrency: 4,
        ..EnvoyOptions::default()
    };
    let gateway = Gateway::start(&config, &options).await?;
    send(&gateway, "/old", 40).await?;
    send(&gateway, "/new", 40).await?;
    let page = stage
        .expect_all(&[("old", Counts::responses("2xx", 40))])
        .await?;
    assert_eq!(
        page.sum("gaugeway_worker_vms", &[]),
        4.0,
        "every worker serves in this test"
    );
    stage.manifests.service("new", &[("new-1", new.address())]);
    // What came before its mapping is attributed with it, on every worker.
    let both = |new| {
        [
            ("old", Counts::responses("2xx", 40)),
            ("new", Counts::responses("2xx", new)),
        ]
    };
    let page = stage.expect_all(&both(40)).await?;
    // All of the new Service's requests came before their mapping, and those of the old one that were quick.
    let moved = page.sum("gaugeway_filter_events_total", &[("event", "reattributed")]);
    assert!((40.0..=80.0).contains(&moved), "{moved} re-attributed");
    send(&gateway, "/new", 40).await?;
    stage.expect_all(&both(80)).await?;
    Ok(())
}

#[tokio::test]
async fn an_address_of_no_service_is_unknown_after_its_grace() -> Result<()> {
    let (known, stray) = (Upstream::instant().await?, Upstream::instant().await?);
    let write = |m: &Manifests| m.service("known", &[("known-1", known.address())]);
    let Some(stage) = Stage::start_with(&["--unknown-grace", "500ms"], write).await? else {
        return Ok(());
    };
    let gateway = stage
        .gateway(config(&[
            ("known", known.address()),
            ("stray", stray.address()),
        ]))
        .await?;
    send(&gateway, "/known", 10).await?;
    send(&gateway, "/stray", 10).await?;
    let expected = [
        ("known", Counts::responses("2xx", 10)),
        ("unknown", Counts::responses("2xx", 10)),
    ];
    let page = stage.expect_all(&expected).await?;
    let address = stray.address().to_string();
    assert!(
        page.iter()
            .all(|(series, _)| series.labels.values().all(|v| !v.contains(&address))),
        "an address is no label"
    );
    // Once it has an owner, what follows is his; what was unknown stays so.
    let before = confirmed(&stage.controller).await?;
    stage
        .manifests
        .service("stray", &[("stray-1", stray.address())]);
    in_force(&stage.controller, before).await?;
    send(&gateway, "/stray", 5).await?;
    let expected = expected
        .into_iter()
        .chain([("stray", Counts::responses("2xx", 5))]);
    stage.expect_all(&expected.collect::<Vec<_>>()).await?;
    Ok(())
}

#[tokio::test]
async fn an_address_that_moves_is_split_by_when_requests_began() -> Result<()> {
    let pod = Upstream::instant().await?;
    let write = |m: &Manifests| m.service("first", &[("first-1", pod.address())]);
    let Some(stage) = Stage::start(write).await? else {
        return Ok(());
    };
    let gateway = stage.gateway(config(&[("pod", pod.address())])).await?;
    send(&gateway, "/pod", 20).await?;
    stage
        .expect_all(&[("first", Counts::responses("2xx", 20))])
        .await?;

    // A request that began before the move and ends long after it.
    let slow = {
        let client = gateway.client();
        let script = Script::delay(Duration::from_secs(3));
        tokio::spawn(async move { client.send(Request::get("/pod").script(&script)).await })
    };
    until("the slow request is under way", PATIENCE, || async {
        ensure!(pod.requests() == 21, "{} requests", pod.requests());
        Ok(())
    })
    .await?;
    let before = confirmed(&stage.controller).await?;
    stage.manifests.remove_service("first");
    stage
        .manifests
        .service("second", &[("second-1", pod.address())]);
    in_force(&stage.controller, before).await?;
    // The move may have come in two answers: gone, then taken.
    until("requests go to the second", PATIENCE, || async {
        let page = stage.controller.scrape().await?;
        ensure!(
            page.sum("gaugeway_source_objects", &[("kind", "Service")]) == 1.0,
            "still moving"
        );
        Ok(())
    })
    .await?;
    ensure!(
        !slow.is_finished(),
        "the slow request ended before the move"
    );
    send(&gateway, "/pod", 10).await?;
    assert_eq!(slow.await??.status, 200);
    let expected = [
        ("first", Counts::responses("2xx", 21)),
        ("second", Counts::responses("2xx", 10)),
    ];
    stage.expect_all(&expected).await?;
    Ok(())
}

#[tokio::test]
async fn a_pod_of_two_services_is_counted_by_the_route_taken() -> Result<()> {
    let pod = Upstream::instant().await?;
    let write = |m: &Manifests| {
        m.service("a", &[("shared", pod.address())]);
        m.service("b", &[("shared", pod.address())]);
    };
    let Some(stage) = Stage::start(write).await? else {
        return Ok(());
    };
    let gateway = stage
        .gateway(config(&[
            (&cluster_name("a"), pod.address()),
            (&cluster_name("b"), pod.address()),
        ]))
        .await?;
    // Before the mapping says that the address is shared, and after.
    for round in 1..=2 {
        send(&gateway, "/b", 25).await?;
        send(&gateway, "/a", 15).await?;
        let expected = [
            ("a", Counts::responses("2xx", 15 * round)),
            ("b", Counts::responses("2xx", 25 * round)),
        ];
        stage.expect_all(&expected).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_ipv6_address_is_attributed() -> Result<()> {
    let at = "[::1]:0".parse()?;
    let Ok(pod) = Upstream::start_on(at, Latency::Constant(Duration::ZERO), 0).await else {
        return Ok(()); // This machine has no IPv6.
    };
    let write = |m: &Manifests| m.service("six", &[("six-1", pod.address())]);
    let Some(stage) = Stage::start(write).await? else {
        return Ok(());
    };
    let gateway = stage.gateway(config(&[("six", pod.address())])).await?;
    send(&gateway, "/six", 10).await?;
    let page = stage
        .expect_all(&[("six", Counts::responses("2xx", 10))])
        .await?;
    assert_eq!(
        Counts::read(&page, &[("kubernetes_pod", "six-1")]).total(),
        10
    );
    Ok(())
}

#[tokio::test]
async fn a_cluster_ip_is_its_service() -> Result<()> {
    let virtual_ip = Upstream::instant().await?;
    let write = |m: &Manifests| m.cluster_ip_service("virtual", virtual_ip.address());
    let Some(stage) = Stage::start(write).await? else {
        return Ok(());
    };
    let gateway = stage
        .gateway(config(&[("virtual", virtual_ip.address())]))
        .await?;
    send(&gateway, "/virtual", 10).await?;
    let page = stage
        .expect_all(&[("virtual", Counts::responses("2xx", 10))])
        .await?;
    assert!(
        page.select(
            "gaugeway_upstream_requests_total",
            &[("kubernetes_service", "virtual")]
        )
        .all(|(labels, _)| labels.get("kubernetes_pod").is_none_or(String::is_empty)),
        "which Pod served is not known"
    );
    Ok(())
}
