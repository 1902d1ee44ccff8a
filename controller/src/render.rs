//! Gateway configuration with the filter in it. For Envoy a complete bootstrap, or only the two pieces that an existing
//! configuration needs; for Kong see [`kong`]. Text out, no IO; every choice carries a comment, because people read it.
//!
//! Invariants: every outside string is written as a quoted scalar, so no value can change the document's structure;
//! the filter fails open and stands last before the router.

mod bootstrap;
pub mod kong;
mod pieces;
pub mod routing;
mod yaml;

use std::{net::SocketAddr, path::PathBuf};

use gaugeway_wire::GatewayName;

use crate::auth::Token;

pub use bootstrap::bootstrap;
pub use pieces::{controller_cluster, http_filter, plugin_configuration, snippet};

/// Cluster name of the controller's filters port, in what is rendered.
pub const CONTROLLER_CLUSTER: &str = "gaugeway-controller";
/// Cluster name of the controller's wasm port, in what is rendered.
pub const WASM_CLUSTER: &str = "gaugeway-wasm";
/// VM id: all configurations of one Envoy with the same code share one VM per worker.
pub const VM_ID: &str = "gaugeway";

/// What the filter needs, in any configuration.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The gateway it speaks for.
    pub gateway: GatewayName,
    /// Proof of that; `None` where the controller runs without tokens.
    pub token: Option<Token>,
    /// The controller's filters port.
    pub controller: HostPort,
    /// File, as Envoy reads it, of the authorities that sign that port's certificate; `None` where it speaks plain HTTP.
    pub controller_ca: Option<PathBuf>,
    /// Where Envoy gets the module.
    pub code: Code,
    /// Policy in force until the controller's first answer, as JSON; `None` = the filter's own defaults.
    pub policy: Option<serde_json::Value>,
}

/// Where Envoy gets the module.
#[derive(Clone, Debug)]
pub enum Code {
    /// A file that Envoy can read.
    File(PathBuf),
    /// The controller's wasm port.
    Remote {
        /// Its address.
        from: HostPort,
        /// SHA-256 of the module, lowercase hex.
        sha256: String,
    },
}

/// A host name or IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// Why a text is not `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not HOST:PORT, such as gaugeway.monitoring:7080, 127.0.0.1:7080 or [::1]:7080")]
pub struct HostPortError(String);

/// A complete bootstrap: one listener, its routes, its clusters.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The filter.
    pub filter: Filter,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Envoy's admin interface; `None` leaves it out.
    pub admin: Option<SocketAddr>,
    /// File of the access log, one JSON object per request with Envoy's own timing; `None` leaves it out.
    pub access_log: Option<PathBuf>,
    /// Routes, in the order in which they are tried.
    pub routes: Vec<Route>,
    /// Clusters that `routes` name.
    pub clusters: Vec<Cluster>,
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, what the filter reports as `route`.
    pub name: String,
    /// Host names it serves; empty = all.
    pub hostnames: Vec<String>,
    /// What it matches.
    pub matches: Match,
    /// Where it leads. Empty: answered 500, as the Gateway API asks.
    pub backends: Vec<Backend>,
    /// Time for the whole response in milliseconds, 0 = none; `None` leaves Envoy's default (15 s).
    pub timeout_ms: Option<u64>,
}

/// What a route matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The path.
    pub path: PathMatch,
    /// The method, exactly.
    pub method: Option<String>,
    /// Headers, name and exact value.
    pub headers: Vec<(String, String)>,
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole path segments.
    Prefix(String),
    /// An RE2 expression over the whole path.
    Regex(String),
}

/// A cluster with its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Name of a cluster.
    pub cluster: String,
    /// Its share among the route's backends.
    pub weight: u32,
}

/// Endpoints under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `<namespace>/<service>/<port>`: the controller recognises this form in hints and `cluster:` keys.
    pub name: String,
    /// Addresses of ready endpoints.
    pub endpoints: Vec<SocketAddr>,
}

impl HostPort {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn is_ip(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_ok()
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl std::str::FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || HostPortError(text.to_owned());
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || host.len() > 253 || !host.chars().all(legal) {
            return Err(refuse());
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| refuse())?,
        })
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Match {
    /// Every request.
    #[must_use]
    pub fn all() -> Self {
        Self {
            path: PathMatch::Prefix("/".to_owned()),
            method: None,
            headers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_parse_and_print_alike() {
        for text in ["gaugeway.monitoring:7080", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "host",
            ":80",
            "host:",
            "host:x",
            "host:70000",
            "a b:1",
            "::1:80",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
