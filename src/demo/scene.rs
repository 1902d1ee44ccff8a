//! The demo's processes and servers.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use gaugeway_rig::{
    AccessLog, Controller, ControllerOptions, Envoy, EnvoyOptions, LoadReport, ReservedPort,
    Upstream, controller,
};
use tempfile::TempDir;
use tokio::process::Command;

use super::{
    measure::{Measured, ServiceFacts, measure},
    shop::{GATEWAY, Network, PORT, SERVICES, Service},
};

/// How long a process may take to end in order.
const GRACE: Duration = Duration::from_secs(5);

/// Everything that runs. Ends when dropped.
pub(super) struct Scene {
    controller: Controller,
    envoy: Envoy,
    port: ReservedPort,
    backends: Vec<(&'static Service, Vec<Upstream>)>,
    log: AccessLog,
    dir: TempDir,
}

impl Scene {
    pub(super) async fn start() -> Result<Self> {
        gaugeway_rig::tools::ENVOY.find()?;
        let dir = tempfile::Builder::new()
            .prefix("gaugeway-demo-")
            .tempdir()
            .context("make a temporary directory")?;
        let (network, backends) = start_backends().await?;
        let manifests = dir.path().join("manifests");
        network.write_manifests(&manifests)?;
        let controller =
            Controller::start(dir.path(), controller_options(manifests.clone())?).await?;
        let port = ReservedPort::new()?;
        let log = dir.path().join("access.log");
        let bootstrap = render(dir.path(), &manifests, &controller, port.address(), &log).await?;
        let options = EnvoyOptions {
            concurrency: 2,
            ..EnvoyOptions::default()
        };
        let envoy = Envoy::start(dir.path(), &bootstrap, &options).await?;
        Ok(Self {
            controller,
            envoy,
            port,
            backends,
            log: AccessLog::new(&log),
            dir,
        })
    }

    /// Ends every process in order.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.envoy.stop(GRACE).await?;
        self.controller.terminate(GRACE).await?;
        Ok(())
    }

    /// Where clients connect.
    pub(super) fn listen(&self) -> SocketAddr {
        self.port.address()
    }

    /// The controller's ports.
    pub(super) fn ports(&self) -> controller::Ports {
        self.controller.ports()
    }

    /// Envoy's admin interface.
    pub(super) fn admin(&self) -> SocketAddr {
        self.envoy.admin()
    }

    /// The temporary directory: manifests, configuration, logs.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Compares what Gaugeway, Envoy and the servers say now.
    pub(super) async fn measure(&self, load: &LoadReport) -> Result<Measured> {
        let page = self.controller.scrape().await?;
        let lines = self.log.lines()?;
        let services: Vec<_> = self
            .backends
            .iter()
            .map(|(service, pods)| ServiceFacts {
                service,
                addresses: pods.iter().map(Upstream::address).collect(),
                served: pods.iter().map(Upstream::requests).sum(),
                delays: pods.iter().flat_map(Upstream::delays).collect(),
            })
            .collect();
        measure(load, &page, &lines, services)
    }
}

/// The first loopback network whose Pods' addresses are free.
async fn start_backends() -> Result<(Network, Vec<(&'static Service, Vec<Upstream>)>)> {
    for network in Network::all() {
        match start_backends_on(network).await {
            Ok(backends) => return Ok((network, backends)),
            Err(error) if is_taken(&error) => {}
            Err(error) => return Err(error),
        }
    }
    bail!(
        "no loopback network 127.0.10.0/24 to 127.0.250.0/24 has port {PORT} free for the demo's Pods"
    )
}

async fn start_backends_on(network: Network) -> Result<Vec<(&'static Service, Vec<Upstream>)>> {
    let mut backends = Vec::new();
    for service in &SERVICES {
        let mut pods = Vec::new();
        for &pod in service.pods {
            let address = (network.pod(pod), PORT).into();
            pods.push(Upstream::start_on(address, service.latency, u64::from(pod)).await?);
        }
        backends.push((service, pods));
    }
    Ok(backends)
}

fn is_taken(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|e| e.kind() == io::ErrorKind::AddrInUse)
}

fn controller_options(manifests: PathBuf) -> Result<ControllerOptions> {
    let arguments = [
        ("--report-interval", "1s".to_owned()),
        ("--classic-buckets", super::measure::classic_buckets()),
    ];
    Ok(ControllerOptions {
        kubeconfig: None,
        binary: this_program()?,
        manifests,
        keep_state: true,
        arguments: arguments
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect(),
    })
}

/// The Envoy configuration that `gaugeway render envoy` makes of the same manifests.
async fn render(
    dir: &Path,
    manifests: &Path,
    controller: &Controller,
    listen: SocketAddr,
    log: &Path,
) -> Result<String> {
    let module = dir.join("gaugeway.wasm");
    gaugeway(
        Command::new(this_program()?)
            .arg("filter")
            .arg("--output")
            .arg(&module),
    )
    .await?;
    let mut command = Command::new(this_program()?);
    command
        .args(["render", "envoy", "--gateway", GATEWAY])
        .arg("--manifests")
        .arg(manifests)
        .args(["--token", &controller::token(GATEWAY)])
        .args(["--controller", &controller.ports().filters.to_string()])
        .args(["--listen", &listen.to_string(), "--admin", "127.0.0.1:0"])
        .arg("--wasm-path")
        .arg(&module)
        .arg("--access-log")
        .arg(log);
    gaugeway(&mut command).await
}

/// Runs another command of this program and returns what it prints.
async fn gaugeway(command: &mut Command) -> Result<String> {
    let output = command.output().await.context("run gaugeway")?;
    if !output.status.success() {
        bail!(
            "{:?}: {}",
            command.as_std(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).context("what gaugeway printed is not text")
}

fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("find this program's own file")
}
