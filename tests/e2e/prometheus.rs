//! A real Prometheus reads what the controller exposes, and its functions give the truth.

use std::{
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    AccessLine, Client, Cluster, Gateway, GatewayConfig, Latency, Prometheus, Route, Upstream,
    client::Request,
    oracle::quantile,
    prometheus::Sample,
    tools::{PROMETHEUS, PROMTOOL},
    wait::{PATIENCE, until},
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
    upstream: Upstream,
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
            upstream,
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

    /// Another Pod takes over the upstream's address.
    fn replace_pod(&self, number: usize) {
        let pod = format!("pod-{number}");
        let pods = [(pod.as_str(), self.upstream.address())];
        self.stage.manifests.service("svc", &pods);
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

/// Show a cluster; this scene's objects come from a directory. `controller/tests/kubernetes/dashboards.rs` asks for them
/// there.
const OF_A_CLUSTER: [&str; 2] = ["gaugeway_source_watches", "gaugeway_gateway_deployment"];

/// What dashboards ask for, by file: queries of panels, and those that fill the variables.
fn questions() -> Result<Vec<String>> {
    let dashboards = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/charts/gaugeway/files/dashboards"
    );
    let mut questions = Vec::new();
    for file in std::fs::read_dir(dashboards)? {
        let dashboard: serde_json::Value = serde_json::from_slice(&std::fs::read(file?.path())?)?;
        let panels = dashboard["panels"].as_array().context("no panels")?;
        let targets = panels.iter().flat_map(|p| p["targets"].as_array());
        for target in targets.flatten() {
            questions.push(target["expr"].as_str().context("no query")?.to_owned());
        }
        let variables = dashboard["templating"]["list"].as_array();
        for variable in variables.into_iter().flatten() {
            let Some(query) = variable["query"]["query"].as_str() else {
                continue;
            };
            // `label_values(SELECTOR, LABEL)` is Grafana's: the values that a label has.
            let inside = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')'));
            let (selector, label) = inside
                .and_then(|inside| inside.rsplit_once(", "))
                .with_context(|| format!("not understood: {query}"))?;
            questions.push(format!("count by ({label}) ({selector})"));
        }
    }
    Ok(questions)
}

/// As Grafana fills in its variables, for one Service.
fn filled(question: &str, service: &str) -> String {
    question
        .replace("$__rate_interval", "1m")
        .replace("$namespace", ".*")
        .replace("$service", service)
}

/// Numbers, not what a division by nothing gives.
fn has_data(samples: &[Sample]) -> Result<()> {
    ensure!(!samples.is_empty(), "no data");
    ensure!(samples.iter().any(|s| s.value.is_finite()), "{samples:?}");
    Ok(())
}

#[tokio::test]
async fn every_query_of_the_dashboards_returns_data() -> Result<()> {
    let latency = Latency::Constant(Duration::from_millis(2));
    let Some(scene) = Scene::start(latency, &[]).await? else {
        return Ok(());
    };
    // One takes classic histograms, the other native ones in their place.
    let dir = tempfile::tempdir()?;
    let target = scene.stage.controller.ports().metrics;
    let flags = ["--enable-feature=native-histograms"];
    let native = Prometheus::start(dir.path(), target, EVERY, &flags).await?;
    let up = |samples: &[Sample]| samples.first().map(drop).context("not scraped yet");
    native.queried("up == 1", up).await?;
    let stranger = Client::new(scene.stage.controller.ports().filters);
    ensure!(stranger.send(Request::get("/nowhere")).await?.status == 404);
    let rounds = AtomicUsize::new(0);
    let mut of_services = 0;
    let questions = questions()?;
    for question in questions
        .iter()
        .filter(|q| !OF_A_CLUSTER.iter().any(|of| q.contains(of)))
    {
        for prometheus in [&scene.prometheus, &native] {
            let query = filled(question, "svc");
            until(&query, PATIENCE, || async {
                // Shares and lags are of what comes in and what changes meanwhile.
                scene.replace_pod(rounds.fetch_add(1, Relaxed));
                scene.send(2).await?;
                has_data(&prometheus.query(&query).await?)
            })
            .await?;
            // Of another Service there is nothing: the choice is not ignored.
            if question.contains("$service") {
                let nothing = prometheus.query(&filled(question, "other")).await?;
                ensure!(nothing.is_empty(), "{question}: {nothing:?}");
                of_services += 1;
            }
        }
    }
    ensure!(questions.len() > 15 && of_services > 15, "{questions:?}");
    Ok(())
}
