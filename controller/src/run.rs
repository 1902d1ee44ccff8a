//! Puts the parts together, and takes them apart again in the right order.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use axum::Router;
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet};
use tracing::{info, warn};

use crate::{
    auth::Verifier,
    callers::{self, Callers, Reviews},
    config::{Apis, Certificate, Config, Source, Tokens},
    explain::Explainer,
    forward::Forward,
    http::{
        Api, CustomMetrics, Filters, Gate, Metrics, Modules, Port, Readers, Server, of_this_machine,
    },
    leading::{Leading, Ledgers},
    live::Live,
    mapping::{self, Feed, MappingHandle},
    policies::Recorders,
    role,
    serving::{Keeper, Registration},
    source::{
        SourceState,
        kubernetes::{self, KubernetesSource},
        manifests::{self, ManifestSource},
    },
    telemetry::Telemetry,
    tls::{self, Tls},
};

/// A controller whose ports listen.
pub struct Controller {
    servers: Vec<(Server, Router)>,
    ports: Ports,
    mapping: MappingHandle,
    leading: Leading,
    readers: Readers,
    final_scrape: Duration,
    /// Lives as long as the controller.
    source: Running,
}

/// A source at work. Dropping it ends it.
struct Running {
    state: SourceState,
    _manifests: Option<ManifestSource>,
    kubernetes: Option<KubernetesSource>,
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
    /// The same, by https and for callers that the API server allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apis: Option<SocketAddr>,
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
        let verifier = Verifier::start(
            &config.tokens,
            &config.source,
            config.key_poll,
            Arc::clone(&telemetry),
        )
        .await?;
        let [filters, wasm, metrics, api] = bind(&config, &telemetry).await?;
        let apis = match &config.apis {
            Some(apis) => Some(listen(Port::Apis, apis.listen, &config, &telemetry).await?),
            None => None,
        };
        let certificate = match &config.filters_tls {
            Some(files) => {
                let port = Port::Filters.as_str();
                Some(tls::follow(port, files, config.key_poll, Arc::clone(&telemetry)).await?)
            }
            None => None,
        };
        let filters = match &certificate {
            Some(certificate) => filters.over(Tls::try_new(certificate.clone())?),
            None => filters,
        };
        let ports = Ports {
            filters: filters.address()?,
            wasm: wasm.address()?,
            metrics: metrics.address()?,
            api: api.address()?,
            apis: apis.as_ref().map(Server::address).transpose()?,
        };
        let (mapping, feed) = mapping::start(
            config.recording.clone(),
            config.source.cluster_domain(),
            Arc::clone(&telemetry),
        )?;
        let ledgers = Ledgers::new(&config, mapping.clone(), &telemetry);
        let shape = ledgers.shape();
        let leading = match &config.election {
            Some(election) => Leading::elected(election, &config, ledgers, ports.filters).await?,
            None => Leading::alone(ledgers).await?,
        };
        let seat = leading.seat();
        let gate = seat.gate();
        let recorders = Recorders {
            default: config.recording.clone(),
            mapping: mapping.clone(),
            shape,
            seat: seat.clone(),
            kong_metric: config.kong_metric,
            verifier: verifier.clone(),
        };
        let source = start_source(&config.source, feed, recorders, &telemetry).await?;
        let modules = Modules::new(config.filter_modules);
        let forward = Forward::try_new(verifier.clone(), certificate, Arc::clone(&telemetry))?;
        let readers = Readers::default();
        let calls = Filters::new(
            mapping.clone(),
            seat.clone(),
            forward.clone(),
            verifier.clone(),
            config.http,
            Arc::clone(&telemetry),
        );
        let scrapes = Metrics {
            mapping: mapping.clone(),
            seat: seat.clone(),
            readers: readers.clone(),
            verifier: verifier.clone(),
            telemetry: Arc::clone(&telemetry),
            source: source.state.clone(),
            version: config.version,
            module_paths: modules.paths(),
        };
        let live = Live::new(mapping.clone(), seat.clone());
        let custom_metrics = CustomMetrics {
            live: live.clone(),
            seat: seat.clone(),
            forward: forward.clone(),
            telemetry: Arc::clone(&telemetry),
        };
        let (registration, registered) = watch::channel(None);
        let questions = Api {
            live,
            explainer: Explainer {
                mapping: mapping.clone(),
                seat: seat.clone(),
                source: source.state.clone(),
                news: source.kubernetes.as_ref().map(KubernetesSource::news),
                registered,
                max_series: config.series.max,
            },
            seat,
            forward,
            telemetry: Arc::clone(&telemetry),
        };
        let questions = questions.router().merge(custom_metrics.router());
        log_start(&config, &ports, &modules);
        let local = of_this_machine(questions.clone(), Arc::clone(&telemetry));
        let mut servers = vec![
            (filters, calls.router(questions.clone())),
            (wasm, modules.router(Arc::clone(&telemetry))),
            (metrics, scrapes.router()),
            (api, local),
        ];
        if let (Some(apis), Some(server)) = (&config.apis, apis) {
            let (server, gate) =
                open(apis, server, gate, registration, &config, &telemetry).await?;
            servers.push((server, gate.before(questions)));
        }
        Ok(Self {
            servers,
            ports,
            mapping,
            leading,
            readers,
            final_scrape: config.final_scrape,
            source,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Serves until `shutdown` resolves. Then: a leader answers what it was told, gives its Lease back, and passes calls
    /// on until its scrapers have its final totals; no new calls, held polls are answered, calls in progress end, the
    /// ledger writes its last snapshot.
    ///
    /// # Errors
    /// When a part ended by itself, or another replica leads: the process is then better started again than left half
    /// alive.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (server, router) in self.servers {
            tasks.spawn(server.serve(router, stopped.clone()));
        }
        let broken = tokio::select! {
            () = shutdown => None,
            () = self.mapping.ended() => Some(anyhow!("the mapping ended by itself; {RESTART}")),
            error = self.leading.run() => Some(error),
            _ = tasks.join_next() => Some(anyhow!("the server of a port ended by itself; {RESTART}")),
        };
        info!("stopping");
        let led = self.leading.hand_over().await;
        // Its calls go to the next leader meanwhile.
        if broken.is_none() && led {
            let told = self.readers.have_final();
            if tokio::time::timeout(self.final_scrape, told).await.is_err() {
                warn!("a scraper did not come for the final totals in time");
            }
        }
        stop.send_replace(true);
        self.mapping.stop().await;
        while tasks.join_next().await.is_some() {}
        drop(self.source);
        self.leading.stop().await;
        info!("stopped");
        broken.map_or(Ok(()), Err)
    }
}

/// What helps when a part ends by itself.
const RESTART: &str = "the log says why, a restart helps";

async fn bind(config: &Config, telemetry: &Arc<Telemetry>) -> anyhow::Result<[Server; 4]> {
    if !config.api_listen.ip().is_loopback() {
        bail!(
            "--api-listen {} is no loopback address: this port asks nobody who they are. Listen on 127.0.0.1 and \
             reach it with kubectl port-forward, or from a proxy beside the controller that authenticates",
            config.api_listen
        );
    }
    let one = async |port, address| listen(port, address, config, telemetry).await;
    Ok([
        one(Port::Filters, config.filters_listen).await?,
        one(Port::Wasm, config.wasm_listen).await?,
        one(Port::Metrics, config.metrics_listen).await?,
        one(Port::Api, config.api_listen).await?,
    ])
}

/// Who may pass to the port for callers from anywhere, and its TLS.
async fn open(
    apis: &Apis,
    server: Server,
    gate: role::Gate,
    registration: watch::Sender<Option<Registration>>,
    config: &Config,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<(Server, Gate)> {
    let Source::Kubernetes(cluster) = &config.source else {
        bail!("--apis-listen asks the API server who calls: it needs --kubernetes");
    };
    let client = kubernetes::client(cluster).await?;
    let certificate = match &apis.certificate {
        Certificate::Files(files) => {
            let port = Port::Apis.as_str();
            tls::follow(port, files, config.key_poll, Arc::clone(telemetry)).await?
        }
        Certificate::Made(made) => {
            let every = made.every;
            Keeper::start(
                client.clone(),
                made.into(),
                gate,
                every,
                registration,
                Arc::clone(telemetry),
            )
        }
    };
    let tls = Tls::try_new(certificate)?;
    let trust = callers::follow_trust(client.clone(), cluster.pace, Arc::clone(telemetry));
    let reviews = Reviews::new(client, apis.answers, Arc::clone(telemetry));
    let callers = Callers::new(reviews, trust);
    let gate = Gate::new(callers, config.http, Arc::clone(telemetry));
    Ok((server.over(tls), gate))
}

async fn listen(
    port: Port,
    address: SocketAddr,
    config: &Config,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<Server> {
    let server = Server::bind(port, address, config.http, Arc::clone(telemetry)).await;
    server.with_context(|| {
        let flag = port.as_str();
        format!("cannot listen on {address}; choose another address with --{flag}-listen")
    })
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
                kubernetes: None,
            }
        }
        Source::Kubernetes(cluster) => {
            let running = kubernetes::start(cluster, feed, recorders, telemetry).await?;
            Running {
                state: running.state(),
                _manifests: None,
                kubernetes: Some(running),
            }
        }
    })
}

fn log_start(config: &Config, ports: &Ports, modules: &Modules) {
    info!(
        version = config.version,
        filters = %ports.filters,
        wasm = %ports.wasm,
        metrics = %ports.metrics,
        api = %ports.api,
        apis = ports.apis.map(tracing::field::display),
        modules = modules.paths(),
        "listening"
    );
    if config.tokens == Tokens::Insecure {
        warn!(
            "no tokens are asked for: whoever reaches the filters port can report for any gateway"
        );
    }
    if config.filters_tls.is_none() && !config.filters_listen.ip().is_loopback() {
        info!("filters call in plain text: --filters-tls-cert encrypts their tokens and reports");
    }
    if config.state_dir.is_none() {
        warn!("no --state-dir: totals are in memory only and begin at zero after a restart");
    }
}
