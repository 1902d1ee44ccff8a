//! A complete bootstrap.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use super::{
    Backend, Bootstrap, Cluster, Match, PathMatch, Route,
    pieces::{controller_cluster, http_filter},
    yaml::{indent, quote},
};

/// The access log's fields: what the filter counted, and Envoy's own timing to compare it with.
const ACCESS_LOG_FIELDS: &[(&str, &str)] = &[
    ("start", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("path", "%PATH%"),
    ("code", "%RESPONSE_CODE%"),
    ("flags", "%RESPONSE_FLAGS%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("route", "%ROUTE_NAME%"),
    ("cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream", "%UPSTREAM_HOST%"),
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    // Request received to first upstream byte, microseconds: equals the filter's latency when nothing was retried
    // and no filter before it waited.
    ("latency_us", "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%"),
    // Last attempt, without waiting for a connection.
    ("attempt_us", "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%"),
];

/// A complete, commented bootstrap.
#[must_use]
pub fn bootstrap(b: &Bootstrap) -> String {
    let mut out = format!(
        "# Envoy with Gaugeway for the gateway {}.\n\
         # Check: envoy --mode validate -c FILE    Run: envoy -c FILE\n",
        b.filter.gateway
    );
    if let Some(admin) = b.admin {
        let _ = write!(
            out,
            "admin:\n  address:\n    socket_address: {}\n",
            socket_address(admin)
        );
    }
    out.push_str("static_resources:\n  listeners:\n");
    out.push_str(&indent(&listener(b), 2));
    out.push_str("  clusters:\n");
    out.push_str(&indent(&controller_cluster(&b.filter), 2));
    for cluster in &b.clusters {
        out.push_str(&indent(&service_cluster(cluster), 2));
    }
    out
}

fn listener(b: &Bootstrap) -> String {
    let access_log = b.access_log.as_deref().map(access_log).unwrap_or_default();
    format!(
        r#"- name: gateway
  address:
    socket_address: {}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: gateway
{}        route_config:
          name: gateway
          virtual_hosts:
{}        http_filters:
        # Other filters belong here, before gaugeway: their time is not upstream time.
{}        - name: envoy.filters.http.router
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#,
        socket_address(b.listen),
        indent(&access_log, 8),
        indent(&virtual_hosts(&b.routes), 10),
        indent(&http_filter(&b.filter), 8),
    )
}

fn access_log(path: &Path) -> String {
    let mut out = format!(
        r#"access_log:
- name: envoy.access_loggers.file
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
    path: {}
    log_format:
      json_format:
"#,
        quote(path.display())
    );
    for (name, format) in ACCESS_LOG_FIELDS {
        let _ = writeln!(out, "        {name}: {}", quote(format));
    }
    out
}

/// Envoy picks the virtual host of the most specific domain; `*` is the last resort.
fn virtual_hosts(routes: &[Route]) -> String {
    let mut domains: Vec<&str> = routes
        .iter()
        .flat_map(|r| r.hostnames.iter().map(String::as_str))
        .collect();
    domains.sort_unstable();
    domains.dedup();
    if domains.is_empty() || routes.iter().any(|r| r.hostnames.is_empty()) {
        domains.push("*");
    }
    let mut out = String::new();
    for domain in domains {
        // A route without host names serves every host.
        let serves = |r: &&Route| r.hostnames.is_empty() || r.hostnames.iter().any(|h| h == domain);
        let _ = write!(
            out,
            "- name: {0}\n  domains: [{0}]\n  routes:{1}\n",
            quote(domain),
            if routes.iter().any(|r| serves(&r)) {
                ""
            } else {
                " []"
            }
        );
        for r in routes.iter().filter(serves) {
            out.push_str(&indent(&route(r), 2));
        }
    }
    out
}

fn route(r: &Route) -> String {
    let mut out = format!("- name: {}\n  match:\n", quote(&r.name));
    out.push_str(&indent(&matches(&r.matches), 4));
    out.push_str(&indent(&action(r), 2));
    out
}

fn matches(m: &Match) -> String {
    let mut out = match &m.path {
        PathMatch::Exact(path) => format!("path: {}\n", quote(path)),
        PathMatch::Prefix(path) => match path.trim_end_matches('/') {
            "" => "prefix: \"/\"\n".to_owned(),
            path => format!("path_separated_prefix: {}\n", quote(path)),
        },
        PathMatch::Regex(regex) => format!("safe_regex: {{ regex: {} }}\n", quote(regex)),
    };
    let method = m.method.as_ref().map(|method| (":method", method.as_str()));
    let headers = m.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let headers: Vec<_> = method.into_iter().chain(headers).collect();
    if !headers.is_empty() {
        out.push_str("headers:\n");
    }
    for (name, value) in headers {
        let _ = writeln!(
            out,
            "- {{ name: {}, string_match: {{ exact: {} }} }}",
            quote(name),
            quote(value)
        );
    }
    out
}

fn action(r: &Route) -> String {
    let total: u64 = r.backends.iter().map(|b| u64::from(b.weight)).sum();
    if total == 0 {
        // The Gateway API asks for 500 when a rule has no valid backend.
        return "direct_response: { status: 500 }\n".to_owned();
    }
    let mut out = String::from("route:\n");
    match r.backends.as_slice() {
        [only] => {
            let _ = writeln!(out, "  cluster: {}", quote(&only.cluster));
        }
        backends => {
            out.push_str("  weighted_clusters:\n    clusters:\n");
            for Backend { cluster, weight } in backends {
                let _ = writeln!(
                    out,
                    "    - {{ name: {}, weight: {weight} }}",
                    quote(cluster)
                );
            }
        }
    }
    if let Some(ms) = r.timeout_ms {
        let _ = writeln!(out, "  timeout: {}.{:03}s", ms / 1000, ms % 1000);
    }
    out
}

fn service_cluster(c: &Cluster) -> String {
    let mut out = format!(
        "- name: {0}\n  type: STATIC\n  connect_timeout: 2s\n  load_assignment:\n    cluster_name: {0}\n    endpoints:\n    - lb_endpoints:{1}\n",
        quote(&c.name),
        if c.endpoints.is_empty() { " []" } else { "" }
    );
    for endpoint in &c.endpoints {
        let _ = writeln!(
            out,
            "      - endpoint: {{ address: {{ socket_address: {} }} }}",
            socket_address(*endpoint)
        );
    }
    out
}

fn socket_address(address: SocketAddr) -> String {
    format!(
        "{{ address: {}, port_value: {} }}",
        quote(address.ip()),
        address.port()
    )
}
