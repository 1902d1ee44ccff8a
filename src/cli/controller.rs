//! `gaugeway controller`.

mod apis;
mod deploy;
mod election;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;
use gaugeway_controller::{
    Config, Controller, Ports, cluster_domain,
    config::{
        CertificateFiles, Cluster, Deploying, HttpLimits, ObjectLabels, Pace, RecordingPolicy,
        SecretKey, SeriesLimits, Services, Shown, Source, Tokens,
    },
};

use gaugeway_wire::{ClassicBounds, Nanos, Policy, Schema};
use tokio::signal::unix::{SignalKind, signal};

use self::{apis::ApisFlags, deploy::DeployFlags, election::ElectionFlags};
use super::{
    output::out,
    runtime,
    values::{self, Labels},
};
use crate::{
    embedded::{ENVOY_MODULE, KONG_MODULE},
    logging::LogArgs,
};

/// How often the key file is looked at.
const KEY_POLL: Duration = Duration::from_secs(1);
/// Its entry with the key.
const SECRET_ENTRY: &str = "token.key";

const EXAMPLES: &str = "\
Examples:
  One gateway on this machine:
    gaugeway token --new-key > key
    gaugeway controller --manifests ./manifests --token-key-file key --state-dir ./state

  In a cluster, or from outside of one:
    gaugeway controller --kubernetes --token-key-file key --state-dir ./state
    gaugeway controller --kubernetes --kubeconfig ~/.kube/config --insecure-no-token

  Two replicas, of which one leads (in a Pod; the chart does this):
    gaugeway controller --kubernetes … --leader-election --own-namespace gaugeway --identity $POD_UID --advertise $POD_IP

  Fewer series (per Service only), per route:
    gaugeway controller … --dimensions route

  What it shows:
    curl http://127.0.0.1:7082/metrics
    curl http://127.0.0.1:7083/api/v1/services

Of a cluster it watches Services, EndpointSlices, Ingresses, IngressClasses, Gateways, HTTPRoutes, GRPCRoutes, \
ReferenceGrants and LatencyPolicies (`gaugeway crds` has their definition), and the metadata of Pods and ReplicaSets. What it cannot reach or may not read is named by /readyz, the log and \
gaugeway_source_errors_total.

The manifests are plain Kubernetes YAML of the same kinds. They are read again when they \
change; a bad file keeps its last good state and is named in the log and in gaugeway_source_files.

SIGTERM and SIGINT stop it gracefully. With --state-dir it goes on where it ended, whatever ended it.";

/// Run the controller: mapping for filters, reports from filters, /metrics for Prometheus.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ControllerArgs {
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    tokens: TokenFlags,
    /// Directory for the totals' log and snapshots. Without it totals begin at zero after each restart.
    #[arg(long, env = "GAUGEWAY_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Gateways")]
    deploy: DeployFlags,
    #[command(flatten, next_help_heading = "Replicas")]
    election: ElectionFlags,
    #[command(flatten, next_help_heading = "Ports")]
    ports: PortFlags,
    #[command(flatten, next_help_heading = "Ports")]
    apis: ApisFlags,
    #[command(flatten, next_help_heading = "What is recorded")]
    recording: RecordingFlags,
    #[command(flatten, next_help_heading = "What is kept and shown")]
    series: SeriesFlags,
    #[command(flatten, next_help_heading = "Output")]
    log: LogArgs,
    /// Print the ports as one line of JSON on standard output once all of them listen.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SourceFlags {
    /// Directory of Kubernetes manifests.
    #[arg(long, env = "GAUGEWAY_MANIFESTS", value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Watch a cluster's API server: inside a Pod with its service account, else as kubectl finds it.
    #[arg(long, env = "GAUGEWAY_KUBERNETES")]
    kubernetes: bool,
}

#[derive(Debug, Args)]
struct ClusterFlags {
    /// How to reach the cluster.
    #[arg(
        long,
        env = "GAUGEWAY_KUBECONFIG",
        value_name = "FILE",
        requires = "kubernetes"
    )]
    kubeconfig: Option<PathBuf>,
    /// Watch these namespaces only, with Roles in each instead of a ClusterRole.
    #[arg(
        long,
        env = "GAUGEWAY_NAMESPACES",
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = values::namespace,
        requires = "kubernetes"
    )]
    namespaces: Vec<String>,
    /// Where this controller itself lives: LatencyPolicies there may select Services of all namespaces at an
    /// IngressClass.
    #[arg(
        long,
        env = "GAUGEWAY_OWN_NAMESPACE",
        value_name = "NAMESPACE",
        value_parser = values::namespace,
        requires = "kubernetes"
    )]
    own_namespace: Option<String>,
    /// Read the DataPlaneMetricsExtensions of Kong's operator as policies: Services that one selects are measured where its
    /// data plane carries the filter, and shown in kong_upstream_latency_ms. Watches them, ControlPlanes,
    /// GatewayConfigurations and GatewayClasses; writes none of them.
    #[arg(
        long,
        env = "GAUGEWAY_KONG_METRICS_EXTENSIONS",
        requires = "kubernetes"
    )]
    kong_metrics_extensions: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TokenFlags {
    /// File with the key that gateways' tokens are made with, in hex, at least 32 bytes; during a rotation two lines,
    /// the new key first. Read again when it changes.
    #[arg(long, env = "GAUGEWAY_TOKEN_KEY_FILE", value_name = "FILE")]
    token_key_file: Option<PathBuf>,
    /// Secret in --own-namespace with such a key, in its entry token.key; made with a new key if there is none.
    /// Changes are followed.
    #[arg(
        long,
        env = "GAUGEWAY_TOKEN_KEY_SECRET",
        value_name = "NAME",
        requires_all = ["kubernetes", "own_namespace"]
    )]
    token_key_secret: Option<String>,
    /// Ask for no tokens: whoever reaches the filters port can report for any gateway.
    #[arg(long, env = "GAUGEWAY_INSECURE_NO_TOKEN")]
    insecure_no_token: bool,
}

#[derive(Debug, Args)]
struct PortFlags {
    /// Where filters ask for the mapping and report.
    #[arg(
        long,
        env = "GAUGEWAY_FILTERS_LISTEN",
        default_value = "127.0.0.1:7080",
        value_name = "ADDR:PORT"
    )]
    filters_listen: SocketAddr,
    /// Certificate of that port, in PEM, with what signed it: filters then call by TLS only. Replicas share one. Read again
    /// when it changes.
    #[arg(
        long,
        env = "GAUGEWAY_FILTERS_TLS_CERT",
        value_name = "FILE",
        requires = "filters_tls_key"
    )]
    filters_tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(
        long,
        env = "GAUGEWAY_FILTERS_TLS_KEY",
        value_name = "FILE",
        requires = "filters_tls_cert"
    )]
    filters_tls_key: Option<PathBuf>,
    /// Where gateways fetch the filter's module. Public: it needs no token.
    #[arg(
        long,
        env = "GAUGEWAY_WASM_LISTEN",
        default_value = "127.0.0.1:7081",
        value_name = "ADDR:PORT"
    )]
    wasm_listen: SocketAddr,
    /// Where Prometheus scrapes: /metrics, /healthz, /readyz.
    #[arg(
        long,
        env = "GAUGEWAY_METRICS_LISTEN",
        default_value = "127.0.0.1:7082",
        value_name = "ADDR:PORT"
    )]
    metrics_listen: SocketAddr,
    /// Where people and scripts ask for sliding windows: /api/v1. A loopback address: this port asks nobody who they are.
    #[arg(
        long,
        env = "GAUGEWAY_API_LISTEN",
        default_value = "127.0.0.1:7083",
        value_name = "ADDR:PORT"
    )]
    api_listen: SocketAddr,
}

#[derive(Debug, Args)]
struct RecordingFlags {
    /// Labels of each series beside namespace and Service: any of port, pod, workload, node, zone, gateway, route; or
    /// none. Each one multiplies the series.
    #[arg(
        long,
        env = "GAUGEWAY_DIMENSIONS",
        default_value = "port,pod",
        value_name = "LIST"
    )]
    dimensions: Labels,
    /// Labels of Pods and Services to show as `label_<name>`, such as `app.kubernetes.io/version`.
    #[arg(
        long,
        env = "GAUGEWAY_OBJECT_LABELS",
        value_delimiter = ',',
        value_name = "LIST"
    )]
    object_labels: Vec<String>,
    /// Resolution of the native histograms, Prometheus's schema: each bucket is 2^(2^-schema) times the one before.
    #[arg(long, env = "GAUGEWAY_SCHEMA", default_value = "3", value_name = "0..5", value_parser = values::schema)]
    schema: Schema,
    /// Upper bounds of the classic buckets, rising, at most 64.
    #[arg(
        long, env = "GAUGEWAY_CLASSIC_BUCKETS", value_name = "TIMES", value_parser = values::classic_bounds,
        default_value = values::DEFAULT_BOUNDS
    )]
    classic_buckets: ClassicBounds,
    /// Time between two reports of a worker.
    #[arg(long, env = "GAUGEWAY_REPORT_INTERVAL", default_value = "5s", value_name = "TIME", value_parser = values::report_interval)]
    report_interval: Duration,
    /// How long a worker waits for an address's mapping before it reports its requests as unknown.
    #[arg(long, env = "GAUGEWAY_UNKNOWN_GRACE", default_value = "10s", value_name = "TIME", value_parser = values::unknown_grace)]
    unknown_grace: Duration,
}

#[derive(Debug, Args)]
struct SeriesFlags {
    /// Series at most; requests beyond are counted in one overflow series.
    #[arg(
        long,
        env = "GAUGEWAY_MAX_SERIES",
        default_value_t = 50_000,
        value_name = "COUNT",
        value_parser = values::max_series
    )]
    max_series: usize,
    /// How long a series stays after its Service or Pod is gone (it is shown at least twice after its last change).
    #[arg(long, env = "GAUGEWAY_SERIES_EXPIRY", default_value = "5m", value_name = "TIME", value_parser = values::series_expiry)]
    series_expiry: Duration,
    /// Show kong_upstream_latency_ms as well, with the labels that Kong's operator gives it.
    #[arg(long, env = "GAUGEWAY_KONG_METRIC")]
    kong_metric: bool,
}

impl ControllerArgs {
    /// Runs until SIGTERM or SIGINT.
    pub(super) fn run(self) -> Result<ExitCode> {
        self.log.start()?;
        let json = self.json;
        let config = self.config()?;
        let filters = match config.filters_tls {
            Some(_) => "https",
            None => "http",
        };
        runtime()?.block_on(async {
            // Before the ports are announced: whoever reads them may stop us at once.
            let stop = stop_signal()?;
            let controller = Controller::start(config).await?;
            announce(controller.ports(), filters, json)?;
            controller.serve(stop).await?;
            Ok(ExitCode::SUCCESS)
        })
    }

    fn config(self) -> Result<Config> {
        let final_scrape = self.election.final_scrape();
        let own_namespace = self.cluster.own_namespace.as_deref();
        let apis = self
            .apis
            .apis(own_namespace, self.deploy.cluster_domain())?;
        let domain = self.deploy.cluster_domain().or_else(cluster_domain);
        let deploying = self.deploy.deploying(own_namespace)?;
        let tokens = self.tokens.tokens(own_namespace)?;
        Ok(Config {
            election: self.election.election(own_namespace)?,
            final_scrape,
            source: self.source.source(self.cluster, domain, deploying),
            filters_listen: self.ports.filters_listen,
            filters_tls: self
                .ports
                .filters_tls_cert
                .zip(self.ports.filters_tls_key)
                .map(|(certificate, key)| CertificateFiles { certificate, key }),
            wasm_listen: self.ports.wasm_listen,
            metrics_listen: self.ports.metrics_listen,
            api_listen: self.ports.api_listen,
            apis,
            state_dir: self.state_dir,
            tokens,
            key_poll: KEY_POLL,
            recording: self.recording.policy()?,
            series: SeriesLimits {
                max: self.series.max_series,
                expiry: self.series.series_expiry,
            },
            filter_modules: &[ENVOY_MODULE, KONG_MODULE],
            kong_metric: self.series.kong_metric,
            version: env!("CARGO_PKG_VERSION"),
            http: HttpLimits::default(),
        })
    }
}

impl TokenFlags {
    /// Clap has made sure that there is one.
    fn tokens(self, own_namespace: Option<&str>) -> Result<Tokens> {
        Ok(match (self.token_key_file, self.token_key_secret) {
            (Some(file), _) => Tokens::KeyFile(file),
            (None, Some(name)) => {
                let namespace = own_namespace.context("--own-namespace is missing")?;
                let at = SecretKey {
                    namespace: namespace.to_owned(),
                    name,
                    key: SECRET_ENTRY.to_owned(),
                };
                Tokens::Secret(at)
            }
            (None, None) => Tokens::Insecure,
        })
    }
}

impl SourceFlags {
    /// Clap has made sure that there is one.
    fn source(
        self,
        mut cluster: ClusterFlags,
        cluster_domain: Option<String>,
        deploying: Option<Deploying>,
    ) -> Source {
        cluster.namespaces.sort_unstable();
        cluster.namespaces.dedup();
        match self.manifests {
            Some(directory) => Source::Manifests(directory),
            None => Source::Kubernetes(Cluster {
                kubeconfig: cluster.kubeconfig,
                namespaces: cluster.namespaces,
                deploying: deploying.map(Box::new),
                own_namespace: cluster.own_namespace,
                cluster_domain,
                kong_extensions: cluster.kong_metrics_extensions,
                pace: Pace::default(),
            }),
        }
    }
}

impl RecordingFlags {
    fn policy(self) -> Result<RecordingPolicy> {
        let object_labels =
            ObjectLabels::try_new(&self.object_labels).context("--object-labels")?;
        Ok(RecordingPolicy {
            services: Services::Every(Shown {
                dimensions: self.dimensions.dimensions,
                object_labels: Arc::new(object_labels),
            }),
            wire: Policy {
                schema: self.schema,
                classic_bounds: self.classic_buckets,
                report_interval: nanos(self.report_interval),
                route: self.dimensions.route,
                unknown_grace: nanos(self.unknown_grace),
            },
        })
    }
}

fn nanos(time: Duration) -> Nanos {
    Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Resolves at the first SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Says on standard output where the ports are: for programs that chose port 0, and for people.
fn announce(ports: Ports, filters: &str, json: bool) -> Result<()> {
    let text = if json {
        serde_json::to_string(&ports)? + "\n"
    } else {
        let apis = ports
            .apis
            .map(|apis| format!("apis     https://{apis}/api/v1/services\n"));
        format!(
            "filters  {filters}://{}\nwasm     http://{}\nmetrics  http://{}/metrics\napi      http://{}/api/v1/services\n{}",
            ports.filters,
            ports.wasm,
            ports.metrics,
            ports.api,
            apis.unwrap_or_default()
        )
    };
    out(text.as_bytes())
}
