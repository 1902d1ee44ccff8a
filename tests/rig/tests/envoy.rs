//! The rig drives a real Envoy: traffic, faults, the oracle, a change while it runs.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use gaugeway_rig::{
    Act, Client, Cluster, EnvoyOptions, Gateway, GatewayConfig, Load, ReservedPort, Route, Script,
    Upstream, client::Request, tools::ENVOY,
};

#[tokio::test]
async fn envoy_serves_and_its_log_is_the_oracle() -> Result<()> {
    if !ENVOY.or_skip()? {
        return Ok(());
    }
    let upstream = Upstream::instant().await?;
    let closed = ReservedPort::new()?;
    let config = GatewayConfig {
        clusters: vec![
            Cluster::new("good", [upstream.address()]),
            Cluster::new("h2", [upstream.address()]).h2(),
            Cluster::new("closed", [closed.address()]),
        ],
        routes: vec![
            Route::to("/closed", "closed"),
            Route::to("/h2", "h2"),
            Route::to("/", "good")
                .timeout(Duration::from_millis(300))
                .retries(2),
        ],
        ..GatewayConfig::default()
    };
    let gateway = Gateway::start(&config, &EnvoyOptions::default()).await?;
    let client = gateway.client();
    let log = gateway.access_log();

    let delay = Script::delay(Duration::from_millis(50));
    client
        .send(Request::get("/").id("slow").script(&delay))
        .await?;
    let line = log.line("slow").await?;
    assert_eq!(
        (line.code, line.upstream, line.cluster.as_str()),
        (200, Some(upstream.address()), "good")
    );
    let latency = line.latency().unwrap_or_default();
    assert!((50..1000).contains(&latency.as_millis()), "{latency:?}");

    let answer = client.send(Request::get("/closed").id("closed")).await?;
    assert_eq!(
        (answer.status, log.line("closed").await?.flags.as_str()),
        (503, "UF")
    );

    client
        .send(Request::get("/").id("hang").script(&Script::act(Act::Hang)))
        .await?;
    assert_eq!(log.line("hang").await?.flags, "UT");

    let retried = Script {
        fail_attempts: 1,
        ..Script::default()
    };
    let answer = client
        .send(Request::get("/").id("retried").script(&retried))
        .await?;
    assert_eq!(
        (answer.status, log.line("retried").await?.attempts),
        (200, Some(2))
    );

    let grpc = Request::post("/h2", "")
        .id("grpc")
        .script(&Script::act(Act::Grpc(7)));
    let answer = Client::h2c(gateway.address()).send(grpc).await?;
    assert_eq!(
        answer.trailers.get("grpc-status").map(|v| v.as_bytes()),
        Some(b"7".as_slice())
    );
    log.exactly(5).await?;
    Ok(())
}

#[tokio::test]
async fn a_change_under_load_loses_no_request() -> Result<()> {
    if !ENVOY.or_skip()? {
        return Ok(());
    }
    let (before, after) = (Upstream::instant().await?, Upstream::instant().await?);
    let config = |to: &Upstream| GatewayConfig {
        clusters: vec![Cluster::new("backend", [to.address()])],
        routes: vec![Route::to("/", "backend")],
        ..GatewayConfig::default()
    };
    let mut gateway = Gateway::start(
        &config(&before),
        &EnvoyOptions {
            concurrency: 2,
            ..EnvoyOptions::default()
        },
    )
    .await?;
    let load = Load {
        client: Client::unpooled(gateway.address()),
        total: 400,
        concurrency: 4,
        rate: Some(400.0),
        request: Arc::new(|_| Request::get("/")),
    }
    .start();
    gateway.apply(&config(&after)).await?;
    let report = load.finish().await?;
    assert_eq!((report.status(200), report.failed), (400, 0), "{report:?}");
    assert_eq!(before.requests() + after.requests(), 400);
    assert!(after.requests() > 0);
    gateway.access_log().exactly(400).await?;
    gateway.stop(Duration::from_secs(5)).await
}
