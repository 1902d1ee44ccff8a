//! `gaugeway demo`: the whole product on one machine, on real parts. Three Services as real HTTP servers with known
//! delays, a real Envoy with the filter, the controller; a bounded load; then what Gaugeway measured beside what
//! Envoy's own access log says about the same requests.
//!
//! Everything lives in one temporary directory and in child processes that end with this one.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use gaugeway_rig::{Client, Load, LoadReport, client::Request};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::interval,
};

mod measure;
mod scene;
mod shop;
mod show;

use measure::Measured;
use scene::Scene;

/// Requests per second that the demo sends.
const RATE: u32 = 300;
/// Requests under way at once, at most; several times what the delays need at [`RATE`].
const CONCURRENCY: u64 = 96;
/// How long the last reports may take to arrive.
const SETTLE: Duration = Duration::from_secs(15);

/// Runs the whole product on this machine: three Services, a real Envoy with the filter, the controller, a load.
///
/// Ends with a table per Service: requests and latency quantiles measured in the data path, beside Envoy's own log and
/// the delay that the servers really added. Exits non-zero when a count is off or a quantile is further from Envoy's
/// log than a histogram bucket allows. Needs Envoy: `cargo xtask setup` fetches one, or set ENVOY_BIN.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave everything running after the table, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    json: bool,
    /// How long the load lasts, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    duration: u32,
}

/// Runs the demo. Ctrl-C, SIGTERM and SIGHUP end it, with all its processes.
///
/// # Errors
/// When a part is missing or does not start; says what to do.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode> {
    let mut stop = StopSignals::new()?;
    say("starting three Services, the controller and Envoy …")?;
    let mut scene = tokio::select! {
        scene = Scene::start() => scene?,
        () = stop.next() => return interrupted(),
    };
    let outcome = tokio::select! {
        outcome = play(&args, &scene) => outcome,
        () = stop.next() => interrupted(),
    };
    scene.stop().await?;
    outcome
}

/// What asks the demo to end.
struct StopSignals([Signal; 3]);

impl StopSignals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Self([
            listen(interrupt)?,
            listen(terminate)?,
            listen(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

fn interrupted() -> Result<ExitCode> {
    say("\ninterrupted: ending every process of the demo")?;
    Ok(ExitCode::from(130))
}

async fn play(args: &DemoArgs, scene: &Scene) -> Result<ExitCode> {
    let total = u64::from(args.duration) * u64::from(RATE);
    say(&format!(
        "sending {total} requests in {} s …",
        args.duration
    ))?;
    let load = load(scene, total, args.json).await?;
    let measured = settle(scene, &load).await?;
    if args.json {
        out(&show::json(&measured, scene)?)?;
    } else {
        out(&show::table(&measured))?;
    }
    if args.keep {
        say(&show::kept(scene))?;
        std::future::pending::<()>().await;
    }
    let passed = measured.passed();
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sends the load and shows how far it is.
async fn load(scene: &Scene, total: u64, quiet: bool) -> Result<LoadReport> {
    let running = Load {
        client: Client::new(scene.listen()),
        total,
        concurrency: CONCURRENCY,
        rate: Some(f64::from(RATE)),
        request: Arc::new(|n| Request::get(shop::path(n))),
    }
    .start();
    let bar = progress_bar(total, quiet);
    let done = running.progress();
    let finish = running.finish();
    tokio::pin!(finish);
    let mut tick = interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            report = &mut finish => {
                bar.finish_and_clear();
                return report;
            }
            _ = tick.tick() => bar.set_position(done()),
        }
    }
}

fn progress_bar(total: u64, quiet: bool) -> ProgressBar {
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let template = "{bar:40} {pos}/{len} requests, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Waits until the filter's last reports are in. When they never are, the table says what is missing.
async fn settle(scene: &Scene, load: &LoadReport) -> Result<Measured> {
    let settled = gaugeway_rig::wait::until("every request counted", SETTLE, || async {
        let measured = scene.measure(load).await?;
        if measured.counts_agree() {
            Ok(measured)
        } else {
            bail!("counts differ")
        }
    })
    .await;
    match settled {
        Ok(measured) => Ok(measured),
        Err(_) => scene.measure(load).await,
    }
}

/// Progress for people, on stderr.
fn say(text: &str) -> Result<()> {
    let mut stderr = io::stderr();
    let faint = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (on, off) = if faint {
        ("\x1b[2m", "\x1b[0m")
    } else {
        ("", "")
    };
    writeln!(stderr, "{on}{text}{off}").context("write to stderr")
}

/// The result, on stdout.
fn out(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context("write to stdout")
}
