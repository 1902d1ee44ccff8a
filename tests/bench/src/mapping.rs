//! From a change of an EndpointSlice until it is in force in every worker of a real Envoy that uses the address.
//!
//! In every round the address of a Service goes to another Pod. Time begins before the API server's double is told, and
//! ends when the last worker has confirmed the answer that names the new Pod, as a relay between Envoy and the controller
//! sees it: a worker confirms what it has applied. So the double, the controller's watch, the relay and the confirmation
//! itself are in it. At the end requests must be counted for the last Pod, and for no other.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    Client, Cluster, Controller, ControllerOptions, EnvoyOptions, FilterInstance, Gateway,
    GatewayConfig, Load, Passing, Relay, Route, Upstream,
    client::Request,
    controller,
    wait::{PATIENCE, until},
};
use gaugeway_wire::{Answer, MappingAnswer, MappingRequest, VmId};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::cluster::Shape;
use crate::double::Double;
use crate::statistics::quantile;

/// Budgets of the design for the 99th percentile.
const QUIET: Duration = Duration::from_millis(50);
const CHURN: Duration = Duration::from_millis(250);
/// Longer than answers to one worker are kept apart.
const PAUSE: Duration = Duration::from_millis(300);
const GATEWAY: &str = "probe/edge";
const WORKERS: u32 = 2;
const PATH: &str = "/v1/mapping";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Changes of each kind that are timed.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=10_000))]
    rounds: u32,
    /// Endpoint changes a second elsewhere in the cluster, while it is not quiet.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    changes: u32,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    parts: crate::Parts,
}

#[derive(Debug, Serialize)]
struct Summary {
    workers: u32,
    changes_per_second: u64,
    quiet: Times,
    churn: Times,
    load_average: f64,
}

#[derive(Debug, Serialize)]
struct Times {
    rounds: usize,
    p50_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

/// Runs all rounds and prints their figures.
pub(crate) async fn bench(options: &Options) -> Result<()> {
    let bar = ProgressBar::new(u64::from(2 * options.rounds));
    let style = ProgressStyle::with_template("{msg:40} {wide_bar} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message("the cluster is made and read");
    let mut play = Play::start(options).await?;
    let (mut quiet, mut churn) = (Vec::new(), Vec::new());
    bar.set_message("one change after the other");
    for _ in 0..options.rounds {
        // Stimulus: nothing else changes.
        sleep(PAUSE).await;
        quiet.push(play.round().await?);
        bar.inc(1);
    }
    bar.set_message("many changes elsewhere");
    play.double.change(options.changes).await?;
    let begun = Instant::now();
    for _ in 0..options.rounds {
        // Stimulus: before or after the next answer may be sent.
        sleep(PAUSE.mul_f64(rand::random::<f64>())).await;
        churn.push(play.round().await?);
        bar.inc(1);
    }
    let changed = play.double.change(0).await?.changes;
    let seconds = begun.elapsed().as_secs().max(1);
    play.prove().await?;
    bar.finish_and_clear();
    let summary = Summary {
        workers: WORKERS,
        changes_per_second: changed / seconds,
        quiet: Times::of(&quiet)?,
        churn: Times::of(&churn)?,
        load_average: crate::load_average()?,
    };
    print(options, &summary)
}

struct Play {
    double: Double,
    controller: Controller,
    gateway: Gateway,
    address: SocketAddr,
    pods: u64,
    in_force: watch::Receiver<Workers>,
    _relay: Relay,
    _upstream: Upstream,
    _dir: tempfile::TempDir,
}

/// What each worker is known to apply.
type Workers = BTreeMap<VmId, Worker>;

#[derive(Clone, Copy, Debug, Default)]
struct Worker {
    /// The last answer that named a Pod of ours.
    told: Option<(Answer, u64)>,
    /// That Pod's number, and when the answer was confirmed.
    applied: Option<(u64, Instant)>,
}

impl Play {
    async fn start(options: &Options) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("gaugeway-bench-")
            .tempdir()?;
        let upstream = Upstream::instant().await?;
        let mut double = Double::start(options.shape).await?;
        let address = upstream.address();
        for (path, object) in objects(address) {
            double.put(&path, &object).await?;
        }
        let controller = Controller::launch(
            dir.path(),
            ControllerOptions {
                binary: options.parts.gaugeway.clone(),
                manifests: PathBuf::new(),
                kubeconfig: Some(double.kubeconfig.clone()),
                keep_state: false,
                arguments: vec!["--report-interval=1s".to_owned()],
            },
        )
        .await?;
        controller.ready(10 * PATIENCE).await?;
        let relay = Relay::start(controller.ports().filters).await?;
        let in_force = observe(&relay);
        let module = dir.path().join("gaugeway.wasm");
        crate::variant::write_module(&options.parts.gaugeway, &module).await?;
        let gateway = start_gateway(&module, &relay, address).await?;
        let mut play = Self {
            double,
            controller,
            gateway,
            address,
            pods: 0,
            in_force,
            _relay: relay,
            _upstream: upstream,
            _dir: dir,
        };
        play.until_all_use_it().await?;
        play.round().await?;
        Ok(play)
    }

    /// Requests until every worker was told of the address.
    async fn until_all_use_it(&mut self) -> Result<()> {
        let client = Client::unpooled(self.gateway.address());
        let in_force = self.in_force.clone();
        until("every worker uses the address", PATIENCE, || async {
            client.send(Request::get("/")).await?;
            let told = in_force
                .borrow()
                .values()
                .filter(|w| w.applied.is_some())
                .count();
            ensure!(told == WORKERS as usize, "{told} of {WORKERS} do");
            Ok(())
        })
        .await
    }

    /// The address goes to another Pod. How long it took.
    async fn round(&mut self) -> Result<Duration> {
        self.pods += 1;
        let pod = self.pods;
        let (path, object) = slice(self.address, pod);
        let begun = Instant::now();
        self.double.put(&path, &object).await?;
        let all = self.in_force.wait_for(|workers| {
            let applied = |w: &Worker| w.applied.is_some_and(|(of, _)| of == pod);
            workers.values().all(applied)
        });
        let all = timeout(PATIENCE, all).await;
        let workers = all.with_context(|| format!("Pod {pod} is in force nowhere"))??;
        let last = workers.values().filter_map(|w| Some(w.applied?.1)).max();
        Ok(last.context("no workers")?.saturating_duration_since(begun))
    }

    /// What comes now is counted for the last Pod.
    async fn prove(&self) -> Result<()> {
        const REQUESTS: u64 = 50;
        let load = Load {
            client: Client::unpooled(self.gateway.address()),
            total: REQUESTS,
            concurrency: 4,
            rate: None,
            request: Arc::new(|_| Request::get("/")),
        };
        let report = load.run().await?;
        ensure!(report.status(200) == REQUESTS, "{report:?}");
        let pod = pod(self.pods);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        let expected = REQUESTS as f64;
        let look = |page: &gaugeway_rig::Exposition| {
            let seen = page.sum(
                "gaugeway_upstream_requests_total",
                &[("kubernetes_pod", &pod)],
            );
            ensure!(
                (seen - expected).abs() < 0.5,
                "{seen} of {expected} for {pod}"
            );
            Ok(())
        };
        self.controller
            .scraped("requests of the last Pod", look)
            .await
    }
}

/// An answer names the former owner too: the last Pod is the one with the highest number.
fn observe(relay: &Relay) -> watch::Receiver<Workers> {
    let (sender, receiver) = watch::channel(Workers::new());
    relay.observe(move |passing| match passing {
        Passing::Answer {
            path: PATH,
            call,
            body,
        } => {
            if let (Ok(call), Ok(answer)) =
                (MappingRequest::decode(call), MappingAnswer::decode(body))
                && let Some(pod) = answer.targets().filter_map(|t| number(t.target)).max()
            {
                sender.send_modify(|workers| {
                    workers.entry(call.vm).or_default().told = Some((answer.answer, pod));
                });
            }
        }
        Passing::Call { path: PATH, body } => {
            let now = Instant::now();
            if let Ok(call) = MappingRequest::decode(body) {
                sender.send_if_modified(|workers| confirm(workers, &call, now));
            }
        }
        Passing::Answer { .. } | Passing::Call { .. } => {}
    });
    receiver
}

fn confirm(workers: &mut Workers, call: &MappingRequest, now: Instant) -> bool {
    let Some(worker) = workers.get_mut(&call.vm) else {
        return false;
    };
    let Some((answer, pod)) = worker.told else {
        return false;
    };
    let confirms = answer == call.received && worker.applied.is_none_or(|(of, _)| of != pod);
    if confirms {
        worker.applied = Some((pod, now));
    }
    confirms
}

async fn start_gateway(module: &Path, relay: &Relay, upstream: SocketAddr) -> Result<Gateway> {
    let filter = FilterInstance::new(module.to_owned(), GATEWAY, &controller::token(GATEWAY));
    let cluster = "probe/probe/80";
    let config = GatewayConfig {
        clusters: vec![Cluster::new(cluster, [upstream])],
        routes: vec![Route::to("/", cluster)],
        filters: vec![filter],
        controller: Some(relay.address()),
        ..GatewayConfig::default()
    };
    let options = EnvoyOptions {
        concurrency: WORKERS,
        ..EnvoyOptions::default()
    };
    Gateway::start(&config, &options).await
}

fn objects(address: SocketAddr) -> [(String, Value); 3] {
    let metadata = json!({"name": "probe", "namespace": "probe"});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata,
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "rules": [{"backendRefs": [{"name": "probe", "port": 80}]}],
        },
    });
    let gateway_api = "/apis/gateway.networking.k8s.io/v1/namespaces/probe";
    [
        (
            "/api/v1/namespaces/probe/services/probe".to_owned(),
            service,
        ),
        (format!("{gateway_api}/httproutes/probe"), route),
        slice(address, 0),
    ]
}

fn slice(address: SocketAddr, number: u64) -> (String, Value) {
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "probe", "namespace": "probe", "labels": {"kubernetes.io/service-name": "probe"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": address.port(), "protocol": "TCP"}],
        "endpoints": [{
            "addresses": [address.ip().to_string()], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "namespace": "probe", "name": pod(number)},
        }],
    });
    let path = "/apis/discovery.k8s.io/v1/namespaces/probe/endpointslices/probe";
    (path.to_owned(), object)
}

fn pod(number: u64) -> String {
    format!("probe-{number}")
}

/// Of the Pod in an encoded target.
fn number(target: &[u8]) -> Option<u64> {
    let target = gaugeway_wire::Target::decode(target).ok()?;
    let pod = target.label(gaugeway_wire::target::names::POD)?;
    pod.strip_prefix("probe-")?.parse().ok()
}

impl Times {
    fn of(times: &[Duration]) -> Result<Self> {
        let ms = |q| {
            let time = quantile(times.to_vec(), q).context("no rounds")?;
            anyhow::Ok(time.as_secs_f64() * 1e3)
        };
        Ok(Self {
            rounds: times.len(),
            p50_ms: ms(0.5)?,
            p99_ms: ms(0.99)?,
            longest_ms: ms(1.0)?,
        })
    }
}

fn print(options: &Options, summary: &Summary) -> Result<()> {
    if options.parts.json {
        println!("{}", serde_json::to_string(summary)?);
        return Ok(());
    }
    println!(
        "| changes | p50, ms | p99, ms | longest, ms | budget for p99 |\n|---|---:|---:|---:|---|"
    );
    let churn = format!("{} a second elsewhere", summary.changes_per_second);
    for (name, times, budget) in [
        ("one after the other", &summary.quiet, QUIET),
        (churn.as_str(), &summary.churn, CHURN),
    ] {
        let budget_ms = budget.as_secs_f64() * 1e3;
        let kept = if times.p99_ms <= budget_ms {
            "kept"
        } else {
            "missed"
        };
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} | ≤ {budget_ms:.0} ms: {kept} |",
            times.p50_ms, times.p99_ms, times.longest_ms
        );
    }
    println!(
        "\n{} rounds each, an Envoy with {WORKERS} workers, {} Services with {} endpoints. Load average {:.1}.",
        summary.quiet.rounds,
        options.shape.services,
        options.shape.services * options.shape.endpoints,
        summary.load_average
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_applies_what_it_confirms() {
        let vm = VmId([1; 16]);
        let mut workers = Workers::from([(vm, Worker::default())]);
        let mut call = MappingRequest::new(vm);
        let now = Instant::now();
        assert!(!confirm(&mut workers, &call, now), "nothing was told");
        workers.entry(vm).or_default().told = Some((Answer(7), 3));
        assert!(!confirm(&mut workers, &call, now), "another answer");
        call.received = Answer(7);
        assert!(confirm(&mut workers, &call, now));
        assert!(!confirm(&mut workers, &call, now), "again");
        assert_eq!(workers[&vm].applied.map(|(pod, _)| pod), Some(3));
    }
}
