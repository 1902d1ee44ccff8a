//! What every story starts with: a controller on manifests, a gateway with the filter, and how to compare.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    Controller, ControllerOptions, EnvoyOptions, Exposition, FilterInstance, Gateway,
    GatewayConfig, controller,
    tools::ENVOY,
    wait::{PATIENCE, until},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    counts::Counts,
    manifests::{GATEWAY, Manifests},
};

/// How often filters report here.
pub(crate) const INTERVAL: Duration = Duration::from_millis(300);

/// A controller on manifests.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) controller: Controller,
    pub(crate) manifests: Manifests,
    _dir: TempDir,
    module: PathBuf,
}

impl Stage {
    /// Starts the controller on what `write` wrote, `None` when there is no Envoy to test with.
    pub(crate) async fn start(write: impl FnOnce(&Manifests)) -> Result<Option<Self>> {
        Self::start_with(&[], write).await
    }

    /// With more arguments for the controller.
    pub(crate) async fn start_with(
        arguments: &[&str],
        write: impl FnOnce(&Manifests),
    ) -> Result<Option<Self>> {
        if !ENVOY.or_skip()? {
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("gaugeway-e2e-").tempdir()?;
        let manifests = Manifests::new(&dir.path().join("manifests"));
        write(&manifests);
        let interval = format!("{}ms", INTERVAL.as_millis());
        let defaults = ["--report-interval", &interval, "--log-format", "text"];
        let options = ControllerOptions {
            kubeconfig: None,
            binary: gaugeway(),
            manifests: manifests.dir().to_owned(),
            keep_state: true,
            arguments: defaults
                .iter()
                .chain(arguments)
                .map(ToString::to_string)
                .collect(),
        };
        let controller = Controller::start(dir.path(), options).await?;
        let module = dir.path().join("gaugeway.wasm");
        write_module(&module).await?;
        Ok(Some(Self {
            controller,
            manifests,
            _dir: dir,
            module,
        }))
    }

    /// Makes another module of the one that gateways load from here on.
    pub(crate) fn rewrite_module(&self, rewrite: fn(&[u8]) -> Result<Vec<u8>>) -> Result<()> {
        let module = rewrite(&std::fs::read(&self.module)?)?;
        std::fs::write(&self.module, module).context("write the module")
    }

    /// The filter, configured for the stage's gateway.
    pub(crate) fn filter(&self) -> FilterInstance {
        let token = controller::token(GATEWAY);
        FilterInstance::new(self.module.clone(), GATEWAY, &token).policy(json!({
            "report_interval_ms": u64::try_from(INTERVAL.as_millis()).unwrap(),
        }))
    }

    /// `config` with the filter and the controller in it.
    pub(crate) fn with_filter(&self, config: GatewayConfig) -> GatewayConfig {
        GatewayConfig {
            filters: vec![self.filter()],
            controller: Some(self.controller.ports().filters),
            ..config
        }
    }

    /// A gateway with the filter, one worker.
    pub(crate) async fn gateway(&self, config: GatewayConfig) -> Result<Gateway> {
        Gateway::start(&self.with_filter(config), &EnvoyOptions::default()).await
    }

    /// Waits until these Services have exactly these counts and nothing else is counted anywhere, then checks that it
    /// stays so: that two more reports of every VM change nothing.
    pub(crate) async fn expect_all(&self, expected: &[(&str, Counts)]) -> Result<Exposition> {
        let check = |page: &Exposition| -> Result<()> {
            for (service, counts) in expected {
                Counts::of(page, service)
                    .must_be(counts)
                    .with_context(|| (*service).to_owned())?;
            }
            let all = Counts::read(page, &[]).total();
            let named: u64 = expected.iter().map(|(_, counts)| counts.total()).sum();
            ensure!(
                all == named,
                "{all} requests in all, {named} of them expected:\n{}",
                series(page)
            );
            Ok(())
        };
        self.controller
            .scraped("the expected counts", check)
            .await?;
        self.quiesce().await?;
        let page = self.controller.scrape().await?;
        check(&page).context("counts changed after they had been right")?;
        Ok(page)
    }

    /// Waits until each living VM could report twice more. VMs that served a request report every interval, empty
    /// reports included.
    pub(crate) async fn quiesce(&self) -> Result<()> {
        let reports = |page: &Exposition| page.sum("gaugeway_reports_total", &[]);
        let page = self.controller.scrape().await?;
        let goal = reports(&page) + 2.0 * page.sum("gaugeway_worker_vms", &[]).max(1.0);
        until("two more reports of each VM", PATIENCE, || async {
            let seen = reports(&self.controller.scrape().await?);
            ensure!(seen >= goal, "{seen} of {goal} reports");
            Ok(())
        })
        .await
    }
}

/// What a failure shows.
fn series(page: &Exposition) -> String {
    page.iter()
        .filter(|(series, value)| series.name == "gaugeway_upstream_requests_total" && *value > 0.0)
        .map(|(series, value)| format!("{series} {value}\n"))
        .collect()
}

/// The program under test.
pub(crate) fn gaugeway() -> PathBuf {
    env!("CARGO_BIN_EXE_gaugeway").into()
}

pub(crate) async fn write_module(path: &std::path::Path) -> Result<()> {
    let output = Command::new(gaugeway())
        .arg("filter")
        .arg("--output")
        .arg(path)
        .output()
        .await
        .context("run gaugeway filter")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "gaugeway filter: {said}");
    Ok(())
}
