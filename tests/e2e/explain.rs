//! `gaugeway explain` against a running controller: what somebody on call sees, from nothing to measured and back.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    Client, Cluster, Controller, Gateway, GatewayConfig, Route, Upstream,
    client::Request,
    wait::{PATIENCE, until},
};
use serde_json::Value;
use tokio::process::Command;

use crate::{
    manifests::{Manifests, cluster_name},
    stage::{Stage, gaugeway},
};

async fn explain(controller: &Controller, arguments: &[&str]) -> Result<Output> {
    let url = format!("http://{}", controller.ports().api);
    let mut command = Command::new(gaugeway());
    command.arg("explain").args(arguments).args(["--url", &url]);
    command.output().await.context("run gaugeway explain")
}

/// Waits until an explanation has this exit code and these words.
async fn until_explained(
    controller: &Controller,
    arguments: &[&str],
    code: i32,
    words: &[&str],
) -> Result<String> {
    until(
        &format!("{arguments:?} says {words:?}"),
        PATIENCE,
        || async {
            let output = explain(controller, arguments).await?;
            let text = String::from_utf8(output.stdout)?;
            let status = output.status;
            ensure!(status.code() == Some(code), "{status}: {text}");
            ensure!(words.iter().all(|word| text.contains(word)), "{text}");
            Ok(text)
        },
    )
    .await
}

async fn send(gateway: &Gateway, path: &str, total: u64) -> Result<()> {
    let client = Client::unpooled(gateway.address());
    for _ in 0..total {
        let answer = client.send(Request::get(path)).await?;
        ensure!(answer.status == 200, "{}", answer.status);
    }
    Ok(())
}

#[tokio::test]
async fn a_service_is_explained_from_nothing_to_measured_and_back() -> Result<()> {
    let upstream = Upstream::instant().await?;
    let address = upstream.address();
    let write = |m: &Manifests| m.service("cart", &[("cart-1", address)]);
    let Some(mut stage) = Stage::start(write).await? else {
        return Ok(());
    };
    let cart = ["service/cart", "-n", "shop"];
    let said = until_explained(
        &stage.controller,
        &cart,
        1,
        &["no worker of shop/edge has called"],
    )
    .await?;
    ensure!(said.contains("gaugeway render shows how"), "{said}");
    let config = GatewayConfig {
        clusters: vec![Cluster::new(&cluster_name("cart"), [address])],
        routes: vec![Route::to("/cart", &cluster_name("cart"))],
        ..GatewayConfig::default()
    };
    let gateway = stage.gateway(config).await?;
    send(&gateway, "/cart", 20).await?;
    let measured = [
        "✓ filter     1 worker of shop/edge",
        "1 address of 1",
        "20 requests in all",
    ];
    until_explained(&stage.controller, &cart, 0, &measured).await?;
    let at = address.to_string();
    let others: [&[&str]; 4] = [
        &["pod", "cart-1", "-n", "shop"],
        &["address", &at],
        &["address", &at, "--gateway", "shop/edge"],
        &["gateway", "shop/edge"],
    ];
    for other in others {
        until_explained(&stage.controller, other, 0, &["measured"]).await?;
    }
    let json = explain(&stage.controller, &[&cart[..], &["--json"]].concat()).await?;
    let json: Value = serde_json::from_slice(&json.stdout)?;
    ensure!(json["verdict"] == "measured", "{json:#}");
    ensure!(
        json["steps"].as_array().is_some_and(|s| s.len() == 7),
        "{json:#}"
    );
    stage.manifests.service("cart", &[]);
    let broken = ["not measured: no EndpointSlice lists an address of it"];
    until_explained(&stage.controller, &cart, 1, &broken).await?;
    stage.controller.kill().await?;
    let nobody = explain(&stage.controller, &cart).await?;
    let said = String::from_utf8_lossy(&nobody.stderr);
    ensure!(nobody.status.code() == Some(2), "{nobody:?}");
    ensure!(said.contains("kubectl -n gaugeway port-forward"), "{said}");
    Ok(())
}

#[tokio::test]
async fn what_there_is_not_is_said_plainly() -> Result<()> {
    let upstream = Upstream::instant().await?;
    let write = |m: &Manifests| m.service("cart", &[("cart-1", upstream.address())]);
    let Some(stage) = Stage::start(write).await? else {
        return Ok(());
    };
    let table: [(&[&str], &str); 4] = [
        (
            &["svc/nothing", "-n", "shop"],
            "there is no Service shop/nothing",
        ),
        (
            &["pod/nothing", "-n", "shop"],
            "there is no Pod shop/nothing",
        ),
        (
            &["address", "192.0.2.1:80"],
            "no Service has the address 192.0.2.1:80",
        ),
        (
            &["gateway", "shop/nothing"],
            "no route that the controller reads names it",
        ),
    ];
    for (arguments, words) in table {
        until_explained(&stage.controller, arguments, 1, &[words]).await?;
    }
    for wrong in [
        &["address", "10.0.0.1"][..],
        &["secret/x"],
        &["service"],
        &["gateway", "--gateway", "a/b"],
    ] {
        let output = explain(&stage.controller, wrong).await?;
        ensure!(output.status.code() == Some(2), "{wrong:?}: {output:?}");
        ensure!(!output.stderr.is_empty());
    }
    Ok(())
}
