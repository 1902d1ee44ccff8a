//! What the controller is told: checked values only, whoever parsed them.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

pub use crate::{
    callers::Answers,
    lease::{Election, Timing},
    serving::Home,
    source::kubernetes::Pace,
};

pub use gaugeway_operator::deploy::{Installation, ServicePort};

pub use gaugeway_index::{Dimension, Dimensions, ObjectLabels, RecordingPolicy, Services, Shown};

/// Everything `run` needs. Built by the command line; no part of the controller reads arguments or the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the Kubernetes objects come from.
    pub source: Source,
    /// Where filters call: `POST /v1/mapping`, `POST /v1/report`.
    pub filters_listen: SocketAddr,
    /// Filters call by TLS, with this certificate, which all replicas share; `None` for plain HTTP.
    pub filters_tls: Option<CertificateFiles>,
    /// Where gateways and their control planes fetch the filter's module.
    pub wasm_listen: SocketAddr,
    /// Where Prometheus scrapes and probes ask.
    pub metrics_listen: SocketAddr,
    /// Where people and autoscalers ask for windows: `GET /api/v1/...`. Loopback only: nobody is asked who they are.
    pub api_listen: SocketAddr,
    /// The same for callers of whom the API server says who they are and what they may; `None` for nobody.
    pub apis: Option<Apis>,
    /// Where the ledger's log and snapshots live; `None` keeps the ledger in memory only.
    pub state_dir: Option<PathBuf>,
    /// Several replicas of which one leads; `None` for one that is alone.
    pub election: Option<Election>,
    /// How long a leader that ends shows its final totals, for scrapers that have not got them yet.
    pub final_scrape: Duration,
    /// How filters prove which gateway they are.
    pub tokens: Tokens,
    /// How often the key file is looked at.
    pub key_poll: Duration,
    /// Which labels targets have, what filters record and how often.
    pub recording: RecordingPolicy,
    /// Bounds of what is kept.
    pub series: SeriesLimits,
    /// The modules that the wasm port serves.
    pub filter_modules: &'static [&'static [u8]],
    /// Shows `kong_upstream_latency_ms` as well, for dashboards and autoscalers made for Kong's operator.
    pub kong_metric: bool,
    /// Version of this program, for people and metrics.
    pub version: &'static str,
    /// Bounds of the HTTP servers.
    pub http: HttpLimits,
}

/// Where the Kubernetes objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of manifests.
    Manifests(PathBuf),
    /// A cluster's API server.
    Kubernetes(Cluster),
}

impl Source {
    /// Domain of the cluster's names; `cluster.local` if `None`.
    pub(crate) fn cluster_domain(&self) -> Option<&str> {
        match self {
            Self::Manifests(_) => None,
            Self::Kubernetes(cluster) => cluster.cluster_domain.as_deref(),
        }
    }
}

/// Which cluster, and what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// How to reach it; `None` looks as `kubectl` does, or inside a Pod for its service account.
    pub kubeconfig: Option<PathBuf>,
    /// Only these namespaces; all if empty.
    pub namespaces: Vec<String>,
    /// Where this controller itself lives, if in the cluster: policies there may select Services of all namespaces at
    /// an IngressClass.
    pub own_namespace: Option<String>,
    /// Domain of its names, `cluster.local` if `None`: gateways name their clusters after it.
    pub cluster_domain: Option<String>,
    /// Reads the `DataPlaneMetricsExtension`s of Kong's operator as policies.
    pub kong_extensions: bool,
    /// How the filter is put into gateways; `None` leaves that to people.
    pub deploying: Option<Box<Deploying>>,
    /// How often things are tried.
    pub pace: Pace,
}

/// What is needed to put the filter into gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploying {
    /// Where gateways find this controller.
    pub home: Installation,
    /// SHA-256 of Envoy's module, lowercase hex.
    pub module: String,
    /// Controllers of GatewayClasses and IngressClasses, where they may not be read.
    pub classes: BTreeMap<String, String>,
    /// Into Kong as well.
    pub kong: bool,
}

/// How filters prove which gateway they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// One or two keys in a file, read again when it changes.
    KeyFile(PathBuf),
    /// The same in a Secret, made if there is none.
    Secret(SecretKey),
    /// No proof: whoever reaches the filters port reports for any gateway. For demos on one machine.
    Insecure,
}

/// A port for callers from anywhere: TLS, and the API server asked about each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apis {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate.
    pub certificate: Certificate,
    /// How answers about callers are kept.
    pub answers: Answers,
}

/// Where a port's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Whoever writes these files.
    Files(CertificateFiles),
    /// Made here, and kept in a Secret that all replicas share.
    Made(Made),
}

/// A certificate that is made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Name of the Secret, in the namespace of `home`.
    pub secret: String,
    /// The Service by which the port is called.
    pub home: Home,
    /// Domain of the cluster's names.
    pub cluster_domain: String,
    /// Registers the metrics API (`custom.metrics.k8s.io`) there.
    pub metrics_api: bool,
    /// Between two looks at it.
    pub every: Duration,
}

/// A certificate chain and its key, in PEM; read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The port's own first, then what signed it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// An entry of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// The controller's own.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// The entry's.
    pub key: String,
}

/// Bounds of what the ledger keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Series (target and route) at most; further ones are counted in one overflow series.
    pub max: usize,
    /// A series of a target that is gone is dropped after this long without a change.
    pub expiry: Duration,
}

/// Bounds of the HTTP servers. The defaults suit production; tests shorten the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections per port; further ones are closed at once.
    pub connections: usize,
    /// Calls in progress per port, held polls not counted; further ones get 503.
    pub calls: usize,
    /// From the start of a connection, or the end of a call on it, to the end of the next call's headers. Idle
    /// connections end by it: callers with pools should close theirs sooner.
    pub header_timeout: Duration,
    /// From the start of a connection to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// From a request's headers to the end of its body.
    pub body_timeout: Duration,
    /// From the stop signal to the end of the last connection.
    pub stop_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            calls: 1024,
            header_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
        }
    }
}
