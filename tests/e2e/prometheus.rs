//! A real Prometheus reads what the controller exposes, and its functions give the truth.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    AccessLine, Client, Cluster, Gateway, GatewayConfig, Latency, Prometheus, Route, Upstream,
    client::Request,
    oracle::quantile,
    prometheus::Sample,
    tools::{PROMETHEUS, PROMTOOL},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    counts::Counts,
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

const EVERY: Duration = Duration::from_millis(250);

/// One Service behind a gateway, scraped.
struct Scene {
    stage: Stage,
    gateway: Gateway,
    prometheus: Prometheus,
    _dir: TempDir,
    _upstream: Upstream,
}

impl Scene {
    async fn start(latency: Latency, arguments: &[&str]) -> Result<Option<Self>> {
        if !PROMETHEUS.or_skip()? {
            return Ok(None);
        }
        let upstream = Upstream::start(latency, 7).await?;
        let pods = [("pod-1", upstream.address())];
        let write = |m: &Manifests| m.service("svc", &pods);
        let Some(stage) = Stage::start_with(arguments, write).await? else {
            return Ok(None);
        };
        let gateway = stage
            .gateway(GatewayConfig {
                clusters: vec![Cluster::new(&cluster_name("svc"), [upstream.address()])],
                routes: vec![Route::to("/", &cluster_name("svc"))],
                ..GatewayConfig::default()
            })
            .await?;
        let dir = tempfile::tempdir()?;
        let target = stage.controller.ports().metrics;
        let prometheus = Prometheus::start(dir.path(), target, EVERY, &[]).await?;
        let scene = Self {
            stage,
            gateway,
            prometheus,
            _dir: dir,
            _upstream: upstream,
        };
        // It has scraped before the Service's first request.
        scene.value("up", 1.0).await?;
        Ok(Some(scene))
    }

    async fn send(&self, count: u64) -> Result<()> {
        for n in 0..count {
            let request = Request::get("/").id(&n.to_string());
            ensure!(self.gateway.client().send(request).await?.status == 200);
        }
        Ok(())
    }

    /// Waits until an expression of one element has a value.
    async fn value(&self, expression: &str, value: f64) -> Result<()> {
        self.prometheus
            .queried(expression, |samples| match samples {
                [one] if (one.value - value).abs() < f64::EPSILON * value => Ok(()),
                other => anyhow::bail!("{other:?} instead of {value}"),
            })
            .await
    }
}

const REQUESTS: &str = "gaugeway_upstream_requests_total{kubernetes_service=\"svc\"}";

#[tokio::test]
async fn histogram_quantile_is_in_the_bucket_of_the_oracle() -> Result<()> {
    let latency = Latency::Uniform(Duration::from_millis(20), Duration::from_millis(240));
    let Some(scene) = Scene::start(latency, &[]).await? else {
        return Ok(());
    };
    scene.send(120).await?;
    scene.value(&format!("sum({REQUESTS})"), 120.0).await?;
    let lines = scene.gateway.access_log().exactly(120).await?;
    let mut samples: Vec<_> = lines.iter().filter_map(AccessLine::latency).collect();
    let page = scene.stage.controller.scrape().await?;
    let buckets = page
        .classic("gaugeway_upstream_latency_seconds", &[])?
        .context("no histogram")?;
    for q in [0.5, 0.9, 0.99] {
        let truth = quantile(&mut samples, q)
            .context("no samples")?
            .as_secs_f64();
        let expression = format!(
            "histogram_quantile({q}, sum by (le) (gaugeway_upstream_latency_seconds_bucket))"
        );
        let seen = scene.prometheus.query(&expression).await?;
        let [seen] = seen.as_slice() else {
            anyhow::bail!("{expression}: {seen:?}");
        };
        // The filter's clock and Envoy's differ by less than a millisecond: a sample at a bound may fall either way.
        let (lower, _, upper) = buckets.quantile(q).context("no quantile")?;
        ensure!(
            seen.value > lower
                && seen.value <= upper
                && truth > lower - 0.001
                && truth <= upper + 0.001,
            "p{q}: Prometheus {}, Envoy {truth}, bucket {lower}..{upper}",
            seen.value
        );
    }
    Ok(())
}

#[tokio::test]
async fn increase_over_a_short_lived_pods_series_is_exact() -> Result<()> {
    let arguments = ["--series-expiry", "2s"];
    let Some(scene) = Scene::start(Latency::Constant(Duration::from_millis(1)), &arguments).await?
    else {
        return Ok(());
    };
    scene.send(37).await?;
    scene
        .stage
        .expect_all(&[("svc", Counts::responses("2xx", 37))])
        .await?;
    scene.value(REQUESTS, 37.0).await?;
    let at = scene
        .prometheus
        .queried(&format!("timestamp({REQUESTS})"), |samples| {
            samples.first().map(|s| s.value).context("no timestamp yet")
        })
        .await?;
    scene.stage.manifests.remove_service("svc");
    scene
        .prometheus
        .queried(REQUESTS, |samples| {
            ensure!(samples.is_empty(), "still there: {samples:?}");
            Ok(())
        })
        .await?;
    // Between its first sample (0) and its last there is nothing to extrapolate.
    for series in [
        REQUESTS,
        "gaugeway_upstream_latency_seconds_count{kubernetes_service=\"svc\"}",
    ] {
        let expression = format!("increase({series}[1m] @ {at})");
        scene.value(&expression, 37.0).await?;
    }
    Ok(())
}

/// The schema's error: a native bucket of schema 3 is wider by this factor at its end than at its beginning.
const NATIVE_ERROR: f64 = 1.090_507_732_665_257_7;

#[tokio::test]
async fn native_and_classic_histograms_serve_two_prometheis_at_once() -> Result<()> {
    let latency = Latency::Uniform(Duration::from_millis(20), Duration::from_millis(240));
    let Some(scene) = Scene::start(latency, &["--kong-metric"]).await? else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let target = scene.stage.controller.ports().metrics;
    let flags = ["--enable-feature=native-histograms"];
    let native = Prometheus::start(dir.path(), target, EVERY, &flags).await?;
    scene.send(150).await?;
    let counted = |samples: &[Sample]| match samples {
        [one] if (one.value - 150.0).abs() < 0.5 => Ok(()),
        other => anyhow::bail!("{other:?}"),
    };
    // OpenMetrics and gzip on the one hand, protobuf and gzip on the other.
    let expression = "sum(gaugeway_upstream_latency_seconds_count)";
    scene.prometheus.queried(expression, counted).await?;
    let expression = "histogram_count(sum(gaugeway_upstream_latency_seconds))";
    native.queried(expression, counted).await?;
    let lines = scene.gateway.access_log().exactly(150).await?;
    let mut samples: Vec<_> = lines.iter().filter_map(AccessLine::latency).collect();
    for q in [0.1, 0.5, 0.9, 0.99] {
        let truth = quantile(&mut samples, q)
            .context("no samples")?
            .as_secs_f64();
        let expression = format!("histogram_quantile({q}, sum(gaugeway_upstream_latency_seconds))");
        let seen = native.query(&expression).await?;
        let [seen] = seen.as_slice() else {
            anyhow::bail!("{expression}: {seen:?}");
        };
        // The two clocks differ by less than a millisecond.
        let (low, high) = (
            (truth - 0.001) / NATIVE_ERROR,
            (truth + 0.001) * NATIVE_ERROR,
        );
        ensure!(
            low <= seen.value && seen.value <= high,
            "p{q}: Prometheus {}, Envoy {truth}",
            seen.value
        );
    }
    let truth: f64 = samples.iter().map(Duration::as_secs_f64).sum();
    for (prometheus, expression) in [
        (
            &native,
            "histogram_sum(sum(gaugeway_upstream_latency_seconds))",
        ),
        (&native, "sum(kong_upstream_latency_ms_sum) / 1000"),
        (
            &scene.prometheus,
            "sum(gaugeway_upstream_latency_seconds_sum)",
        ),
        (
            &scene.prometheus,
            "sum(kong_upstream_latency_ms_sum) / 1000",
        ),
    ] {
        let seen = prometheus.query(expression).await?;
        let [seen] = seen.as_slice() else {
            anyhow::bail!("{expression}: {seen:?}");
        };
        ensure!(
            (seen.value - truth).abs() < 0.15,
            "{expression}: {} {truth}",
            seen.value
        );
    }
    // The HPA rule of the incumbent's users.
    let rule = "sum(rate(kong_upstream_latency_ms_sum[60s])) by (exported_namespace, exported_service) \
        / sum(rate(kong_upstream_latency_ms_count[60s])) by (exported_namespace, exported_service)";
    scene
        .prometheus
        .queried(rule, |s| s.first().map(drop).context("empty"))
        .await?;
    Ok(())
}

#[tokio::test]
async fn promtool_says_the_one_expected_line() -> Result<()> {
    if !PROMTOOL.or_skip()? {
        return Ok(());
    }
    let latency = Latency::Constant(Duration::from_millis(1));
    let Some(scene) = Scene::start(latency, &["--kong-metric"]).await? else {
        return Ok(());
    };
    scene.send(5).await?;
    scene
        .stage
        .expect_all(&[("svc", Counts::responses("2xx", 5))])
        .await?;
    let page = scene.stage.controller.scrape_text().await?;
    let mut promtool = Command::new(PROMTOOL.find()?)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = promtool.stdin.take().context("no stdin")?;
    stdin.write_all(page.as_bytes()).await?;
    drop(stdin);
    let output = promtool.wait_with_output().await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // The incumbent's name, which its users' rules and HPAs have.
    let expected = "kong_upstream_latency_ms metric names should not contain abbreviated units";
    ensure!(
        said.trim() == expected,
        "promtool: {} {said}",
        output.status
    );
    Ok(())
}

/// Shows watches of a cluster; this scene's objects come from a directory.
const OF_A_CLUSTER: &str = "gaugeway_source_watches";

#[tokio::test]
async fn every_query_of_the_dashboards_returns_data() -> Result<()> {
    let latency = Latency::Constant(Duration::from_millis(2));
    let Some(scene) = Scene::start(latency, &[]).await? else {
        return Ok(());
    };
    let stranger = Client::new(scene.stage.controller.ports().filters);
    ensure!(stranger.send(Request::get("/nowhere")).await?.status == 404);
    scene.send(20).await?;
    let mut asked = 0;
    let dashboards = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/charts/gaugeway/files/dashboards"
    );
    for file in std::fs::read_dir(dashboards)? {
        let dashboard: serde_json::Value = serde_json::from_slice(&std::fs::read(file?.path())?)?;
        let panels = dashboard["panels"].as_array().context("no panels")?;
        for target in panels
            .iter()
            .flat_map(|p| p["targets"].as_array())
            .flatten()
        {
            let query = target["expr"].as_str().context("no query")?;
            if query.contains(OF_A_CLUSTER) {
                continue;
            }
            // As Grafana fills in its variables.
            let query = query
                .replace("$__rate_interval", "1m")
                .replace("$namespace", ".*")
                .replace("$service", ".*");
            scene
                .prometheus
                .queried(&query, |s| s.first().map(drop).context("no data"))
                .await?;
            asked += 1;
        }
    }
    ensure!(asked > 15, "{asked}");
    Ok(())
}
