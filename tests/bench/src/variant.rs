//! The filters that are compared, each in an Envoy of its own.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use gaugeway_rig::controller::token;
use gaugeway_rig::{Client, Controller, ControllerOptions, Envoy, EnvoyOptions, Load};
use serde_json::Value;
use tokio::process::Command;

use crate::cpu::CpuTime;
use crate::timed::{self, Times};

mod bootstrap;
mod manifests;

use manifests::Manifests;

/// The gateway's name in the manifests.
const GATEWAY: &str = "bench/gateway";

/// What stands in the filter chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Nothing.
    None,
    /// The SDK's default, which does nothing in every callback.
    Empty,
    /// What one would write first with the SDK.
    Plain,
    /// Gaugeway, its controller running.
    Ours,
    /// Another build of Gaugeway's filter: one of those that the command line names.
    Beside(usize),
}

impl Variant {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::Empty, Self::Plain, Self::Ours];

    const fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::Beside(_))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Empty => f.write_str("empty"),
            Self::Plain => f.write_str("plain"),
            Self::Ours => f.write_str("gaugeway"),
            Self::Beside(number) => write!(f, "beside-{number}"),
        }
    }
}

/// Where the modules are, and the program that ours comes from.
pub(crate) struct Modules {
    gaugeway: PathBuf,
    empty: PathBuf,
    plain: PathBuf,
    ours: PathBuf,
    pub(crate) beside: Vec<PathBuf>,
}

impl Modules {
    /// Takes our module out of `gaugeway`, finds the others among `filters`.
    pub(crate) async fn collect(gaugeway: &Path, filters: &Path, dir: &Path) -> Result<Self> {
        let ours = dir.join("gaugeway.wasm");
        write_module(gaugeway, &ours).await?;
        let built = |name: &str| filters.join(format!("bench_filter_{name}.wasm"));
        Ok(Self {
            gaugeway: gaugeway.to_owned(),
            empty: built("empty"),
            plain: built("plain"),
            ours,
            beside: Vec::new(),
        })
    }

    fn of(&self, variant: Variant) -> Option<&Path> {
        match variant {
            Variant::None => None,
            Variant::Empty => Some(&self.empty),
            Variant::Plain => Some(&self.plain),
            Variant::Ours => Some(&self.ours),
            Variant::Beside(number) => self.beside.get(number).map(PathBuf::as_path),
        }
    }
}

/// Our module, out of the program.
pub(crate) async fn write_module(gaugeway: &Path, file: &Path) -> Result<()> {
    let status = Command::new(gaugeway)
        .args(["filter", "--output"])
        .arg(file)
        .status()
        .await;
    let status = status.with_context(|| format!("start {}", gaugeway.display()))?;
    ensure!(status.success(), "gaugeway filter: {status}");
    Ok(())
}

/// A variant under load.
pub(crate) struct Running {
    variant: Variant,
    copies: u32,
    envoy: Envoy,
    client: Client,
    controller: Option<Controller>,
    /// The Kubernetes objects that it reads, and where the upstream is.
    manifests: Manifests,
    /// Requests answered so far.
    sent: u64,
}

impl Running {
    /// Starts its Envoy and, for ours, its controller.
    pub(crate) async fn start(
        variant: Variant,
        copies: u32,
        modules: &Modules,
        upstreams: &[SocketAddr],
        dir: &Path,
    ) -> Result<Self> {
        let dir = dir.join(variant.to_string());
        std::fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let manifests = Manifests::write(dir.join("manifests"), GATEWAY, upstreams)?;
        let controller = match variant.is_ours() {
            true => Some(start_controller(&modules.gaugeway, &manifests, &dir).await?),
            false => None,
        };
        let filters = controller
            .as_ref()
            .map(|controller| controller.ports().filters);
        let module = modules.of(variant);
        let config = bootstrap::bootstrap(module, copies, &configuration(), upstreams, filters);
        let envoy = Envoy::start(&dir, &config.to_string(), &EnvoyOptions::default()).await?;
        let client = Client::new(envoy.listener(bootstrap::LISTENER).await?);
        Ok(Self {
            variant,
            copies,
            envoy,
            client,
            controller,
            manifests,
            sent: 0,
        })
    }

    pub(crate) fn variant(&self) -> Variant {
        self.variant
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Its Envoy.
    pub(crate) fn process(&self) -> Result<u32> {
        self.envoy.id().context("Envoy has ended")
    }

    /// CPU time that its Envoy has used.
    pub(crate) fn cpu(&self) -> Result<CpuTime> {
        CpuTime::of(self.process()?)
    }

    /// Gives each address of the upstream to another Pod, with that prefix.
    pub(crate) fn give_to_pods(&mut self, prefix: &str) -> Result<()> {
        self.manifests.give_to_pods(prefix)
    }

    /// Runs a load; each of its requests must be answered.
    pub(crate) async fn send(&mut self, load: Load) -> Result<()> {
        let total = load.total;
        let report = load.run().await?;
        self.add_sent(total);
        let (answered, log) = (report.status(200), self.envoy.log_tail());
        ensure!(
            answered == total,
            "{}: {answered} of {total} answered with 200: {report:?}\n{log}",
            self.variant
        );
        Ok(())
    }

    /// Takes note of requests that were answered.
    pub(crate) fn add_sent(&mut self, requests: u64) {
        self.sent += requests;
    }

    /// Errs unless each of its VMs did its work on each request.
    pub(crate) async fn prove(&mut self) -> Result<()> {
        self.envoy.check_alive()?;
        if self.variant != Variant::None {
            self.vms().await?;
        }
        let proof = match self.variant {
            Variant::None | Variant::Empty => Ok(()),
            Variant::Plain => self.recorded().await,
            Variant::Ours | Variant::Beside(_) => self.counted().await,
        };
        proof.with_context(|| format!("{}: the filter did not do its work", self.variant))
    }

    /// How long its callbacks took, of a module that tells: all requests so far.
    pub(crate) async fn callbacks(&self) -> Result<Vec<Times>> {
        let look = || async {
            let times = Times::of(&self.envoy.admin_page(timed::STATS).await?)?;
            let headers = times.iter().find(|of| of.callback == "response_headers");
            let seen = headers.map_or(0, Times::count);
            ensure!(
                seen == self.sent,
                "{seen} of {} responses were timed",
                self.sent
            );
            Ok(times)
        };
        gaugeway_rig::wait::until("the callbacks' times", gaugeway_rig::wait::PATIENCE, look).await
    }

    /// All VMs run: one per copy and thread.
    async fn vms(&self) -> Result<()> {
        let active = self.envoy.stat("wasm.envoy.wasm.runtime.v8.active").await?;
        ensure!(
            active >= u64::from(self.copies),
            "only {active} VMs are active\n{}",
            self.envoy.log_tail()
        );
        Ok(())
    }

    /// Envoy's histogram has every request of every copy.
    async fn recorded(&self) -> Result<()> {
        let expected = self.sent * u64::from(self.copies);
        let page = "/stats/prometheus?histogram_buckets=cumulative&filter=upstream_latency_us";
        gaugeway_rig::wait::until(
            "Envoy's histogram",
            gaugeway_rig::wait::PATIENCE,
            || async {
                let text = self.envoy.admin_page(page).await?;
                let counts = text.lines().filter(|line| line.contains("_count{"));
                let seen: f64 = counts
                    .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                    .sum();
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
                let all = (seen - expected as f64).abs() < 0.5;
                if all {
                    Ok(())
                } else {
                    bail!("{seen} of {expected} are recorded")
                }
            },
        )
        .await
    }

    /// The controller has every request of every copy, attributed to its Service, unless Pods changed faster than the
    /// filter has room for their series: then some are in the overflow series.
    async fn counted(&self) -> Result<()> {
        let controller = self.controller.as_ref().context("no controller")?;
        let response = [("outcome", "response")];
        let service = [
            ("outcome", "response"),
            ("kubernetes_namespace", "bench"),
            ("kubernetes_service", "upstream"),
        ];
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        let expected = (self.sent * u64::from(self.copies)) as f64;
        let least = if self.manifests.changed() { 0.5 } else { 1.0 };
        let look = |page: &gaugeway_rig::Exposition| {
            let sum = |labels: &[_]| page.sum("gaugeway_upstream_requests_total", labels);
            let (all, attributed) = (sum(&response), sum(&service));
            if (all - expected).abs() < 0.5 && attributed > expected * least - 0.5 {
                Ok(())
            } else {
                bail!("{all} of {expected} are counted, {attributed} attributed")
            }
        };
        controller.scraped("every request is counted", look).await
    }
}

async fn start_controller(
    gaugeway: &Path,
    manifests: &Manifests,
    dir: &Path,
) -> Result<Controller> {
    let binary = gaugeway.to_owned();
    Controller::start(
        dir,
        ControllerOptions {
            kubeconfig: None,
            binary,
            manifests: manifests.directory().to_owned(),
            keep_state: true,
            arguments: Vec::new(),
        },
    )
    .await
}

/// Ours; the others do not read theirs.
fn configuration() -> Value {
    serde_json::json!({
        "gateway": GATEWAY,
        "cluster": bootstrap::CONTROLLER,
        "authority": "gaugeway",
        "token": token(GATEWAY),
    })
}
