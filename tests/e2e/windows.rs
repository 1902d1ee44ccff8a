//! What autoscalers are told while the controller is killed, traffic stops and the gateway goes: the truth or nothing, at
//! each moment that somebody may ask.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use gaugeway_rig::{
    Client, Cluster, GatewayConfig, Load, Route, Upstream,
    client::Request,
    load::Running,
    wait::{PATIENCE, until},
};
use serde_json::Value;

use crate::{
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

const SERVICE: &str = "backend";
/// Requests per second: few, so that a busy machine keeps up with them.
const RATE: f64 = 20.0;
/// The shortest window.
const WINDOW: &str = "15s";
const METRIC: &str = "gaugeway_upstream_requests_per_second";

/// What is said of the Service.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    /// So many requests per second.
    Rate(f64),
    Unknown(String),
    /// There was no answer: no controller, or one that has not read everything yet.
    Nothing,
}

/// What people are told, and what an autoscaler is told after that: who asks for both must be told the same.
async fn asked(api: SocketAddr) -> Result<Said> {
    let people = ask(api, &format!("/api/v1/services/shop/{SERVICE}")).await?;
    let scaler = format!(
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/services/{SERVICE}/{METRIC}?metricLabelSelector=window%3D{WINDOW}"
    );
    let scaler = ask(api, &scaler).await?;
    let (Some((200, people)), Some((status, scaler))) = (people, scaler) else {
        return Ok(Said::Nothing);
    };
    let window = &people["windows"][WINDOW];
    let state = window["state"].as_str().context("no state")?;
    match (state, status) {
        ("unknown", 404) => {
            ensure!(window.get("requestsPerSecond").is_none(), "{window:#}");
            let reason = window["reason"].as_str().context("no reason")?;
            let message = scaler["message"].as_str().unwrap_or_default();
            ensure!(message.contains(reason), "{reason}: {scaler:#}");
            Ok(Said::Unknown(reason.to_owned()))
        }
        ("active" | "idle", 200) => {
            let rate = window["requestsPerSecond"].as_f64().context("no rate")?;
            ensure!((state == "idle") == (rate == 0.0), "{window:#}");
            let items = scaler["items"].as_array().context("no items")?;
            ensure!(items.len() == 1, "{scaler:#}");
            let told = quantity(&items[0]["value"]).with_context(|| format!("{scaler:#}"))?;
            // Else a slot has passed between the two questions.
            let same = (told - rate).abs() < 0.001;
            Ok(if same {
                Said::Rate(rate)
            } else {
                Said::Nothing
            })
        }
        // It changed between the two questions.
        _ => Ok(Said::Nothing),
    }
}

/// As Kubernetes writes it: a number, or thousandths or millionths of one.
fn quantity(value: &Value) -> Option<f64> {
    let text = value.as_str()?;
    let number = text.trim_end_matches(['m', 'u']);
    let unit = match text.strip_prefix(number)? {
        "" => 1.0,
        "m" => 1e-3,
        "u" => 1e-6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * unit)
}

/// Status and body; `None` where nobody answers, or somebody who says to come back later.
async fn ask(api: SocketAddr, path: &str) -> Result<Option<(u16, Value)>> {
    let answer = match Client::unpooled(api).send(Request::get(path)).await {
        Ok(answer) if answer.status == 503 => return Ok(None),
        Ok(answer) => answer,
        Err(_) => return Ok(None),
    };
    let body = serde_json::from_str(&answer.text())?;
    Ok(Some((answer.status, body)))
}

/// Asks until this is said; nothing that is said before may be false.
async fn until_said(
    api: SocketAddr,
    what: &str,
    is: impl Fn(&Said) -> bool,
    may_be: impl Fn(&Said) -> bool,
) -> Vec<Said> {
    let (is, may_be) = (&is, &may_be);
    let before = std::sync::Mutex::new(Vec::new());
    let looked = until(what, 2 * PATIENCE, || async {
        let said = asked(api).await?;
        if is(&said) {
            return Ok(Ok(()));
        }
        if !may_be(&said) {
            return Ok(Err(said));
        }
        before.lock().unwrap().push(said.clone());
        bail!("{said:?}")
    })
    .await
    .unwrap();
    let before = before.into_inner().unwrap();
    if let Err(said) = looked {
        panic!("{what}: {said:?} was said, after {before:?}");
    }
    before
}

fn is_all(said: &Said) -> bool {
    matches!(said, Said::Rate(rate) if (0.7 * RATE..1.3 * RATE).contains(rate))
}

fn is_unknown(said: &Said) -> bool {
    matches!(said, Said::Unknown(_))
}

fn traffic(at: SocketAddr) -> Running {
    Load {
        client: Client::unpooled(at),
        total: u64::MAX,
        concurrency: 4,
        rate: Some(RATE),
        request: Arc::new(|_| Request::get("/")),
    }
    .start()
}

#[tokio::test]
async fn autoscalers_are_told_the_truth_or_nothing() -> Result<()> {
    let upstream = Upstream::instant().await?;
    let write = |m: &Manifests| m.service(SERVICE, &[("backend-1", upstream.address())]);
    let Some(mut stage) = Stage::start(write).await? else {
        return Ok(());
    };
    let cluster = cluster_name(SERVICE);
    let gateway = stage
        .gateway(GatewayConfig {
            clusters: vec![Cluster::new(&cluster, [upstream.address()])],
            routes: vec![Route::to("/", &cluster)],
            ..GatewayConfig::default()
        })
        .await?;
    let api = stage.controller.ports().api;
    let load = traffic(gateway.address());
    // While the window grows, whatever is in it is less than what happens.
    let quiet = |said: &Said| is_unknown(said) || *said == Said::Nothing;
    until_said(api, "a first whole window", is_all, quiet).await;

    stage.controller.kill().await?;
    stage.controller.restart().await?;
    let after = until_said(api, "a whole window after a restart", is_all, quiet).await;
    assert!(
        after.iter().any(is_unknown),
        "it knew at once, which it cannot: {after:?}"
    );

    // The rate falls while the window moves past the last request, down to 0 and no further.
    load.stop();
    load.finish().await?;
    let falls = |said: &Said| matches!(said, Said::Rate(_) | Said::Nothing);
    until_said(api, "idle", |said| *said == Said::Rate(0.0), falls).await;

    let load = traffic(gateway.address());
    let rises = |said: &Said| matches!(said, Said::Rate(_) | Said::Nothing);
    until_said(api, "all of it again", is_all, rises).await;

    // What was on its way is never told of: it goes on as it was, and nothing fades.
    drop(gateway);
    load.stop();
    load.finish().await?;
    let as_it_was = |said: &Said| is_all(said) || *said == Said::Nothing;
    until_said(api, "unknown without the gateway", is_unknown, as_it_was).await;
    Ok(())
}
