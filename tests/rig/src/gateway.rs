//! A gateway for tests: Envoy with clusters, routes and filters said in a few words, changed while it runs.
//!
//! Listeners and clusters come from files that Envoy watches, so a change is what a control plane would push. The
//! listener's port is reserved for the gateway's life. The demo does not use this: it runs on what `gaugeway render`
//! writes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    AccessLog, Client, Envoy, EnvoyOptions, ReservedPort,
    wait::{PATIENCE, until},
};

mod config;
mod resources;

pub use config::{Backend, Cluster, FilterInstance, GatewayConfig, Route, Trust};

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub envoy: Envoy,
    dir: TempDir,
    port: ReservedPort,
    version: u64,
}

impl Gateway {
    /// Starts Envoy on `config`.
    ///
    /// # Errors
    /// When Envoy is missing or refuses it.
    pub async fn start(config: &GatewayConfig, options: &EnvoyOptions) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("gaugeway-rig-")
            .tempdir()
            .context("make a temporary directory")?;
        let port = ReservedPort::new()?;
        write_resources(dir.path(), config, port.address(), 1)?;
        let bootstrap = resources::bootstrap(dir.path());
        let envoy = Envoy::start(dir.path(), &bootstrap.to_string(), options).await?;
        let gateway = Self {
            envoy,
            dir,
            port,
            version: 1,
        };
        gateway.listening().await?;
        Ok(gateway)
    }

    /// Replaces clusters and listener while it runs. Returns when Envoy has taken both.
    ///
    /// # Errors
    /// When Envoy refuses one.
    pub async fn apply(&mut self, config: &GatewayConfig) -> Result<()> {
        let before = [
            self.taken("cluster_manager.cds").await?,
            self.taken("listener_manager.lds").await?,
        ];
        self.version += 1;
        write_resources(self.dir.path(), config, self.port.address(), self.version)?;
        for (stat, before) in ["cluster_manager.cds", "listener_manager.lds"]
            .into_iter()
            .zip(before)
        {
            until(&format!("envoy takes its new {stat}"), PATIENCE, || async {
                let now = self.taken(stat).await?;
                if now > before {
                    Ok(())
                } else {
                    bail!("still at update {now}")
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// Its access log.
    #[must_use]
    pub fn access_log(&self) -> AccessLog {
        AccessLog::new(&resources::access_log(self.dir.path()))
    }

    /// Its directory: configuration, logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends it in order, leaving at most `grace`.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub async fn stop(&mut self, grace: Duration) -> Result<()> {
        self.envoy.stop(grace).await.map(drop)
    }

    async fn taken(&self, stat: &str) -> Result<u64> {
        let rejected = self.envoy.stat(&format!("{stat}.update_rejected")).await?;
        if rejected > 0 {
            bail!("envoy refused {stat}\n{}", self.envoy.log_tail());
        }
        self.envoy.stat(&format!("{stat}.update_success")).await
    }

    async fn listening(&self) -> Result<()> {
        let outcome = self.envoy.listener("gateway").await;
        outcome.map(drop).with_context(|| self.envoy.log_tail())
    }
}

fn write_resources(
    dir: &Path,
    config: &GatewayConfig,
    listen: SocketAddr,
    version: u64,
) -> Result<()> {
    let clusters = config
        .clusters()
        .map(|c| resources::cluster(&c))
        .collect::<Vec<_>>();
    let mut listeners = vec![resources::listener(dir, config, listen)];
    listeners.extend(config.listeners.iter().cloned());
    replace(&resources::cds(dir), "cds", &discovery(&clusters, version))?;
    replace(&resources::lds(dir), "lds", &discovery(&listeners, version))
}

fn discovery(resources: &[Value], version: u64) -> Value {
    serde_json::json!({ "version_info": version.to_string(), "resources": resources })
}

/// Envoy watches for moves.
fn replace(path: &PathBuf, name: &str, value: &Value) -> Result<()> {
    let fresh = path.with_file_name(format!("{name}.fresh"));
    fs::write(&fresh, value.to_string()).with_context(|| format!("write {}", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("replace {}", path.display()))
}
