//! One real Envoy process on a bootstrap that the caller wrote.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use crate::{
    client::{Client, Request},
    process::Process,
    tools,
    wait::{PATIENCE, until},
};

/// How to run it.
#[derive(Clone, Debug)]
pub struct EnvoyOptions {
    /// Worker threads.
    pub concurrency: u32,
    /// How long old listeners and filter chains may drain.
    pub drain: Duration,
    /// Envoy's log level, `warning` or `info,wasm:debug` (levels of components follow the comma).
    pub log_level: String,
}

impl Default for EnvoyOptions {
    fn default() -> Self {
        Self {
            concurrency: 1,
            drain: Duration::from_secs(1),
            log_level: "warning".into(),
        }
    }
}

/// A running Envoy. Killed when dropped.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    client: Client,
}

impl Envoy {
    /// Writes `bootstrap` (YAML or JSON, with an `admin` section on port 0) into `dir` and starts Envoy on it. Returns
    /// when it is ready.
    ///
    /// # Errors
    /// When Envoy is missing, refuses the bootstrap, or does not become ready; with the tail of its log.
    pub async fn start(dir: &Path, bootstrap: &str, options: &EnvoyOptions) -> Result<Self> {
        let binary = tools::ENVOY.find()?;
        let config = dir.join("envoy.yaml");
        fs::write(&config, bootstrap).with_context(|| format!("write {}", config.display()))?;
        let admin_file = dir.join("admin");
        let mut process = Process::spawn(
            "envoy",
            command(&binary, &config, &admin_file, options),
            &dir.join("envoy.log"),
        )?;
        let admin = admin_address(&mut process, &admin_file).await?;
        let mut envoy = Self {
            process,
            admin,
            client: Client::new(admin),
        };
        envoy.ready().await?;
        Ok(envoy)
    }

    /// Where its admin interface listens.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
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

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Errs when it has ended.
    ///
    /// # Errors
    /// With its status and the tail of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        self.process.check_alive()
    }

    /// Text of an admin page.
    ///
    /// # Errors
    /// When it does not answer 200.
    pub async fn admin_page(&self, path: &str) -> Result<String> {
        let answer = self.client.send(Request::get(path)).await?;
        if answer.status != 200 {
            bail!("admin {path}: {} {}", answer.status, answer.text());
        }
        Ok(answer.text())
    }

    /// One counter or gauge; 0 when Envoy has not made it yet.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub async fn stat(&self, name: &str) -> Result<u64> {
        let page = self
            .admin_page(&format!("/stats?usedonly&filter=^{name}$"))
            .await?;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map_or(Ok(0), |v| {
            v.parse().with_context(|| format!("stat {name}: {v}"))
        })
    }

    /// The address of the listener `name`, which may have been configured with port 0.
    ///
    /// # Errors
    /// When there is no such listener in time.
    pub async fn listener(&self, name: &str) -> Result<SocketAddr> {
        until(&format!("listener {name}"), PATIENCE, || async {
            let page = self.admin_page("/listeners").await?;
            let address = page
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix("::"));
            match address {
                Some(address) => address.parse().with_context(|| address.to_owned()),
                None => bail!("{page}"),
            }
        })
        .await
    }

    /// Ends it in order (SIGTERM), or kills it after `grace`.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub async fn stop(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.process.terminate(grace).await
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.process.kill().await
    }

    async fn ready(&mut self) -> Result<()> {
        let client = &self.client;
        let look = || async {
            let answer = client.send(Request::get("/ready")).await?;
            if answer.status == 200 {
                Ok(())
            } else {
                bail!("{}", answer.text())
            }
        };
        self.process.until("envoy is ready", PATIENCE, look).await
    }
}

fn command(binary: &Path, config: &Path, admin: &PathBuf, options: &EnvoyOptions) -> Command {
    let mut command = Command::new(binary);
    let (level, components) = options
        .log_level
        .split_once(',')
        .unwrap_or((&options.log_level, ""));
    command
        .arg("--config-path")
        .arg(config)
        .arg("--admin-address-path")
        .arg(admin)
        .args(["--use-dynamic-base-id", "--file-flush-interval-msec", "50"])
        .args(["--concurrency", &options.concurrency.to_string()])
        .args(["--drain-time-s", &options.drain.as_secs().to_string()])
        .args([
            "--parent-shutdown-time-s",
            &(options.drain.as_secs() + 1).to_string(),
        ])
        .args(["--log-level", level]);
    if !components.is_empty() {
        command.args(["--component-log-level", components]);
    }
    command
}

async fn admin_address(process: &mut Process, file: &Path) -> Result<SocketAddr> {
    let look = || async {
        let text = fs::read_to_string(file).context("no address yet")?;
        text.trim()
            .parse()
            .with_context(|| format!("address {text:?}"))
    };
    process.until("envoy's admin address", PATIENCE, look).await
}
