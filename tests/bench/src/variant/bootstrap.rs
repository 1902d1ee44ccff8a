//! Envoy's bootstrap for a variant: as little as possible beside the filters, no access log.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

/// The listener's name.
pub(super) const LISTENER: &str = "gateway";
/// The controller's cluster.
pub(super) const CONTROLLER: &str = "gaugeway-controller";

const UPSTREAM: &str = "bench/upstream/80";
const TYPE: &str = "type.googleapis.com/envoy.extensions.filters";

/// With `copies` of `module`, if there is one.
pub(super) fn bootstrap(
    module: Option<&Path>,
    copies: u32,
    configuration: &Value,
    upstreams: &[SocketAddr],
    controller: Option<SocketAddr>,
) -> Value {
    let copies = module
        .into_iter()
        .flat_map(|module| (0..copies).map(|n| filter(n, module, configuration)));
    let router = json!({
        "name": "router",
        "typed_config": { "@type": format!("{TYPE}.http.router.v3.Router") },
    });
    let filters: Vec<_> = copies.chain([router]).collect();
    let clusters: Vec<_> = [cluster(UPSTREAM, upstreams)]
        .into_iter()
        .chain(controller.map(|address| cluster(CONTROLLER, &[address])))
        .collect();
    json!({
        "admin": { "address": address(([127, 0, 0, 1], 0).into()) },
        "static_resources": { "listeners": [listener(&filters)], "clusters": clusters },
    })
}

fn listener(filters: &[Value]) -> Value {
    let route =
        json!({ "name": "all", "match": { "prefix": "/" }, "route": { "cluster": UPSTREAM } });
    let manager = json!({
        "@type": format!("{TYPE}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench",
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
        "http_filters": filters,
    });
    json!({
        "name": LISTENER,
        "address": address(([127, 0, 0, 1], 0).into()),
        "filter_chains": [{ "filters": [{ "name": "manager", "typed_config": manager }] }],
    })
}

fn filter(number: u32, module: &Path, configuration: &Value) -> Value {
    let name = format!("bench-{number}");
    json!({
        "name": name,
        "typed_config": {
            "@type": format!("{TYPE}.http.wasm.v3.Wasm"),
            "config": {
                "name": name,
                // The host's default closes on failure; a filter that fails would not go unseen.
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration.to_string(),
                },
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module } },
                },
            },
        },
    })
}

fn cluster(name: &str, at: &[SocketAddr]) -> Value {
    let endpoint = |&at| json!({ "endpoint": { "address": address(at) } });
    let endpoints: Vec<_> = at.iter().map(endpoint).collect();
    json!({
        "name": name,
        "connect_timeout": "5s",
        // Each address keeps a connection.
        "circuit_breakers": { "thresholds": [{ "max_connections": at.len() + 1024 }] },
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": endpoints }] },
    })
}

fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}
