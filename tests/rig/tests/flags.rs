//! Each script makes Envoy end the request in the way it is for: what the outcome tests stand on.

use anyhow::{Context as _, Result};
use gaugeway_rig::{
    AccessLine, Act, Backend, Client, Cluster, EnvoyOptions, Gateway, GatewayConfig, Route, Script,
    Upstream, client::Request, tools::ENVOY,
};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn line(gateway: &Gateway, path: &str, script: Script) -> Result<AccessLine> {
    let id = format!("{path} {script:?}");
    let _ = gateway
        .client()
        .send(Request::get(path).id(&id).script(&script))
        .await;
    gateway.access_log().line(&id).await
}

#[tokio::test]
async fn scripts_make_the_flags_they_are_for() -> Result<()> {
    if !ENVOY.or_skip()? {
        return Ok(());
    }
    let upstream = Upstream::instant().await?;
    let config = GatewayConfig {
        clusters: vec![
            Cluster::new("h1", [upstream.address()]),
            Cluster::new("h2", [upstream.address()]).h2(),
            Cluster::new("none", []),
            Cluster::new("tight", [upstream.address()]).limits(1, 1),
        ],
        routes: vec![
            Route::to("/h2", "h2"),
            Route::to("/none", "none"),
            Route::to("/tight", "tight"),
            Route::new("/direct", Backend::Direct(418)),
            Route::to("/", "h1"),
        ],
        ..GatewayConfig::default()
    };
    let gateway = Gateway::start(&config, &EnvoyOptions::default()).await?;
    let reset = || Script::act(Act::ResetBeforeHeaders);
    for (path, script, code, flags) in [
        ("/", reset(), 503, "UC"),
        ("/h2", reset(), 503, "UR"),
        // A cut chunked body is a protocol error to Envoy's HTTP/1 codec.
        ("/", Script::act(Act::ResetAfterHeaders), 200, "UPE"),
        ("/h2", Script::act(Act::ResetAfterHeaders), 200, "UR"),
        ("/none", Script::default(), 503, "UH"),
        ("/direct", Script::default(), 418, ""),
        ("/", Script::act(Act::Status(204)), 204, ""),
        ("/h2", Script::act(Act::GrpcTrailersOnly(14)), 200, ""),
    ] {
        let line = line(&gateway, path, script).await?;
        assert_eq!((line.code, line.flags.as_str()), (code, flags), "{line:?}");
    }

    let mut events = gateway
        .client()
        .open(
            Request::get("/")
                .id("events")
                .script(&Script::act(Act::Events { every_ms: 10 })),
        )
        .await?;
    events.body_mut().frame().await.context("no event")??;
    drop(events);
    assert_eq!(gateway.access_log().line("events").await?.flags, "DC");
    Ok(())
}

#[tokio::test]
async fn a_socket_passes_through() -> Result<()> {
    if !ENVOY.or_skip()? {
        return Ok(());
    }
    let upstream = Upstream::instant().await?;
    let config = GatewayConfig {
        clusters: vec![Cluster::new("h1", [upstream.address()])],
        routes: vec![Route::to("/", "h1")],
        ..GatewayConfig::default()
    };
    let gateway = Gateway::start(&config, &EnvoyOptions::default()).await?;
    let request = Request::get("/")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .script(&Script::act(Act::Upgrade));
    let answer = Client::new(gateway.address()).open(request).await?;
    assert_eq!(answer.status(), 101);
    let mut socket = TokioIo::new(hyper::upgrade::on(answer).await?);
    socket.write_all(b"echo").await?;
    let mut echoed = [0; 4];
    socket.read_exact(&mut echoed).await?;
    assert_eq!(&echoed, b"echo");
    Ok(())
}
