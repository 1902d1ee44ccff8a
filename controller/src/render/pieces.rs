//! The pieces that put the filter into any Envoy configuration.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    CONTROLLER_CLUSTER, Code, Filter, HostPort, VM_ID, WASM_CLUSTER,
    yaml::{indent, quote},
};

/// Path of a module on the wasm port.
fn module_path(sha256: &str) -> String {
    format!("/v1/filter/{sha256}.wasm")
}

/// The filter's own configuration, JSON. Small on purpose: large plugin configurations are costly in Envoy.
#[must_use]
pub fn plugin_configuration(filter: &Filter) -> Value {
    let mut configuration = json!({
        "gateway": filter.gateway.as_str(),
        "cluster": CONTROLLER_CLUSTER,
    });
    if let Some(token) = &filter.token {
        configuration["token"] = json!(token.as_str());
    }
    if let Some(policy) = &filter.policy {
        configuration["policy"] = policy.clone();
    }
    configuration
}

/// An entry of `http_filters`, a list item at column 0. Belongs last before the router, so that it times the upstream
/// and not other filters.
#[must_use]
pub fn http_filter(filter: &Filter) -> String {
    let configuration = quote(plugin_configuration(filter));
    let code = indent(&code(&filter.code), 10);
    format!(
        r#"- name: gaugeway
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
    config:
      name: gaugeway
      root_id: gaugeway
      # A filter that fails must not fail traffic: requests pass unmeasured.
      failure_policy: FAIL_OPEN
      vm_config:
        # One VM per worker thread, shared by all configurations with this id and code.
        vm_id: {VM_ID}
        runtime: envoy.wasm.runtime.v8
        code:
{code}      configuration:
        "@type": type.googleapis.com/google.protobuf.StringValue
        value: {configuration}
"#
    )
}

fn code(code: &Code) -> String {
    match code {
        Code::File(path) => format!(
            "# Written by: gaugeway filter --output FILE\nlocal:\n  filename: {}\n",
            quote(path.display())
        ),
        Code::Remote { from, sha256 } => format!(
            r#"# Public and content-addressed: Envoy checks the sum.
remote:
  http_uri:
    uri: {}
    cluster: {WASM_CLUSTER}
    timeout: 10s
  sha256: {}
  retry_policy:
    num_retries: 10
"#,
            quote(format!("http://{from}{}", module_path(sha256))),
            quote(sha256)
        ),
    }
}

/// Entries of `clusters` that the filter needs, list items at column 0.
#[must_use]
pub fn controller_cluster(filter: &Filter) -> String {
    let mut out = cluster(
        CONTROLLER_CLUSTER,
        "The filter reports to it and asks it what addresses belong to.",
        &filter.controller,
    );
    if let Some(ca) = &filter.controller_ca {
        out.push_str(&tls(ca, &filter.controller));
    }
    if let Code::Remote { from, .. } = &filter.code {
        out.push_str(&cluster(
            WASM_CLUSTER,
            "Envoy fetches the filter's module from it.",
            from,
        ));
    }
    out
}

/// Idle connections are closed before the controller's own limit (30 s), so that none closes under a call.
fn cluster(name: &str, purpose: &str, address: &HostPort) -> String {
    let discovery = if address.is_ip() {
        "STATIC"
    } else {
        "STRICT_DNS"
    };
    format!(
        r#"# {purpose}
- name: {name}
  type: {discovery}
  connect_timeout: 2s
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      common_http_protocol_options:
        idle_timeout: 20s
      explicit_http_config:
        http_protocol_options: {{}}
  load_assignment:
    cluster_name: {name}
    endpoints:
    - lb_endpoints:
      - endpoint:
          address:
            socket_address: {{ address: {}, port_value: {} }}
"#,
        quote(address.host()),
        address.port()
    )
}

/// More of a cluster: its endpoints prove that they are `address`.
fn tls(ca: &Path, address: &HostPort) -> String {
    let host = quote(address.host());
    let (kind, sni) = if address.is_ip() {
        ("IP_ADDRESS", String::new())
    } else {
        ("DNS", format!("      sni: {host}\n"))
    };
    format!(
        r#"  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
{sni}      common_tls_context:
        validation_context:
          # Who signs the certificate of the controller's filters port.
          trusted_ca: {{ filename: {} }}
          match_typed_subject_alt_names:
          - {{ san_type: {kind}, matcher: {{ exact: {host} }} }}
"#,
        quote(ca.display())
    )
}

/// What an existing configuration needs, each piece with the place where it belongs.
#[must_use]
pub fn snippet(filter: &Filter) -> String {
    format!(
        "# 1. Last in `http_filters`, directly before envoy.filters.http.router:\n{}\n\
         # 2. In `static_resources.clusters`:\n{}",
        http_filter(filter),
        controller_cluster(filter)
    )
}
