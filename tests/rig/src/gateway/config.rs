//! What a test says about its gateway.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::{Value, json};

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct GatewayConfig {
    /// Upstream clusters.
    pub clusters: Vec<Cluster>,
    /// Routes, the first that fits counts.
    pub routes: Vec<Route>,
    /// HTTP filters before ours (typed filter configurations).
    pub before: Vec<Value>,
    /// Our filter; several are several roots.
    pub filters: Vec<FilterInstance>,
    /// HTTP filters after ours, before the router.
    pub after: Vec<Value>,
    /// Listeners beside the gateway's own, in Envoy's own words.
    pub listeners: Vec<Value>,
    /// The controller's filters port; makes the cluster [`FilterInstance::CONTROLLER`].
    pub controller: Option<SocketAddr>,
    /// That port speaks TLS: whom to trust.
    pub controller_trust: Option<Trust>,
}

/// Whom a cluster by TLS trusts.
#[derive(Clone, Debug)]
pub struct Trust {
    /// File with the authorities, in PEM.
    pub authorities: PathBuf,
    /// Name that its certificate must be for.
    pub name: String,
}

/// One upstream cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name; `<namespace>/<service>/<port>` lets the controller recognise it.
    pub name: String,
    /// Endpoints; none makes requests fail with "no healthy upstream".
    pub endpoints: Vec<SocketAddr>,
    /// HTTP/2 without TLS to the endpoints.
    pub h2: bool,
    /// Circuit breaker: connections. With [`Cluster::max_pending`] small, more requests overflow.
    pub max_connections: Option<u32>,
    /// Circuit breaker: requests that wait for a connection.
    pub max_pending: Option<u32>,
    /// Endpoints in Envoy's own words, beside the others: Unix sockets, internal listeners.
    pub odd_endpoints: Vec<Value>,
    /// TLS to the endpoints.
    pub trust: Option<Trust>,
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Path prefix.
    pub prefix: String,
    /// Where to.
    pub backend: Backend,
    /// Route timeout; `None`: none at all.
    pub timeout: Option<Duration>,
    /// Retries on 5xx, resets and refused connections.
    pub retries: u32,
    /// Filter configurations of this route alone, by filter name.
    pub per_filter: Value,
    /// More of the route's action, in Envoy's own words.
    pub action: Value,
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub enum Backend {
    /// One cluster.
    Cluster(String),
    /// Several, with weights.
    Weighted(Vec<(String, u32)>),
    /// An answer of Envoy's own.
    Direct(u16),
}

/// Our filter, configured.
#[derive(Clone, Debug)]
pub struct FilterInstance {
    /// The wasm module.
    pub module: PathBuf,
    /// Names the VM; another name is another VM.
    pub vm_id: String,
    /// Names the root.
    pub root_id: String,
    /// Plugin configuration.
    pub configuration: Value,
}

impl FilterInstance {
    /// Name of the controller's cluster.
    pub const CONTROLLER: &str = "gaugeway-controller";

    /// Configured for `gateway` with a `token`.
    #[must_use]
    pub fn new(module: PathBuf, gateway: &str, token: &str) -> Self {
        Self {
            module,
            vm_id: "gaugeway".into(),
            root_id: String::new(),
            configuration: json!({
                "gateway": gateway,
                "cluster": Self::CONTROLLER,
                "authority": "gaugeway",
                "token": token,
            }),
        }
    }

    /// With a policy to use until the controller's arrives.
    #[must_use]
    pub fn policy(mut self, policy: Value) -> Self {
        self.configuration["policy"] = policy;
        self
    }
}

impl Cluster {
    /// Plain HTTP/1.1 to these endpoints.
    #[must_use]
    pub fn new(name: &str, endpoints: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            name: name.to_owned(),
            endpoints: endpoints.into_iter().collect(),
            h2: false,
            max_connections: None,
            max_pending: None,
            odd_endpoints: Vec::new(),
            trust: None,
        }
    }

    /// With one more endpoint, whose address is in Envoy's own words.
    #[must_use]
    pub fn odd_endpoint(mut self, address: Value) -> Self {
        self.odd_endpoints.push(address);
        self
    }

    /// HTTP/2 without TLS.
    #[must_use]
    pub fn h2(mut self) -> Self {
        self.h2 = true;
        self
    }

    /// With circuit breakers.
    #[must_use]
    pub fn limits(mut self, connections: u32, pending: u32) -> Self {
        self.max_connections = Some(connections);
        self.max_pending = Some(pending);
        self
    }
}

impl Route {
    /// A route without timeout and retries.
    #[must_use]
    pub fn new(prefix: &str, backend: Backend) -> Self {
        Self {
            name: prefix.trim_matches('/').to_owned(),
            prefix: prefix.to_owned(),
            backend,
            timeout: None,
            retries: 0,
            per_filter: json!({}),
            action: json!({}),
        }
    }

    /// To one cluster.
    #[must_use]
    pub fn to(prefix: &str, cluster: &str) -> Self {
        Self::new(prefix, Backend::Cluster(cluster.to_owned()))
    }

    /// With a route timeout.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// With retries.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// With this in its action, in Envoy's own words.
    #[must_use]
    pub fn action(mut self, name: &str, value: Value) -> Self {
        self.action[name] = value;
        self
    }

    /// With a filter configuration of its own.
    #[must_use]
    pub fn per_filter(mut self, filter: &str, configuration: Value) -> Self {
        self.per_filter[filter] = configuration;
        self
    }
}

impl GatewayConfig {
    /// All clusters, the controller's among them.
    pub(super) fn clusters(&self) -> impl Iterator<Item = Cluster> {
        let controller = self.controller.map(|address| Cluster {
            trust: self.controller_trust.clone(),
            ..Cluster::new(FilterInstance::CONTROLLER, [address])
        });
        self.clusters.iter().cloned().chain(controller)
    }

    /// A filter (for `before`/`after`) that holds every request for `delay`.
    #[must_use]
    pub fn delay_filter(delay: Duration) -> Value {
        json!({
            "name": "envoy.filters.http.fault",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "delay": {
                    "fixed_delay": format!("{}s", delay.as_secs_f64()),
                    "percentage": { "numerator": 100 }
                }
            }
        })
    }
}
