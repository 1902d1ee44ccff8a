//! What the controller takes in a large cluster: to read it, to follow its changes, and with many series.
//!
//! The API server's double, the controller and the stores it is compared with are processes of their own, so that what
//! each takes is told apart. Each phase ends when its work is seen to be done: everything read, the last change in an
//! answer, every series on the page.

mod report;

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{Client, Controller, ControllerOptions, client::Request, wait::until};
use gaugeway_wire::UnixNanos;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

use crate::cluster::{Placed, Shape, TENANTS};
use crate::cpu::CpuTime;
use crate::double::Double;
use crate::memory::Memory;
use crate::stores::Stores;
use crate::worker::Worker;
use report::{Figures, Step};

/// For a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two reports of a worker.
const INTERVAL: Duration = Duration::from_secs(5);
/// That read at once.
const SCRAPERS: u32 = 10;
/// Between two looks at the controller's memory while they do.
const LOOK: Duration = Duration::from_millis(10);
/// So old that it enters no window.
const BACKLOG: Duration = Duration::from_secs(900);

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Endpoint changes a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    changes: u32,
    /// How long endpoints change.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Series that are reported, at most.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    series: u32,
    /// How long they are reported, so that the windows of the last five minutes fill.
    #[arg(long, default_value_t = 330, value_parser = clap::value_parser!(u64).range(5..=3600))]
    windows: u64,
    /// Figures as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// The `gaugeway` program.
    #[arg(long, env = "GAUGEWAY_BIN")]
    gaugeway: std::path::PathBuf,
    /// Directory of comparison filters, which this bench does not need.
    #[arg(long, env = "GAUGEWAY_BENCH_FILTERS", hide = true)]
    filters: Option<std::path::PathBuf>,
}

/// Runs all phases and prints their figures.
pub(crate) async fn bench(options: &Options) -> Result<()> {
    let bar = bar(options);
    bar.set_message("the API server's double fills");
    let mut double = Double::start(options.shape).await?;
    bar.inc(1);
    let dir = tempfile::Builder::new()
        .prefix("gaugeway-scale-")
        .tempdir()?;
    let mut figures = Figures::new(options);
    let controller = controller(options, &mut double, dir.path(), &bar, &mut figures).await?;
    drop(controller);
    stores(options, &mut double, &bar, &mut figures).await?;
    bar.finish_and_clear();
    figures.print(options.json)
}

fn bar(options: &Options) -> ProgressBar {
    let seconds = 2 * options.seconds + options.windows;
    let bar = ProgressBar::new(6 + seconds);
    let style = ProgressStyle::with_template("{msg:40} {wide_bar} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

async fn controller(
    options: &Options,
    double: &mut Double,
    dir: &Path,
    bar: &ProgressBar,
    figures: &mut Figures,
) -> Result<Controller> {
    bar.set_message("the controller reads the cluster");
    let clock = Clock::start(double, None)?;
    let controller = Controller::launch(
        dir,
        ControllerOptions {
            binary: options.gaugeway.clone(),
            manifests: std::path::PathBuf::new(),
            kubeconfig: Some(double.kubeconfig.clone()),
            keep_state: true,
            arguments: vec![format!("--max-series={}", options.series)],
        },
    )
    .await?;
    controller.ready(PATIENCE).await?;
    let process = controller.id().context("the controller has ended")?;
    figures.sync = clock.stop(double, process)?;
    bar.inc(1);

    bar.set_message("endpoints change under the controller");
    let at = controller.ports().filters;
    let clock = Clock::start(double, Some(process))?;
    let (last, rate) = change(options, double, bar).await?;
    figures.changes_per_second = rate;
    let changed = Instant::now();
    until("the last change", PATIENCE, || async {
        let mut asks = Worker::new(at, &last.gateway, 255);
        asks.subscribe(std::slice::from_ref(&last.address)).await?;
        ensure!(asks.knows(&last.pod), "{last:?} is not known");
        Ok(())
    })
    .await?;
    figures.behind_ms = changed.elapsed().as_secs_f64() * 1e3;
    figures.churn = clock.stop(double, process)?;

    bar.set_message("series come, too old for windows");
    let clock = Clock::start(double, Some(process))?;
    let mut workers = workers(options, &controller).await?;
    let to = now()?.0 - u64::try_from(BACKLOG.as_nanos())?;
    for worker in &mut workers {
        worker.report(INTERVAL, UnixNanos(to)).await?;
    }
    figures.series = scraped(options, &controller).await?;
    figures.windows_off = clock.stop(double, process)?;
    bar.inc(1);

    bar.set_message("series are reported every 5 s");
    let clock = Clock::start(double, Some(process))?;
    let mut ticks = interval(INTERVAL);
    for _ in 0..options.windows / INTERVAL.as_secs() {
        ticks.tick().await;
        let to = now()?;
        for worker in &mut workers {
            worker.report(INTERVAL, to).await?;
        }
        bar.inc(INTERVAL.as_secs());
    }
    scraped(options, &controller).await?;
    let page = controller.scrape().await?;
    figures.window_mib = page.sum("gaugeway_window_bytes", &[]) / f64::from(1 << 20);
    figures.windows_on = clock.stop(double, process)?;
    bar.inc(1);

    bar.set_message("scrapers read at once");
    let clock = Clock::start(double, Some(process))?;
    let most = scrapers(&controller, process).await?;
    figures.scrapers = clock.stop(double, process)?;
    figures.scrapers.memory_mib.resident = most;
    Ok(controller)
}

/// The most that is resident, MiB, while [`SCRAPERS`] read compressed text at once.
async fn scrapers(controller: &Controller, process: u32) -> Result<f64> {
    let mut all = JoinSet::new();
    for n in 0..SCRAPERS {
        let client = Client::new(controller.ports().metrics);
        let request = Request::get("/metrics").header("accept-encoding", "gzip");
        let request = request.header("user-agent", &format!("scraper-{n}"));
        all.spawn(async move { client.send(request).await });
    }
    let mut looks = interval(LOOK);
    let mut most: f64 = 0.0;
    loop {
        tokio::select! {
            read = all.join_next() => match read {
                Some(read) => ensure!(read??.status == 200, "/metrics was refused"),
                None => return Ok(most),
            },
            _ = looks.tick() => most = most.max(Memory::of(process)?.resident),
        }
    }
}

/// As many as have the series among them.
async fn workers(options: &Options, controller: &Controller) -> Result<Vec<Worker>> {
    let mut workers = Vec::new();
    let mut left = options.series as usize;
    for (number, gateway) in (0..TENANTS).zip(options.shape.gateways()) {
        let addresses: Vec<_> = options.shape.addresses(number).take(left).collect();
        let mut worker = Worker::new(controller.ports().filters, &gateway, u8::try_from(number)?);
        worker.subscribe(&addresses).await?;
        left -= addresses.len().min(left);
        ensure!(worker.targets() > 0, "{gateway} was told of nothing");
        workers.push(worker);
        if left == 0 {
            break;
        }
    }
    Ok(workers)
}

/// Scrapes as Prometheus does, and says how many series the controller holds.
async fn scraped(options: &Options, controller: &Controller) -> Result<f64> {
    let request = Request::get("/metrics").header("accept-encoding", "gzip");
    let answer = Client::new(controller.ports().metrics)
        .send(request)
        .await?;
    ensure!(answer.status == 200, "/metrics: {}", answer.status);
    let least = f64::from(options.series) * 0.99;
    controller
        .scraped("all series", |page| {
            let series = page.sum("gaugeway_series", &[]);
            ensure!(series >= least, "{series} series");
            Ok(series)
        })
        .await
}

/// The same watches, kept whole.
async fn stores(
    options: &Options,
    double: &mut Double,
    bar: &ProgressBar,
    figures: &mut Figures,
) -> Result<()> {
    bar.set_message("kube-rs's stores read the cluster");
    let clock = Clock::start(double, None)?;
    let mut stores = Stores::start(&double.kubeconfig).await?;
    stores.synced().await?;
    let process = stores.process()?;
    figures.stores_sync = clock.stop(double, process)?;
    bar.inc(1);
    bar.set_message("endpoints change under kube-rs's stores");
    let clock = Clock::start(double, Some(process))?;
    let (last, rate) = change(options, double, bar).await?;
    figures.stores_changes_per_second = rate;
    stores.has(&last).await?;
    figures.stores_churn = clock.stop(double, process)?;
    Ok(())
}

/// The last change, and how many there were a second: a busy machine makes fewer than asked for.
async fn change(
    options: &Options,
    double: &mut Double,
    bar: &ProgressBar,
) -> Result<(Placed, u64)> {
    double.change(options.changes).await?;
    for _ in 0..options.seconds {
        // Stimulus: so long endpoints change.
        sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
    let changed = double.change(0).await?;
    let rate = changed.changes / options.seconds;
    Ok((changed.last.context("nothing was changed")?, rate))
}

fn now() -> Result<UnixNanos> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(UnixNanos(u64::try_from(since.as_nanos())?))
}

/// What a phase takes.
struct Clock {
    begun: Instant,
    double: CpuTime,
    process: CpuTime,
}

impl Clock {
    /// Of a process that runs, or that is about to start.
    fn start(double: &Double, process: Option<u32>) -> Result<Self> {
        Ok(Self {
            begun: Instant::now(),
            double: CpuTime::in_ticks(double.process()?)?,
            process: process
                .map(CpuTime::in_ticks)
                .transpose()?
                .unwrap_or_default(),
        })
    }

    fn stop(self, double: &Double, process: u32) -> Result<Step> {
        let seconds = |process, before| {
            let used = CpuTime::in_ticks(process)?.since(before);
            anyhow::Ok(used.as_secs_f64())
        };
        Ok(Step {
            seconds: self.begun.elapsed().as_secs_f64(),
            cpu_seconds: seconds(process, self.process)?,
            double_cpu_seconds: seconds(double.process()?, self.double)?,
            memory_mib: Memory::of(process)?,
        })
    }
}
