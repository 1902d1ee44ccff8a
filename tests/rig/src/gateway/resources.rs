//! Envoy's own words for a [`GatewayConfig`].

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::config::{Backend, Cluster, FilterInstance, GatewayConfig, Route, Trust};
use crate::oracle::access_log_format;

const TYPE: &str = "type.googleapis.com/envoy";

pub(super) fn cds(dir: &Path) -> PathBuf {
    dir.join("cds.json")
}

pub(super) fn lds(dir: &Path) -> PathBuf {
    dir.join("lds.json")
}

pub(super) fn access_log(dir: &Path) -> PathBuf {
    dir.join("access.log")
}

pub(super) fn bootstrap(dir: &Path) -> Value {
    let watched = |path: PathBuf| json!({ "resource_api_version": "V3", "path_config_source": { "path": path } });
    json!({
        "node": { "id": "rig", "cluster": "rig" },
        "admin": { "address": address(([127, 0, 0, 1], 0).into()) },
        "bootstrap_extensions": [{
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": { "@type": format!("{TYPE}.extensions.bootstrap.internal_listener.v3.InternalListener") },
        }],
        "dynamic_resources": { "cds_config": watched(cds(dir)), "lds_config": watched(lds(dir)) },
    })
}

pub(super) fn cluster(cluster: &Cluster) -> Value {
    let endpoints: Vec<_> = cluster
        .endpoints
        .iter()
        .map(|at| address(*at))
        .chain(cluster.odd_endpoints.iter().cloned())
        .map(|address| json!({ "endpoint": { "address": address } }))
        .collect();
    let thresholds = json!({
        "max_connections": cluster.max_connections.unwrap_or(4096),
        "max_pending_requests": cluster.max_pending.unwrap_or(4096),
        "max_requests": 65_536,
        "max_retries": 4096,
    });
    let mut value = json!({
        "@type": format!("{TYPE}.config.cluster.v3.Cluster"),
        "name": cluster.name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": { "thresholds": [thresholds] },
        "load_assignment": {
            "cluster_name": cluster.name,
            "endpoints": [{ "lb_endpoints": endpoints }],
        },
    });
    if cluster.h2 {
        value["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": format!("{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": { "http2_protocol_options": {} },
            }
        });
    }
    if let Some(Trust { authorities, name }) = &cluster.trust {
        value["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": format!("{TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
                "sni": name,
                "common_tls_context": { "validation_context": {
                    "trusted_ca": { "filename": authorities },
                    "match_typed_subject_alt_names": [{ "san_type": "DNS", "matcher": { "exact": name } }],
                } },
            },
        });
    }
    value
}

pub(super) fn listener(dir: &Path, config: &GatewayConfig, listen: SocketAddr) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": format!("{TYPE}.extensions.filters.http.router.v3.Router") },
    });
    let ours = config
        .filters
        .iter()
        .enumerate()
        .map(|(n, instance)| filter(n, instance));
    let filters: Vec<_> = config
        .before
        .iter()
        .cloned()
        .chain(ours)
        .chain(config.after.iter().cloned())
        .chain([router])
        .collect();
    let manager = json!({
        "@type": format!("{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
        "access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": format!("{TYPE}.extensions.access_loggers.file.v3.FileAccessLog"),
                "path": access_log(dir),
                "log_format": { "json_format": access_log_format() },
            },
        }],
        "route_config": {
            "name": "routes",
            "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "include_request_attempt_count": true,
                "routes": config.routes.iter().map(route).collect::<Vec<_>>(),
            }],
        },
        "http_filters": filters,
    });
    json!({
        "@type": format!("{TYPE}.config.listener.v3.Listener"),
        "name": "gateway",
        "address": address(listen),
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }],
        }],
    })
}

fn filter(number: usize, instance: &FilterInstance) -> Value {
    let string = |value: String| json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": value });
    json!({
        "name": format!("gaugeway-{number}"),
        "typed_config": {
            "@type": format!("{TYPE}.extensions.filters.http.wasm.v3.Wasm"),
            "config": {
                "name": format!("gaugeway-{number}"),
                "root_id": instance.root_id,
                "failure_policy": "FAIL_OPEN",
                "configuration": string(instance.configuration.to_string()),
                "vm_config": {
                    "vm_id": instance.vm_id,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": instance.module } },
                },
            },
        },
    })
}

fn route(route: &Route) -> Value {
    let mut value = json!({
        "name": route.name,
        "match": { "prefix": route.prefix },
        "typed_per_filter_config": route.per_filter,
    });
    let mut action = match &route.backend {
        Backend::Direct(status) => {
            value["direct_response"] =
                json!({ "status": status, "body": { "inline_string": "direct\n" } });
            return value;
        }
        Backend::Cluster(name) => json!({ "cluster": name }),
        Backend::Weighted(parts) => {
            let parts: Vec<_> = parts
                .iter()
                .map(|(name, weight)| json!({ "name": name, "weight": weight }))
                .collect();
            json!({ "weighted_clusters": { "clusters": parts } })
        }
    };
    let timeout = route.timeout.map_or(0.0, |timeout| timeout.as_secs_f64());
    action["timeout"] = json!(format!("{timeout}s"));
    if route.retries > 0 {
        action["retry_policy"] = json!({
            "retry_on": "5xx,reset,connect-failure",
            "num_retries": route.retries,
            "retry_back_off": { "base_interval": "0.001s", "max_interval": "0.002s" },
        });
    }
    for (name, more) in route.action.as_object().into_iter().flatten() {
        action[name] = more.clone();
    }
    value["route"] = action;
    value
}

fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}
