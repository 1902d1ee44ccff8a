//! What the controller is told: checked values only, whoever parsed them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use gaugeway_wire::Policy;

/// Everything `run` needs. Built by the command line; no part of the controller reads arguments or the environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of Kubernetes manifests, the source of the mapping.
    pub manifests: PathBuf,
    /// Where filters call: `POST /v1/mapping`, `POST /v1/report`.
    pub filters_listen: SocketAddr,
    /// Where gateways and their control planes fetch the filter's module.
    pub wasm_listen: SocketAddr,
    /// Where Prometheus scrapes and probes ask.
    pub metrics_listen: SocketAddr,
    /// Where the ledger's log and snapshots live; `None` keeps the ledger in memory only.
    pub state_dir: Option<PathBuf>,
    /// How filters prove which gateway they are.
    pub tokens: Tokens,
    /// Which labels a target has beside namespace and Service.
    pub dimensions: Vec<Dimension>,
    /// Names of Service and Pod labels to expose as `label_<name>`.
    pub object_labels: Vec<String>,
    /// What filters record and how often.
    pub policy: Policy,
    /// Bounds of what is kept.
    pub series: SeriesLimits,
    /// The module that the wasm port serves.
    pub filter_module: &'static [u8],
    /// How ports are announced on stdout once all of them listen.
    pub announce: Announce,
    /// Bounds of the HTTP servers.
    pub http: HttpLimits,
}

/// How filters prove which gateway they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// One or two keys in a file, read again when it changes.
    KeyFile(PathBuf),
    /// No proof: whoever reaches the filters port reports for any gateway. For demos on one machine.
    Insecure,
}

/// A group of labels that a target can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// `kubernetes_service_port`.
    Port,
    /// `kubernetes_pod`.
    Pod,
    /// `kubernetes_workload_kind`, `kubernetes_workload`.
    Workload,
    /// `kubernetes_node`.
    Node,
    /// `topology_zone`.
    Zone,
    /// `gateway`.
    Gateway,
    /// `route`, added by the filter per request.
    Route,
}

/// Bounds of what the ledger keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Series (target and route) at most; further ones are counted in one overflow series.
    pub max: usize,
    /// A series of a target that is gone is dropped after this long without a change.
    pub expiry: Duration,
}

/// How ports are announced on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// Lines for people.
    Text,
    /// One line: `{"filters":"127.0.0.1:41234","wasm":"…","metrics":"…"}`.
    Json,
    /// Nothing.
    Silent,
}

/// Bounds of the HTTP servers. The defaults suit production; tests shorten the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections per port; further ones are closed at once.
    pub connections: usize,
    /// Calls in progress per port, held polls not counted; further ones get 503.
    pub calls: usize,
    /// From a connection's first byte to the end of a request's headers.
    pub header_timeout: Duration,
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
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

impl Dimension {
    /// All, in the order in which help lists them.
    pub const ALL: [Self; 7] = [
        Self::Port,
        Self::Pod,
        Self::Workload,
        Self::Node,
        Self::Zone,
        Self::Gateway,
        Self::Route,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Pod => "pod",
            Self::Workload => "workload",
            Self::Node => "node",
            Self::Zone => "zone",
            Self::Gateway => "gateway",
            Self::Route => "route",
        }
    }
}

impl std::fmt::Display for Dimension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
