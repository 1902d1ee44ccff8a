//! Rare ways of a request through Envoy, each with its exact counts: what routes can ask for, and upstreams that are no
//! endpoint of a Service.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;
use gaugeway_rig::{
    Act, Client, Cluster, Gateway, GatewayConfig, Route, Script, Upstream, client::Request,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener},
};

use crate::{
    counts::Counts,
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

/// Says in HTTP/1.1 what the path asks for, byte by byte.
async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        head.clear();
        let said = match text.split(' ').nth(1).unwrap_or_default() {
            path if path.ends_with("/hints") => {
                format!("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n{OK}")
            }
            path if path.ends_with("/continue") => format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"),
            path if path.ends_with("/elsewhere") => {
                let host = text.lines().find_map(|line| line.strip_prefix("host: "));
                let target = path.trim_end_matches("elsewhere");
                let target = format!("http://{}{target}", host.unwrap_or_default());
                format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n")
            }
            path if path.ends_with("/nonsense") => "lorem ipsum\r\n\r\n".to_owned(),
            _ => OK.to_owned(),
        };
        if stream.write_all(said.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Speaks on a port, until the test ends.
async fn speaker() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream));
        }
    });
    Ok(address)
}

fn unix_speaker(path: &Path) -> Result<()> {
    let listener = UnixListener::bind(path)?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream));
        }
    });
    Ok(())
}

/// A Service per route, all of them at one upstream each.
async fn stage(pods: &[(&str, SocketAddr)]) -> Result<Option<Stage>> {
    Stage::start(|manifests: &Manifests| {
        for (service, at) in pods {
            manifests.service(service, &[(&format!("{service}-1"), *at)]);
        }
    })
    .await
}

fn to(service: &str) -> Route {
    Route::to(&format!("/{service}/"), &cluster_name(service))
}

fn config(pods: &[(&str, SocketAddr)], routes: Vec<Route>) -> GatewayConfig {
    let cluster = |(service, at): &(&str, SocketAddr)| Cluster::new(&cluster_name(service), [*at]);
    GatewayConfig {
        clusters: pods.iter().map(cluster).collect(),
        routes,
        ..GatewayConfig::default()
    }
}

async fn status(gateway: &Gateway, path: &str, script: &Script) -> u16 {
    let request = Request::get(path).id(path).script(script);
    let client = Client::unpooled(gateway.address());
    client.send(request).await.map_or(0, |answer| answer.status)
}

#[tokio::test]
async fn what_routes_ask_for() -> Result<()> {
    let names = [
        "hedged", "tries", "longest", "idle", "mirrored", "shadow", "disabled", "faulted",
    ];
    let mut pods = Vec::new();
    let mut upstreams = Vec::new();
    for name in names {
        let upstream = Upstream::instant().await?;
        pods.push((name, upstream.address()));
        upstreams.push(upstream);
    }
    let Some(stage) = stage(&pods).await? else {
        return Ok(());
    };
    let per_try = |retries: u32| json!({ "retry_on": "5xx", "num_retries": retries, "per_try_timeout": "0.2s" });
    let off = json!({ "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true });
    let fault = |more: Value| {
        let mut fault = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault" });
        fault["abort"] = more;
        fault
    };
    let abort = fault(json!({ "http_status": 503, "percentage": { "numerator": 100 } }));
    let fault_filter = "envoy.filters.http.fault";
    let routes = vec![
        to("hedged")
            .action("hedge_policy", json!({ "hedge_on_per_try_timeout": true }))
            .action("retry_policy", per_try(1)),
        to("tries").action("retry_policy", per_try(1)),
        to("longest").action(
            "max_stream_duration",
            json!({ "max_stream_duration": "0.3s" }),
        ),
        to("idle").action("idle_timeout", json!("0.3s")),
        to("mirrored").action(
            "request_mirror_policies",
            json!([{ "cluster": cluster_name("shadow") }]),
        ),
        to("disabled").per_filter("gaugeway-0", off),
        to("faulted").per_filter(fault_filter, abort),
    ];
    let gateway = stage
        .gateway(GatewayConfig {
            after: vec![json!({ "name": fault_filter, "typed_config": fault(Value::Null) })],
            ..config(&pods, routes)
        })
        .await?;
    let slow = Script::delay(Duration::from_millis(350));
    let hang = Script::act(Act::Hang);
    let body = Script::act(Act::Events { every_ms: 2_000 });
    let plain = Script::default();
    for (path, script, code) in [
        ("/hedged/", &slow, 200),
        ("/tries/", &hang, 504),
        ("/longest/hang", &hang, 504),
        ("/longest/body", &body, 0),
        ("/idle/hang", &hang, 504),
        ("/idle/body", &body, 0),
        ("/mirrored/", &plain, 200),
        ("/disabled/", &plain, 200),
        ("/faulted/", &plain, 503),
    ] {
        assert_eq!(status(&gateway, path, script).await, code, "{path}");
    }
    let unknown = |counts: Counts| counts.retries(1).latency_unknown(1);
    let timeout_and_response = || {
        Counts::responses("2xx", 1)
            .and("timeout", "5xx", 1)
            .latencies(2)
    };
    let expected = [
        ("hedged", unknown(Counts::only("response", "2xx", 1))),
        ("tries", unknown(Counts::only("timeout", "5xx", 1))),
        // Envoy sets no flag when a route's longest duration cuts a response.
        ("longest", timeout_and_response()),
        ("idle", timeout_and_response().aborted(1)),
        ("mirrored", Counts::responses("2xx", 1)),
    ];
    stage.expect_all(&expected).await?;
    Ok(())
}

#[tokio::test]
async fn what_an_upstream_can_say_before_and_instead_of_a_response() -> Result<()> {
    let at = speaker().await?;
    let pods = [("odd", at)];
    let Some(stage) = stage(&pods).await? else {
        return Ok(());
    };
    let redirects = json!({ "max_internal_redirects": 1 });
    let routes = vec![to("odd").action("internal_redirect_policy", redirects)];
    let gateway = stage.gateway(config(&pods, routes)).await?;
    for (path, code) in [
        ("/odd/hints", 200),
        ("/odd/continue", 200),
        // Two requests to the upstream: 302, which the client does not see, and 200.
        ("/odd/elsewhere", 200),
        ("/odd/nonsense", 502),
    ] {
        let seen = status(&gateway, path, &Script::default()).await;
        assert_eq!(seen, code, "{path}");
    }
    let expected = Counts::responses("2xx", 3)
        .and("response", "3xx", 1)
        .and("reset", "5xx", 1)
        .latencies(4);
    stage.expect_all(&[("odd", expected)]).await?;
    Ok(())
}

/// Their addresses say nothing that Kubernetes knows: their clusters do.
#[tokio::test]
async fn unix_sockets_and_internal_listeners() -> Result<()> {
    let at = speaker().await?;
    let nowhere: SocketAddr = ([127, 0, 0, 1], 9).into();
    let pods = [("socket", nowhere), ("inner", nowhere), ("ambient", at)];
    let Some(stage) = stage(&pods).await? else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("app.sock");
    unix_speaker(&path)?;
    let internal = |name: &str, endpoint: String| {
        let address = json!({ "server_listener_name": name, "endpoint_id": endpoint });
        json!({ "envoy_internal_address": address })
    };
    let proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "inner",
        "cluster": "behind",
    });
    let listener = |name: &str| {
        json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": name,
            "internal_listener": {},
            "filter_chains": [{ "filters": [{ "name": "envoy.filters.network.tcp_proxy", "typed_config": proxy }] }],
        })
    };
    let cluster = |service: &str, address: Value| {
        Cluster::new(&cluster_name(service), []).odd_endpoint(address)
    };
    let gateway = stage
        .gateway(GatewayConfig {
            clusters: vec![
                cluster("socket", json!({ "pipe": { "path": path } })),
                cluster("inner", internal("inner", String::new())),
                cluster("ambient", internal("connect_originate", at.to_string())),
                Cluster::new("behind", [at]),
            ],
            routes: vec![to("socket"), to("inner"), to("ambient")],
            listeners: vec![listener("inner"), listener("connect_originate")],
            ..GatewayConfig::default()
        })
        .await?;
    for path in ["/socket/", "/inner/", "/ambient/"] {
        let seen = status(&gateway, path, &Script::default()).await;
        assert_eq!(seen, 200, "{path}");
    }
    let one = || Counts::responses("2xx", 1);
    let expected = [("socket", one()), ("inner", one()), ("ambient", one())];
    stage.expect_all(&expected).await?;
    Ok(())
}
