//! The real controller as a process: started, killed, started again on the same ports and state.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    Client, Exposition, ReservedPort,
    client::Request,
    process::Process,
    wait::{PATIENCE, until},
};

/// How to run it.
#[derive(Clone, Debug)]
pub struct ControllerOptions {
    /// The `gaugeway` program.
    pub binary: PathBuf,
    /// Directory of manifests.
    pub manifests: PathBuf,
    /// A cluster to watch instead.
    pub kubeconfig: Option<PathBuf>,
    /// Keep a state directory.
    pub keep_state: bool,
    /// More arguments.
    pub arguments: Vec<String>,
}

/// Where a controller listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Ports {
    /// Mapping and reports.
    pub filters: SocketAddr,
    /// The filter modules.
    pub wasm: SocketAddr,
    /// Metrics and health.
    pub metrics: SocketAddr,
    /// Windows and explanations.
    pub api: SocketAddr,
    /// The same for callers from anywhere, where it is open.
    pub apis: Option<SocketAddr>,
}

/// A controller. Killed when dropped.
#[derive(Debug)]
pub struct Controller {
    options: ControllerOptions,
    dir: PathBuf,
    reserved: [ReservedPort; 4],
    process: Process,
    ports: Ports,
}

/// The key that tests and the demo sign tokens with.
const KEY: [u8; 32] = *b"the rig's key, no secret at all!";

impl Controller {
    /// [Launches](Self::launch) it and returns when it is ready.
    ///
    /// # Errors
    /// When it ends or does not become ready; with the tail of its log.
    pub async fn start(dir: &Path, options: ControllerOptions) -> Result<Self> {
        let controller = Self::launch(dir, options).await?;
        controller.ready(PATIENCE).await?;
        Ok(controller)
    }

    /// Starts it with its key, state and log in `dir`, on ports that stay its own. Returns when these listen.
    ///
    /// # Errors
    /// When it ends; with the tail of its log.
    pub async fn launch(dir: &Path, options: ControllerOptions) -> Result<Self> {
        let key: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(key_file(dir), key).context("write the token key")?;
        let reserved = [
            ReservedPort::new()?,
            ReservedPort::new()?,
            ReservedPort::new()?,
            ReservedPort::new()?,
        ];
        let (process, ports) = launch(dir, &options, &reserved).await?;
        Ok(Self {
            options,
            dir: dir.to_owned(),
            reserved,
            process,
            ports,
        })
    }

    /// Starts it again after [`Controller::kill`] or [`Controller::terminate`]: same ports, same state.
    ///
    /// # Errors
    /// As [`Controller::start`].
    pub async fn restart(&mut self) -> Result<()> {
        (self.process, self.ports) = launch(&self.dir, &self.options, &self.reserved).await?;
        self.ready(PATIENCE).await
    }

    /// Changes the arguments of the next start.
    pub fn options_mut(&mut self) -> &mut ControllerOptions {
        &mut self.options
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.process.kill().await
    }

    /// Ends it in order (SIGTERM), or kills it after `grace`.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub async fn terminate(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.process.terminate(grace).await
    }

    /// Errs when it has ended.
    ///
    /// # Errors
    /// With its status and the tail of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        self.process.check_alive()
    }

    /// Where it listens.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its state directory, if it keeps one.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        state_dir(&self.dir)
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// One scrape.
    ///
    /// # Errors
    /// When it does not answer 200 with legal text.
    pub async fn scrape(&self) -> Result<Exposition> {
        Exposition::parse(&self.scrape_text().await?)
    }

    /// One scrape, as text.
    ///
    /// # Errors
    /// When it does not answer 200.
    pub async fn scrape_text(&self) -> Result<String> {
        let answer = Client::new(self.ports.metrics)
            .send(Request::get("/metrics"))
            .await?;
        if answer.status != 200 {
            bail!("/metrics: {} {}", answer.status, answer.text());
        }
        Ok(answer.text())
    }

    /// Scrapes until `look` is content, and returns what it found.
    ///
    /// # Errors
    /// When it is not by the deadline; says what `look` objected to last, with the tail of the controller's log.
    pub async fn scraped<T>(
        &self,
        what: &str,
        look: impl Fn(&Exposition) -> Result<T>,
    ) -> Result<T> {
        let seen = until(what, PATIENCE, || async { look(&self.scrape().await?) }).await;
        seen.with_context(|| self.process.log_tail())
    }

    /// Returns when it is ready.
    ///
    /// # Errors
    /// When it is not within `patience`; with the tail of its log.
    pub async fn ready(&self, patience: Duration) -> Result<()> {
        let client = Client::new(self.ports.metrics);
        let outcome = until("the controller is ready", patience, || async {
            let answer = client.send(Request::get("/readyz")).await?;
            if answer.status == 200 {
                Ok(())
            } else {
                bail!("{} {}", answer.status, answer.text())
            }
        })
        .await;
        outcome.with_context(|| self.process.log_tail())
    }
}

/// The token of `gateway` under the rig's key.
#[must_use]
pub fn token(gateway: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&KEY) else {
        return String::new();
    };
    mac.update(gateway.as_bytes());
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn key_file(dir: &Path) -> PathBuf {
    dir.join("token.key")
}

fn state_dir(dir: &Path) -> PathBuf {
    dir.join("state")
}

async fn launch(
    dir: &Path,
    options: &ControllerOptions,
    [filters, wasm, metrics, api]: &[ReservedPort; 4],
) -> Result<(Process, Ports)> {
    let mut command = Command::new(&options.binary);
    command.arg("controller").arg("--json");
    match &options.kubeconfig {
        None => command.arg("--manifests").arg(&options.manifests),
        Some(file) => command.arg("--kubernetes").arg("--kubeconfig").arg(file),
    };
    command.arg("--token-key-file").arg(key_file(dir));
    for (flag, port) in [
        ("--filters-listen", filters),
        ("--wasm-listen", wasm),
        ("--metrics-listen", metrics),
        ("--api-listen", api),
    ] {
        command.arg(flag).arg(port.address().to_string());
    }
    if options.keep_state {
        command.arg("--state-dir").arg(state_dir(dir));
    }
    command.args(&options.arguments).stdout(Stdio::piped());
    let mut process = Process::spawn("controller", command, &dir.join("controller.log"))?;
    match timeout(PATIENCE, announced(&mut process)).await {
        Ok(Ok(ports)) => Ok((process, ports)),
        Ok(Err(error)) => bail!("{error:#}\n{}", process.log_tail()),
        Err(_) => bail!(
            "the controller did not say its ports within {PATIENCE:?}\n{}",
            process.log_tail()
        ),
    }
}

/// The line that `--json` prints once all ports listen.
async fn announced(process: &mut Process) -> Result<Ports> {
    let stdout = process
        .take_stdout()
        .context("its standard output is not piped")?;
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .await
        .context("read the controller's ports")?;
    serde_json::from_str(&line)
        .with_context(|| format!("the controller said {line:?} instead of its ports"))
}
