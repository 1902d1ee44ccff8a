//! The outcome matrix: one test per way in which a request can end, each with its exact counts.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use gaugeway_rig::{
    AccessLine, Act, Backend, Client, Cluster, Exposition, Gateway, GatewayConfig, ReservedPort,
    Route, Script, Upstream,
    client::Request,
    wait::{PATIENCE, until},
};
use http_body_util::{BodyExt as _, Channel};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::sleep,
};

use crate::{
    counts::{Counts, latency_sum_ms},
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

/// The one Service of these tests.
const SERVICE: &str = "backend";
/// How far our latency may be from Envoy's own, per request: both run on a busy machine.
const NEAR_MS: f64 = 25.0;

/// One Service behind one gateway.
struct Play {
    stage: Stage,
    gateway: Gateway,
    upstream: Upstream,
    client: Client,
}

impl Play {
    async fn start() -> Result<Option<Self>> {
        Self::start_on(|config| config).await
    }

    /// With another gateway configuration.
    async fn start_on(change: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Result<Option<Self>> {
        let upstream = Upstream::instant().await?;
        let pods = [("backend-1", upstream.address())];
        let Some(stage) = Stage::start(|m: &Manifests| m.service(SERVICE, &pods)).await? else {
            return Ok(None);
        };
        let config = GatewayConfig {
            clusters: vec![Cluster::new(&cluster_name(SERVICE), [upstream.address()])],
            routes: vec![Route::to("/", &cluster_name(SERVICE))],
            ..GatewayConfig::default()
        };
        let gateway = stage.gateway(change(config)).await?;
        let client = gateway.client();
        Ok(Some(Self {
            stage,
            gateway,
            upstream,
            client,
        }))
    }

    /// A request that does `act`; returns its status and Envoy's line about it.
    async fn act(&self, id: &str, script: Script) -> Result<AccessLine> {
        let _ = self
            .client
            .send(Request::get("/").id(id).script(&script))
            .await;
        self.gateway.access_log().line(id).await
    }

    async fn expect(&self, counts: Counts) -> Result<Exposition> {
        self.stage.expect_all(&[(SERVICE, counts)]).await
    }
}

fn near(measured: f64, truth: f64, tolerance: f64) -> Result<()> {
    ensure!(
        (measured - truth).abs() <= tolerance,
        "measured {measured} ms, in truth {truth} ms"
    );
    Ok(())
}

fn ms(line: &AccessLine) -> f64 {
    line.latency().unwrap_or_default().as_secs_f64() * 1e3
}

macro_rules! play {
    ($start:expr) => {
        match $start.await? {
            Some(play) => play,
            None => return Ok(()),
        }
    };
}

#[tokio::test]
async fn responses_count_by_class_with_their_latency() -> Result<()> {
    let play = play!(Play::start());
    let mut truth = 0.0;
    for (n, status) in [200, 204, 302, 404, 500, 503].into_iter().enumerate() {
        let script = Script {
            delay_ms: 20,
            act: Act::Status(status),
            ..Script::default()
        };
        let line = play.act(&n.to_string(), script).await?;
        assert_eq!(line.code, status);
        truth += ms(&line);
    }
    let expected = Counts::responses("2xx", 2)
        .and("response", "3xx", 1)
        .and("response", "4xx", 1)
        .and("response", "5xx", 2)
        .latencies(6);
    let page = play.expect(expected).await?;
    near(latency_sum_ms(&page, SERVICE), truth, 6.0 * NEAR_MS)
}

#[tokio::test]
async fn slow_headers_are_latency_and_a_slow_body_is_not() -> Result<()> {
    let play = play!(Play::start());
    let headers = play
        .act("headers", Script::delay(Duration::from_millis(400)))
        .await?;
    let body = play
        .act(
            "body",
            Script::act(Act::SlowBody {
                chunks: 8,
                every_ms: 50,
            }),
        )
        .await?;
    assert!(
        ms(&headers) >= 400.0 && body.duration_ms >= Some(300),
        "{body:?}"
    );
    let page = play.expect(Counts::responses("2xx", 2)).await?;
    near(
        latency_sum_ms(&page, SERVICE),
        ms(&headers) + ms(&body),
        2.0 * NEAR_MS,
    )
}

#[tokio::test]
async fn a_stream_without_end_counts_at_its_headers() -> Result<()> {
    let play = play!(Play::start());
    let request = Request::get("/")
        .id("events")
        .script(&Script::act(Act::Events { every_ms: 20 }));
    let mut events = play.client.open(request).await?;
    events
        .body_mut()
        .frame()
        .await
        .context("no first event")??;
    play.expect(Counts::responses("2xx", 1)).await?;
    // It still runs; when the client leaves, that is an abort and no second request.
    events
        .body_mut()
        .frame()
        .await
        .context("the stream ended")??;
    drop(events);
    play.expect(Counts::responses("2xx", 1).aborted(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_timeout_counts_with_the_time_waited() -> Result<()> {
    let route = |config| GatewayConfig {
        routes: vec![Route::to("/", &cluster_name(SERVICE)).timeout(Duration::from_millis(300))],
        ..config
    };
    let play = play!(Play::start_on(route));
    let line = play.act("late", Script::act(Act::Hang)).await?;
    assert_eq!((line.code, line.flags.as_str()), (504, "UT"));
    let page = play
        .expect(Counts::only("timeout", "5xx", 1).latencies(1))
        .await?;
    let waited = line.duration_ms.context("no duration")? as f64;
    near(latency_sum_ms(&page, SERVICE), waited, NEAR_MS)
}

#[tokio::test]
async fn a_client_that_leaves_before_headers_is_cancelled() -> Result<()> {
    let play = play!(Play::start());
    let request = Request::get("/").id("gone").script(&Script::act(Act::Hang));
    let call = play.client.open(request);
    tokio::select! {
        answer = call => panic!("{answer:?}"),
        () = async {
            play.requests(1).await.unwrap();
            // Stimulus: how long the client waits before it leaves.
            sleep(Duration::from_millis(200)).await;
        } => {}
    }
    let line = play.gateway.access_log().line("gone").await?;
    assert_eq!((line.code, line.flags.as_str()), (0, "DC"));
    let page = play.expect(Counts::only("cancelled", "none", 1)).await?;
    let labels = [("kubernetes_service", SERVICE)];
    let waited = page.sum("gaugeway_upstream_cancelled_wait_seconds_total", &labels) * 1e3;
    near(waited, line.duration_ms.unwrap_or_default() as f64, NEAR_MS)
}

#[tokio::test]
async fn a_client_that_leaves_after_headers_is_a_response_aborted() -> Result<()> {
    let play = play!(Play::start());
    let script = Script::act(Act::SlowBody {
        chunks: 1000,
        every_ms: 50,
    });
    let mut answer = play
        .client
        .open(Request::get("/").id("gone").script(&script))
        .await?;
    answer
        .body_mut()
        .frame()
        .await
        .context("no first chunk")??;
    drop(answer);
    assert_eq!(play.gateway.access_log().line("gone").await?.flags, "DC");
    play.expect(Counts::responses("2xx", 1).aborted(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_reset_before_headers_has_no_latency() -> Result<()> {
    let play = play!(Play::start());
    let line = play
        .act("reset", Script::act(Act::ResetBeforeHeaders))
        .await?;
    assert_eq!((line.code, line.flags.as_str()), (503, "UC"));
    play.expect(Counts::only("reset", "5xx", 1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_stream_reset_before_headers_over_h2_is_a_reset_too() -> Result<()> {
    let h2 = |config: GatewayConfig| GatewayConfig {
        clusters: config.clusters.into_iter().map(Cluster::h2).collect(),
        ..config
    };
    let play = play!(Play::start_on(h2));
    let line = play
        .act("reset", Script::act(Act::ResetBeforeHeaders))
        .await?;
    assert_eq!((line.code, line.flags.as_str()), (503, "UR"));
    play.expect(Counts::only("reset", "5xx", 1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_reset_after_headers_is_a_response_aborted() -> Result<()> {
    let play = play!(Play::start());
    let line = play
        .act("reset", Script::act(Act::ResetAfterHeaders))
        .await?;
    assert_eq!(line.code, 200);
    assert!(
        line.details
            .starts_with("upstream_reset_after_response_started"),
        "{line:?}"
    );
    play.expect(Counts::responses("2xx", 1).aborted(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_has_no_latency() -> Result<()> {
    let closed = ReservedPort::new()?;
    let pods = [("backend-1", closed.address())];
    let Some(stage) = Stage::start(|m: &Manifests| m.service(SERVICE, &pods)).await? else {
        return Ok(());
    };
    let config = GatewayConfig {
        clusters: vec![Cluster::new(&cluster_name(SERVICE), [closed.address()])],
        routes: vec![Route::to("/", &cluster_name(SERVICE))],
        ..GatewayConfig::default()
    };
    let gateway = stage.gateway(config).await?;
    for n in 0..3 {
        gateway
            .client()
            .send(Request::get("/").id(&n.to_string()))
            .await?;
    }
    let lines = gateway.access_log().exactly(3).await?;
    assert!(
        lines.iter().all(|line| line.flags.starts_with("UF")),
        "{lines:?}"
    );
    stage
        .expect_all(&[(SERVICE, Counts::only("connect_failure", "5xx", 3))])
        .await?;
    Ok(())
}

#[tokio::test]
async fn overload_is_counted_by_cluster() -> Result<()> {
    let tight = |config: GatewayConfig| GatewayConfig {
        clusters: config
            .clusters
            .into_iter()
            .map(|c| c.limits(1, 1))
            .collect(),
        ..config
    };
    let play = play!(Play::start_on(tight));
    // One request holds the only connection, one waits for it, the others are refused.
    let mut calls = JoinSet::new();
    let client = Client::unpooled(play.gateway.address());
    for n in 0..2 {
        let request = Request::get("/")
            .id(&format!("held-{n}"))
            .script(&Script::delay(Duration::from_millis(1500)));
        let client = client.clone();
        calls.spawn(async move { client.send(request).await.map(|answer| answer.status) });
        let name = format!(
            "cluster.{}.upstream_rq_pending_active",
            cluster_name(SERVICE)
        );
        let waiting = n;
        until("the held request arrived", PATIENCE, || async {
            ensure!(play.upstream.requests() >= 1, "nothing arrived");
            let seen = play.gateway.envoy.stat(&name).await?;
            ensure!(seen == waiting, "{seen} requests wait");
            Ok(())
        })
        .await?;
    }
    for n in 0..4 {
        let line = play.act(&format!("refused-{n}"), Script::default()).await?;
        assert_eq!(
            (line.code, line.flags.as_str(), line.upstream),
            (503, "UO", None)
        );
    }
    while let Some(call) = calls.join_next().await {
        assert_eq!(call??, 200);
    }
    play.expect(Counts::responses("2xx", 2).and("overflow", "5xx", 4))
        .await?;
    Ok(())
}

#[tokio::test]
async fn no_healthy_host_is_counted_by_cluster() -> Result<()> {
    let empty = |config: GatewayConfig| GatewayConfig {
        clusters: vec![Cluster::new(&cluster_name(SERVICE), [])],
        ..config
    };
    let play = play!(Play::start_on(empty));
    let line = play.act("nobody", Script::default()).await?;
    assert_eq!(
        (line.code, line.flags.as_str(), line.upstream),
        (503, "UH", None)
    );
    play.expect(Counts::only("no_endpoint", "5xx", 1)).await?;
    Ok(())
}

#[tokio::test]
async fn what_never_reached_upstream_handling_is_not_counted() -> Result<()> {
    let direct = |config: GatewayConfig| GatewayConfig {
        routes: [Route::new("/direct", Backend::Direct(418))]
            .into_iter()
            .chain(config.routes)
            .collect(),
        ..config
    };
    let play = play!(Play::start_on(direct));
    for n in 0..5 {
        let answer = play
            .client
            .send(Request::get("/direct").id(&n.to_string()))
            .await?;
        assert_eq!(answer.status, 418);
    }
    play.act("counted", Script::default()).await?;
    play.expect(Counts::responses("2xx", 1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_retried_request_counts_once_without_latency() -> Result<()> {
    let retrying = |config: GatewayConfig| GatewayConfig {
        routes: config
            .routes
            .into_iter()
            .map(|route| route.retries(3))
            .collect(),
        ..config
    };
    let play = play!(Play::start_on(retrying));
    let script = Script {
        fail_attempts: 2,
        ..Script::default()
    };
    let line = play.act("third time", script).await?;
    assert_eq!((line.code, line.attempts), (200, Some(3)));
    play.act("at once", Script::default()).await?;
    let expected = Counts::only("response", "2xx", 2)
        .latencies(1)
        .retries(2)
        .latency_unknown(1);
    play.expect(expected).await?;
    assert_eq!(play.upstream.requests(), 4);
    Ok(())
}

#[tokio::test]
async fn an_upgrade_counts_at_its_101() -> Result<()> {
    let play = play!(Play::start());
    let request = Request::get("/")
        .id("socket")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .script(&Script {
            delay_ms: 50,
            act: Act::Upgrade,
            ..Script::default()
        });
    let answer = play.client.open(request).await?;
    assert_eq!(answer.status(), 101);
    let mut socket = TokioIo::new(hyper::upgrade::on(answer).await?);
    socket.write_all(b"echo").await?;
    let mut echoed = [0; 4];
    socket.read_exact(&mut echoed).await?;
    assert_eq!(&echoed, b"echo");
    // Counted while it is open, with the time to its 101.
    let page = play.expect(Counts::responses("1xx", 1)).await?;
    drop(socket);
    let line = play.gateway.access_log().line("socket").await?;
    near(latency_sum_ms(&page, SERVICE), ms(&line), NEAR_MS)
}

#[tokio::test]
async fn grpc_over_h2_counts_by_its_headers() -> Result<()> {
    let h2 = |config: GatewayConfig| GatewayConfig {
        clusters: config.clusters.into_iter().map(Cluster::h2).collect(),
        ..config
    };
    let play = play!(Play::start_on(h2));
    let client = Client::h2c(play.gateway.address());
    for (n, act) in [Act::Grpc(0), Act::Grpc(13), Act::GrpcTrailersOnly(14)]
        .into_iter()
        .enumerate()
    {
        let request = Request::post("/shop.Backend/Call", Bytes::from_static(&[0; 5]))
            .id(&n.to_string())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .script(&Script {
                delay_ms: 20,
                act,
                ..Script::default()
            });
        assert_eq!(client.send(request).await?.status, 200);
    }
    let truth: f64 = play
        .gateway
        .access_log()
        .exactly(3)
        .await?
        .iter()
        .map(ms)
        .sum();
    let page = play.expect(Counts::responses("2xx", 3)).await?;
    near(latency_sum_ms(&page, SERVICE), truth, 3.0 * NEAR_MS)
}

#[tokio::test]
async fn a_slow_upload_is_inside_the_latency() -> Result<()> {
    let play = play!(Play::start());
    let (mut sender, body) = Channel::new(1);
    let upload = tokio::spawn(async move {
        for _ in 0..10 {
            // Stimulus: a client that uploads slowly.
            sleep(Duration::from_millis(50)).await;
            sender.send_data(Bytes::from_static(&[b'x'; 4096])).await?;
        }
        anyhow::Ok(())
    });
    let answer = play
        .client
        .send(Request::post_stream("/", body.boxed()).id("upload"))
        .await?;
    upload.await??;
    assert_eq!(answer.status, 200);
    let line = play.gateway.access_log().line("upload").await?;
    assert!(ms(&line) >= 450.0, "{line:?}");
    let page = play.expect(Counts::responses("2xx", 1)).await?;
    near(latency_sum_ms(&page, SERVICE), ms(&line), NEAR_MS)
}

#[tokio::test]
async fn a_filter_before_ours_is_not_in_the_latency_and_one_after_is() -> Result<()> {
    let delay = || vec![GatewayConfig::delay_filter(Duration::from_millis(300))];
    let before = play!(Play::start_on(|config| GatewayConfig {
        before: delay(),
        ..config
    }));
    let after = play!(Play::start_on(|config| GatewayConfig {
        after: delay(),
        ..config
    }));
    for play in [&before, &after] {
        let line = play
            .act("delayed", Script::delay(Duration::from_millis(50)))
            .await?;
        assert!(
            // Two timers, both in whole milliseconds.
            ms(&line) >= 348.0,
            "Envoy's own timing has the filter in both: {line:?}"
        );
    }
    // What a filter before ours takes is in Envoy's timing only; without it the last attempt is all there is.
    let line = before.gateway.access_log().line("delayed").await?;
    let attempt = line.last_attempt().context("no attempt")?;
    let page = before.expect(Counts::responses("2xx", 1)).await?;
    let measured = latency_sum_ms(&page, SERVICE);
    near(measured, attempt.as_secs_f64() * 1e3, NEAR_MS)?;
    let line = after.gateway.access_log().line("delayed").await?;
    let page = after.expect(Counts::responses("2xx", 1)).await?;
    near(latency_sum_ms(&page, SERVICE), ms(&line), NEAR_MS)
}

#[tokio::test]
async fn requests_side_by_side_keep_their_own_latency() -> Result<()> {
    let play = play!(Play::start());
    let delays = [10_u64, 30, 90, 270];
    let client = Arc::new(Client::h2c(play.gateway.address()));
    let mut calls = JoinSet::new();
    for n in 0..20_u64 {
        let delay = delays
            .get(usize::try_from(n % 4)?)
            .copied()
            .unwrap_or_default();
        let request = Request::get("/")
            .id(&n.to_string())
            .script(&Script::delay(Duration::from_millis(delay)));
        let client = Arc::clone(&client);
        calls.spawn(async move { client.send(request).await });
    }
    while let Some(call) = calls.join_next().await {
        assert_eq!(call??.status, 200);
    }
    let page = play.expect(Counts::responses("2xx", 20)).await?;
    let labels = [("kubernetes_service", SERVICE)];
    let histogram = page
        .classic("gaugeway_upstream_latency_seconds", &labels)?
        .context("none")?;
    let lines = play.gateway.access_log().exactly(20).await?;
    // Each bound counts what Envoy timed below it; a sample within a few milliseconds of it may fall either way.
    for (bound, count) in &histogram.buckets {
        let below = |bound: f64| lines.iter().filter(|line| ms(line) <= bound * 1e3).count() as f64;
        ensure!(
            (below(bound - 0.003)..=below(bound + 0.003)).contains(count),
            "{count} up to {bound} s in {histogram:?}, but {lines:?}"
        );
    }
    Ok(())
}

impl Play {
    /// Waits until the upstream has seen `count` requests.
    async fn requests(&self, count: u64) -> Result<()> {
        until("the request reached the upstream", PATIENCE, || async {
            let seen = self.upstream.requests();
            ensure!(seen >= count, "{seen} requests");
            Ok(())
        })
        .await
    }
}
