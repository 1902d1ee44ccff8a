//! Puts the parts together, and takes them apart again in the right order.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use axum::Router;
use gaugeway_aggregate::DataplaneUrls;
use gaugeway_wire::UnixNanos;
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet};
use tracing::{info, warn};

use crate::{
    auth::Verifier,
    config::{Config, Source, Tokens},
    http::{Api, Filters, Metrics, Modules, Port, Server},
    ledger::{self, LedgerConfig, LedgerHandle},
    live::Live,
    mapping::{self, Feed, MappingHandle},
    policies::Recorders,
    source::{
        SourceState,
        kubernetes::{self, KubernetesSource},
        manifests::{self, ManifestSource},
    },
    telemetry::Telemetry,
};

/// Who writes the ledger where no Lease decides it.
const SOLE_OWNER: &str = "sole";
/// Longest wait for the ledger's last snapshot. What was acknowledged is in the log anyway.
const LEDGER_STOP: Duration = Duration::from_secs(10);

/// A controller whose ports listen.
pub struct Controller {
    servers: Vec<(Server, Router)>,
    ports: Ports,
    mapping: MappingHandle,
    ledger: LedgerHandle,
    /// Lives as long as the controller.
    source: Running,
}

/// A source at work. Dropping it ends it.
struct Running {
    state: SourceState,
    _manifests: Option<ManifestSource>,
    _kubernetes: Option<KubernetesSource>,
}

/// Where a controller listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// `POST /v1/mapping`, `POST /v1/report`.
    pub filters: SocketAddr,
    /// `GET /v1/filter/<sha256>.wasm`.
    pub wasm: SocketAddr,
    /// `GET /metrics`, `/healthz`, `/readyz`.
    pub metrics: SocketAddr,
    /// `GET /api/v1/...`.
    pub api: SocketAddr,
}

/// Runs a controller until `shutdown` resolves, then stops it gracefully.
///
/// # Errors
/// When it cannot start; the text says what to change.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    Controller::start(config).await?.serve(shutdown).await
}

impl Controller {
    /// Starts everything; returns when all ports listen (the source may still be reading).
    ///
    /// # Errors
    /// When a part cannot start; the text says what to change.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let telemetry = Telemetry::try_new(config.version)?;
        let verifier =
            Verifier::start(&config.tokens, config.key_poll, Arc::clone(&telemetry)).await?;
        let [filters, wasm, metrics, api] = bind(&config, &telemetry).await?;
        let ports = Ports {
            filters: filters.address()?,
            wasm: wasm.address()?,
            metrics: metrics.address()?,
            api: api.address()?,
        };
        let (mapping, feed) = mapping::start(config.recording.clone(), Arc::clone(&telemetry))?;
        let ledger = start_ledger(&config, &mapping, &telemetry).await?;
        let recorders = Recorders {
            default: config.recording.clone(),
            mapping: mapping.clone(),
            ledger: ledger.clone(),
            kong_metric: config.kong_metric,
        };
        let source = start_source(&config.source, feed, recorders, &telemetry).await?;
        let modules = Modules::new(config.filter_modules);
        let calls = Filters::new(
            mapping.clone(),
            ledger.clone(),
            verifier,
            config.http,
            Arc::clone(&telemetry),
        );
        let scrapes = Metrics {
            mapping: mapping.clone(),
            ledger: ledger.clone(),
            telemetry: Arc::clone(&telemetry),
            source: source.state.clone(),
            version: config.version,
            module_paths: modules.paths(),
        };
        let questions = Api {
            live: Live::new(mapping.clone(), ledger.clone()),
            telemetry: Arc::clone(&telemetry),
        };
        log_start(&config, &ports, &modules);
        Ok(Self {
            servers: vec![
                (filters, calls.router()),
                (wasm, modules.router(Arc::clone(&telemetry))),
                (metrics, scrapes.router()),
                (api, questions.router()),
            ],
            ports,
            mapping,
            ledger,
            source,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Serves until `shutdown` resolves. Then: no new calls, held polls are answered, calls in progress end, the
    /// ledger writes its last snapshot.
    ///
    /// # Errors
    /// When a part ended by itself: the process is then better started again than left half alive.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (server, router) in self.servers {
            tasks.spawn(server.serve(router, stopped.clone()));
        }
        let broken = tokio::select! {
            () = shutdown => None,
            () = self.mapping.ended() => Some("mapping"),
            () = self.ledger.ended() => Some("ledger"),
            _ = tasks.join_next() => Some("server of a port"),
        };
        info!("stopping");
        stop.send_replace(true);
        self.mapping.stop().await;
        while tasks.join_next().await.is_some() {}
        drop(self.source);
        if tokio::time::timeout(LEDGER_STOP, self.ledger.stop())
            .await
            .is_err()
        {
            warn!("the last snapshot takes too long; the next start reads the log instead");
        }
        info!("stopped");
        match broken {
            None => Ok(()),
            Some(part) => bail!("the {part} ended by itself; the log says why, a restart helps"),
        }
    }
}

async fn bind(config: &Config, telemetry: &Arc<Telemetry>) -> anyhow::Result<[Server; 4]> {
    if !config.api_listen.ip().is_loopback() {
        bail!(
            "--api-listen {} is no loopback address: this port asks nobody who they are. Listen on 127.0.0.1 and \
             reach it with kubectl port-forward, or from a proxy beside the controller that authenticates",
            config.api_listen
        );
    }
    let one = async |port: Port, address: SocketAddr| {
        Server::bind(port, address, config.http, Arc::clone(telemetry))
            .await
            .with_context(|| {
                let flag = port.as_str();
                format!("cannot listen on {address}; choose another address with --{flag}-listen")
            })
    };
    Ok([
        one(Port::Filters, config.filters_listen).await?,
        one(Port::Wasm, config.wasm_listen).await?,
        one(Port::Metrics, config.metrics_listen).await?,
        one(Port::Api, config.api_listen).await?,
    ])
}

async fn start_source(
    source: &Source,
    feed: Feed,
    recorders: Recorders,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<Running> {
    Ok(match source {
        Source::Manifests(directory) => {
            let origin = format!("the directory {}", directory.display());
            let running = manifests::start(directory.clone(), feed, Arc::clone(telemetry))
                .with_context(|| format!("cannot read manifests in {}", directory.display()))?;
            Running {
                state: SourceState::new(origin, telemetry),
                _manifests: Some(running),
                _kubernetes: None,
            }
        }
        Source::Kubernetes(cluster) => {
            let running = kubernetes::start(cluster, feed, recorders, telemetry).await?;
            Running {
                state: running.state(),
                _manifests: None,
                _kubernetes: Some(running),
            }
        }
    })
}

/// Reads what the state directory holds, on a thread that may block.
async fn start_ledger(
    config: &Config,
    mapping: &MappingHandle,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<LedgerHandle> {
    let told = LedgerConfig {
        state_dir: config.state_dir.clone(),
        owner: SOLE_OWNER.to_owned(),
        layout: config.recording.wire.layout(),
        policies_follow: matches!(config.source, Source::Kubernetes(_)),
        max_series: config.series.max,
        series_expiry: config.series.expiry,
        by_service: config.kong_metric,
        kong: kong_urls(mapping, config.kong_metric),
        clock: Arc::new(wall_clock),
    };
    let (objects, telemetry) = (Arc::new(mapping.objects()), Arc::clone(telemetry));
    let started = tokio::task::spawn_blocking(move || ledger::start(told, objects, telemetry));
    Ok(started.await??)
}

/// What stands in `dataplane_url`, for Services whose policy wants `kong_upstream_latency_ms`: Kong's operator puts the
/// data plane's address there, we the gateway.
fn kong_urls(mapping: &MappingHandle, default: bool) -> DataplaneUrls {
    let objects = mapping.objects();
    DataplaneUrls(Arc::new(move |gateway, namespace, service| {
        let told = objects.kong_compatible(gateway, namespace, service);
        told.unwrap_or(default).then(|| gateway.as_str().to_owned())
    }))
}

/// Zero before 1970.
fn wall_clock() -> UnixNanos {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn log_start(config: &Config, ports: &Ports, modules: &Modules) {
    info!(
        version = config.version,
        filters = %ports.filters,
        wasm = %ports.wasm,
        metrics = %ports.metrics,
        api = %ports.api,
        modules = modules.paths(),
        "listening"
    );
    if config.tokens == Tokens::Insecure {
        warn!(
            "no tokens are asked for: whoever reaches the filters port can report for any gateway"
        );
    }
    if config.state_dir.is_none() {
        warn!("no --state-dir: totals are in memory only and begin at zero after a restart");
    }
}
