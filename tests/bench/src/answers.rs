//! How soon the metrics API answers, while reports come: over one connection by TLS, as an API server's front proxy asks.
//! Nearly every question is about another object, so the API server's double is asked first whether the user may ask it.
//!
//! What is asked goes round: the rate of a Service, the latency of a Deployment, the concurrency of the Pods of one. Every
//! answer must have values, so every worker VM reports each 5 s all the time. Two loads: that alone; and with two of them
//! that report all they have again and again, as soon as the last report was acknowledged.
//!
//! Reports are made on a thread of their own that takes what the others leave of the processors: workers are elsewhere in
//! life, and whoever asks would else wait for a report being made.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures::future::try_join_all;
use gaugeway_rig::{
    Authority, Controller, ControllerOptions, SecureClient, SecureSession,
    client::Request,
    wait::{PATIENCE, until},
};
use gaugeway_wire::UnixNanos;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    cluster::{Shape, TENANTS},
    double::Double,
    statistics::quantile,
    worker::Worker,
};

/// Budget of the 99th percentile.
const BUDGET: Duration = Duration::from_millis(5);
const INTERVAL: Duration = Duration::from_secs(5);
/// Between two questions.
const PACE: Duration = Duration::from_millis(10);
/// Reported before the first question, so that the window asked for is full.
const WINDOW: Duration = Duration::from_secs(40);
const HOST: &str = "gaugeway-apis.gaugeway.svc";
const PROXY: &str = "front-proxy-client";
const USER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Services of the cluster.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    services: u32,
    /// Endpoints of each Service, with a Pod and a series each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    endpoints: u32,
    /// Questions under each load.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    questions: u32,
    /// Figures as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// The `gaugeway` program.
    #[arg(long, env = "GAUGEWAY_BIN")]
    gaugeway: PathBuf,
    /// Directory of comparison filters, which this bench does not need.
    #[arg(long, env = "GAUGEWAY_BENCH_FILTERS", hide = true)]
    filters: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Figures {
    load: &'static str,
    series_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

/// Asks under each load and prints the figures.
pub(crate) async fn bench(options: &Options) -> Result<()> {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{msg:40} {spinner} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message("the cluster is made and read");
    let shape = Shape {
        services: options.services,
        endpoints: options.endpoints,
    };
    let dir = tempfile::Builder::new()
        .prefix("gaugeway-answers-")
        .tempdir()?;
    let mut play = Play::start(options, shape, dir.path()).await?;
    let mut figures = Vec::new();
    for (load, restless) in [
        ("every worker VM each 5 s", 0),
        ("two of them without a pause", 2),
    ] {
        bar.set_message(load);
        figures.push(play.asked(options, load, restless).await?);
    }
    bar.finish_and_clear();
    print(options, &figures)
}

struct Play {
    shape: Shape,
    workers: Vec<Worker>,
    session: SecureSession,
    _controller: Controller,
    _double: Double,
}

impl Play {
    async fn start(options: &Options, shape: Shape, dir: &Path) -> Result<Self> {
        let mut double = Double::start(shape).await?;
        let client = trust(&mut double, dir).await?;
        let file = |name: &str| dir.join(name).display().to_string();
        let controller = Controller::launch(
            dir,
            ControllerOptions {
                binary: options.gaugeway.clone(),
                manifests: PathBuf::new(),
                kubeconfig: Some(double.kubeconfig.clone()),
                keep_state: true,
                arguments: vec![
                    "--dimensions=port,pod,workload".to_owned(),
                    format!("--max-series={}", shape.services * shape.endpoints + 1000),
                    "--apis-listen=127.0.0.1:0".to_owned(),
                    format!("--apis-tls-cert={}", file("tls.crt")),
                    format!("--apis-tls-key={}", file("tls.key")),
                ],
            },
        )
        .await?;
        controller.ready(10 * PATIENCE).await?;
        let at = controller.ports();
        let mut workers = Vec::new();
        for (number, gateway) in (0..TENANTS).zip(shape.gateways()) {
            let addresses: Vec<_> = shape.addresses(number).collect();
            let mut worker = Worker::new(at.filters, &gateway, u8::try_from(number)?);
            worker.subscribe(&addresses).await?;
            workers.push(worker);
        }
        let session = client(at.apis.context("the apis port is closed")?)?
            .session()
            .await?;
        let mut play = Self {
            shape,
            workers,
            session,
            _controller: controller,
            _double: double,
        };
        // Stimulus: gateways that have told of the whole window.
        for _ in 0..=WINDOW.as_secs() / INTERVAL.as_secs() {
            for worker in &mut play.workers {
                worker.go_on(INTERVAL, now()?).await?;
            }
            // Stimulus: the interval of a worker VM.
            sleep(INTERVAL).await;
        }
        let session = play.session.clone();
        until("values", PATIENCE, || async {
            ask(&mut session.clone(), play.shape, 0).await.map(drop)
        })
        .await?;
        Ok(play)
    }

    /// How long each question took, while somebody reports.
    async fn asks<T>(&mut self, count: u32, while_there: &JoinHandle<T>) -> Result<Vec<Duration>> {
        let mut took = Vec::new();
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0..count {
            ticks.tick().await;
            if while_there.is_finished() {
                bail!("reports have ended");
            }
            let begun = Instant::now();
            ask(&mut self.session, self.shape, number).await?;
            took.push(begun.elapsed());
        }
        Ok(took)
    }

    async fn asked(
        &mut self,
        options: &Options,
        load: &'static str,
        restless: usize,
    ) -> Result<Figures> {
        let over = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let workers = std::mem::take(&mut self.workers);
        let reporting = thread::spawn({
            let over = Arc::clone(&over);
            move || reports(workers, restless, &over)
        });
        let took = self.asks(options.questions, &reporting).await;
        over.store(true, Ordering::Relaxed);
        let ended = reporting.join();
        let ended = ended.map_err(|_| anyhow!("the thread that reports panicked"))?;
        let (workers, reported) = ended.context("report")?;
        self.workers = workers;
        let took = took?;
        let ms = |q| {
            let time = quantile(took.clone(), q).context("no questions")?;
            anyhow::Ok(time.as_secs_f64() * 1e3)
        };
        Ok(Figures {
            load,
            series_per_second: reported as f64 / begun.elapsed().as_secs_f64(),
            p50_ms: ms(0.5)?,
            p99_ms: ms(0.99)?,
            longest_ms: ms(1.0)?,
        })
    }
}

/// Reports of these until it is over: some without a pause, the others each interval. Gives them back, and how many series
/// were reported.
#[tokio::main(flavor = "current_thread")]
async fn reports(
    mut workers: Vec<Worker>,
    restless: usize,
    over: &AtomicBool,
) -> Result<(Vec<Worker>, u64)> {
    let this = rustix::thread::gettid().to_string();
    let mut chrt = Command::new("chrt");
    let chrt = chrt.args(["--idle", "--pid", "0", &this]);
    let lowered = chrt.status().context("run chrt, of util-linux")?;
    ensure!(lowered.success(), "chrt: {lowered}");
    let count = workers.len();
    let rounds = workers.iter_mut().enumerate().map(async |(at, worker)| {
        let pause = if at < restless {
            Duration::ZERO
        } else {
            INTERVAL
        };
        let mut reported = 0;
        // Stimulus: evenly over the interval.
        sleep(pause.mul_f64(at as f64 / count as f64)).await;
        while !over.load(Ordering::Relaxed) {
            let round = Instant::now();
            worker.go_on(INTERVAL, now()?).await?;
            reported += worker.targets() as u64;
            // Stimulus: the rest of the interval.
            sleep(pause.saturating_sub(round.elapsed())).await;
        }
        anyhow::Ok(reported)
    });
    let reported = try_join_all(rounds).await?.into_iter().sum();
    Ok((workers, reported))
}

/// One question. Its answer must have values.
async fn ask(session: &mut SecureSession, shape: Shape, number: u32) -> Result<()> {
    // One follows on another far away.
    let service = number.wrapping_mul(7919) % shape.services;
    let at = format!(
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/tenant-{}",
        service % TENANTS
    );
    let window = "metricLabelSelector=window%3D30s";
    let path = match number % 3 {
        0 => format!(
            "{at}/services/service-{service}/gaugeway_upstream_requests_per_second?{window}"
        ),
        1 => format!(
            "{at}/deployments.apps/service-{service}/gaugeway_upstream_latency_p95_milliseconds?{window}"
        ),
        _ => format!(
            "{at}/pods/*/gaugeway_upstream_concurrency?{window}&labelSelector=app.kubernetes.io%2Fname%3Dservice-{service}"
        ),
    };
    let request = Request::get(&path)
        .header("x-remote-user", USER)
        .header("x-remote-group", "system:authenticated");
    let answer = session.send(request).await?;
    ensure!(
        answer.status == 200,
        "{path}: {} {}",
        answer.status,
        answer.text()
    );
    let list: Value = serde_json::from_slice(&answer.body)?;
    let values = list["items"].as_array().map_or(0, Vec::len);
    let expected = if number % 3 == 2 {
        shape.endpoints as usize
    } else {
        1
    };
    ensure!(values == expected, "{path}: {values} of {expected} values");
    Ok(())
}

/// Authorities and certificates of the apis port and of the front proxy; the user may do everything. What it gives back makes
/// a client of the port.
async fn trust(
    double: &mut Double,
    dir: &Path,
) -> Result<impl Fn(std::net::SocketAddr) -> Result<SecureClient> + use<>> {
    let (server, proxies) = (
        Authority::new("server-ca")?,
        Authority::new("front-proxy-ca")?,
    );
    server.server(&[HOST])?.write(dir)?;
    let own = proxies.client(PROXY)?;
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "requestheader-client-ca-file": proxies.pem(),
            "requestheader-allowed-names": json!([PROXY]).to_string(),
            "requestheader-username-headers": r#"["X-Remote-User"]"#,
            "requestheader-group-headers": r#"["X-Remote-Group"]"#,
            "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
        },
    });
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    double.put(path, &config).await?;
    double.grant(USER).await?;
    let roots = server.pem();
    let own = move |at| {
        let own = (&*own.certificate, &*own.key);
        SecureClient::try_new(at, HOST, &roots, Some(own))
    };
    Ok(own)
}

fn now() -> Result<UnixNanos> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(UnixNanos(u64::try_from(since.as_nanos())?))
}

fn print(options: &Options, figures: &[Figures]) -> Result<()> {
    if options.json {
        println!("{}", serde_json::to_string(figures)?);
        return Ok(());
    }
    println!(
        "{} Services, {} Pods, {} questions under each load; load average {:.1}\n",
        options.services,
        options.services * options.endpoints,
        options.questions,
        crate::load_average()?
    );
    println!("| reports | series a second | p50, ms | p99, ms | longest, ms | budget for p99 |");
    println!("|---|---:|---:|---:|---:|---|");
    for of in figures {
        let kept = of.p99_ms <= BUDGET.as_secs_f64() * 1e3;
        println!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.2} | ≤ {} ms: {} |",
            of.load,
            of.series_per_second,
            of.p50_ms,
            of.p99_ms,
            of.longest_ms,
            BUDGET.as_millis(),
            if kept { "kept" } else { "**not kept here**" }
        );
    }
    Ok(())
}
