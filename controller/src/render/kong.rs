//! Kong configuration with the filter in it: what Kong itself needs to load it, and the same attachment in two forms,
//! declarative configuration and Kubernetes objects. Text out, no IO; invariants as of the module above.
//!
//! The filter cannot be attached to all of Kong, only to routes and services. What each attachment says of its requests
//! (`identity`) is what they count for where no mapping tells better: errors that Kong makes itself, and everything
//! until the controller was first reached.

use std::fmt::Write as _;

use gaugeway_wire::{GatewayName, Nanos};
use serde_json::{Value, json};

use super::{
    HostPort,
    yaml::{indent, quote},
};
use crate::auth::Token;

/// Name of the filter in Kong: that of its files.
const FILTER: &str = "gaugeway";
/// Secret with the token, one per namespace.
const SECRET: &str = "gaugeway-token";

/// Everything that is rendered.
#[derive(Clone, Debug)]
pub struct Kong {
    /// The gateway that the filter speaks for.
    pub gateway: GatewayName,
    /// Proof of that; `None` where the controller runs without tokens.
    pub token: Option<Token>,
    /// The controller's filters port.
    pub controller: HostPort,
    /// Directory of Kong's filters.
    pub directory: String,
    /// The shortest time-out of the Kong services; `None` = Kong's default.
    pub timeout: Option<Nanos>,
    /// Namespaces whose routes are to be measured.
    pub namespaces: Vec<String>,
    /// Services that are to be measured each by itself.
    pub services: Vec<KongService>,
}

/// A Kubernetes Service, and Kong's service that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KongService {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Name of Kong's service.
    pub kong: String,
}

/// Why a text names no service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not NAMESPACE/NAME or NAMESPACE/NAME=KONG-SERVICE, such as shop/cart or shop/cart=cart-api"
)]
pub struct KongServiceError(String);

impl std::str::FromStr for KongService {
    type Err = KongServiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (object, kong) = match text.split_once('=') {
            Some((object, kong)) => (object, Some(kong)),
            None => (text, None),
        };
        let (namespace, name) = object.split_once('/').unwrap_or_default();
        let kong = kong.unwrap_or(name);
        let legal = is_label(namespace)
            && is_label(name)
            && (1..=128).contains(&kong.len())
            && kong.bytes().all(|byte| byte.is_ascii_graphic());
        if !legal {
            return Err(KongServiceError(text.to_owned()));
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            kong: kong.to_owned(),
        })
    }
}

/// Whether a text can be the name of a namespace or a Service (RFC 1123).
#[must_use]
pub fn is_label(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (first, last) = (text.bytes().next(), text.bytes().last());
    (1..=63).contains(&text.len())
        && first.is_some_and(legal)
        && last.is_some_and(legal)
        && text.bytes().all(|byte| legal(byte) || byte == b'-')
}

impl Kong {
    /// The filter's configuration for one attachment; `token` is left out where it comes from a Secret.
    fn configuration(&self, token: Option<&Token>, identity: &Value) -> Value {
        let mut configuration = json!({
            "gateway": self.gateway.as_str(),
            "controller": self.controller.to_string(),
            "identity": identity,
        });
        if let Some(token) = token {
            configuration["token"] = json!(token.as_str());
        }
        if let Some(timeout) = self.timeout {
            configuration["timeout_ms"] = json!(timeout.as_millis());
        }
        configuration
    }
}

/// What Kong needs to load the filter, as lines of `kong.conf`.
#[must_use]
pub fn kong_conf(kong: &Kong) -> String {
    let mut out = LOADING.to_owned();
    for (name, value, why) in settings(kong) {
        let _ = writeln!(out, "# {why}\n{name} = {value}");
    }
    out
}

/// The same as environment variables.
#[must_use]
pub fn environment(kong: &Kong) -> String {
    let mut out = LOADING.to_owned();
    for (name, value, why) in settings(kong) {
        let _ = writeln!(out, "# {why}\nKONG_{}={value}", name.to_uppercase());
    }
    out
}

const LOADING: &str = "\
# Kong 3.4 to 3.9 has WebAssembly in its images and packages; later ones do not (Enterprise dropped it with 3.11, the
# default builds since March 2025). Whether yours has it:
#   nginx -V 2>&1 | grep -o 'ngx_wasm[a-z]*_module'       (in Kong's image: /usr/local/openresty/nginx/sbin/nginx)
";

fn settings(kong: &Kong) -> [(&'static str, &str, &'static str); 3] {
    [
        (
            "wasm",
            "on",
            "Where wasm_filters is set, too, it must have `user` or `gaugeway` in it.",
        ),
        (
            "wasm_filters_path",
            &kong.directory,
            "Every NAME.wasm in it; gaugeway.meta.json must lie beside gaugeway.wasm. Written by: gaugeway filter --host kong --output DIR",
        ),
        (
            "nginx_wasm_proxy_wasm_lua_resolver",
            "on",
            "Filters find the controller's name through Kong's resolver; without this they ask 8.8.8.8.",
        ),
    ]
}

/// Declarative configuration (`kong.yml`, or for decK): a filter chain per service.
#[must_use]
pub fn declarative(kong: &Kong) -> String {
    let mut out = String::from(
        "# To be merged into the configuration that has these services. A service (or route) takes one chain: where it has\n\
         # one, add the filter to that, last. Since Kong 3.5; Kong 3.4 takes `config` as a string of the same JSON.\n\
         _format_version: \"3.0\"\n",
    );
    if kong.services.is_empty() {
        out.push_str(
            "# No service was named: gaugeway render kong --service NAMESPACE/NAME=KONG-SERVICE\n",
        );
        return out;
    }
    out.push_str("filter_chains:\n");
    for service in &kong.services {
        let identity = json!({ "namespace": service.namespace, "service": service.name });
        let configuration = kong.configuration(kong.token.as_ref(), &identity);
        let _ = write!(
            out,
            "- name: {}\n  service: {}\n  filters:\n  - name: {FILTER}\n    config:\n{}",
            quote(format!("gaugeway-{}-{}", service.namespace, service.name)),
            quote(&service.kong),
            indent(&block(&configuration), 6)
        );
    }
    out
}

/// Kubernetes objects for Kong's ingress controller: a KongPlugin per namespace and Service, with the token in a Secret.
#[must_use]
pub fn objects(kong: &Kong) -> String {
    let mut out = String::from(
        "# Since Kong 3.9: only that takes a filter as a plugin. Say with an annotation what is to be measured, each request\n\
         # by one of these:\n",
    );
    let mut documents = Vec::new();
    let mut namespaces: Vec<&str> = kong.namespaces.iter().map(String::as_str).collect();
    namespaces.extend(kong.services.iter().map(|service| &*service.namespace));
    namespaces.sort_unstable();
    namespaces.dedup();
    if let Some(token) = &kong.token {
        documents.extend(namespaces.iter().map(|namespace| secret(namespace, token)));
    }
    for namespace in &kong.namespaces {
        let _ = writeln!(
            out,
            "#   kubectl annotate --namespace {namespace} httproute NAME konghq.com/plugins=gaugeway      (or ingress NAME)"
        );
        let identity = json!({ "namespace": namespace });
        documents.push(plugin(kong, namespace, FILTER, &identity));
    }
    for service in &kong.services {
        let KongService {
            namespace, name, ..
        } = service;
        let plugin_name = format!("gaugeway-{name}");
        let _ = writeln!(
            out,
            "#   kubectl annotate --namespace {namespace} httproute NAME konghq.com/plugins={plugin_name}      (its routes; or ingress NAME)"
        );
        let identity = json!({ "namespace": namespace, "service": name });
        documents.push(plugin(kong, namespace, &plugin_name, &identity));
    }
    out.push_str(
        "# Where an object has that annotation already, append to it after a comma. Never annotate a Service: Kong's ingress\n\
         # controller drops routes whose backends differ in an annotation.\n",
    );
    out.push_str(&documents.join("---\n"));
    out
}

fn secret(namespace: &str, token: &Token) -> String {
    // The value is a JSON text: a string in quotes.
    let value = quote(json!(token.as_str()));
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {SECRET}\n  namespace: {}\nstringData:\n  token: {value}\n",
        quote(namespace)
    )
}

fn plugin(kong: &Kong, namespace: &str, name: &str, identity: &Value) -> String {
    let configuration = block(&kong.configuration(None, identity));
    let mut out = format!(
        "apiVersion: configuration.konghq.com/v1\nkind: KongPlugin\nmetadata:\n  name: {name}\n  namespace: {}\n\
         plugin: {FILTER}\nconfig:\n{}",
        quote(namespace),
        indent(&configuration, 2)
    );
    if kong.token.is_some() {
        let _ = write!(
            out,
            "configPatches:\n- path: /token\n  valueFrom:\n    secretKeyRef:\n      name: {SECRET}\n      key: token\n"
        );
    }
    out
}

/// All forms, each with the place where it belongs, and how to see that it works.
#[must_use]
pub fn guide(kong: &Kong) -> String {
    let gateway = &kong.gateway;
    format!(
        "# 1. In kong.conf, or the same as environment variables of Kong:\n{}\n{}\n\
         # 2. Without Kubernetes, in kong.yml:\n{}\n\
         # 3. With Kong's ingress controller, objects:\n{}\n\
         # 4. Whether it is loaded (Kong's Admin API; the module's name must be there):\n\
         #   curl -s localhost:8001/ | jq '[.configuration.wasm_modules_parsed[].name]'\n\
         # Kong's error log has a line that begins with \"gaugeway:\" where a configuration cannot be used or the\n\
         # controller does not answer. After the first requests, at the controller's /metrics, one per worker that served:\n\
         #   gaugeway_worker_vms{{gateway={}}}\n\
         # What Kong answers without a route, or another plugin before the filter, is not measured.\n",
        kong_conf(kong),
        commented(&environment_lines(kong)),
        declarative(kong),
        objects(kong),
        quote(gateway)
    )
}

fn environment_lines(kong: &Kong) -> String {
    let mut out = String::new();
    for (name, value, _) in settings(kong) {
        let _ = writeln!(out, "KONG_{}={value}", name.to_uppercase());
    }
    out
}

fn commented(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let _ = writeln!(out, "#   {line}");
    }
    out
}

/// An object of scalars and objects as a YAML block.
fn block(object: &Value) -> String {
    let mut out = String::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        let _ = match value {
            Value::Object(_) => write!(out, "{name}:\n{}", indent(&block(value), 2)),
            scalar => writeln!(out, "{name}: {scalar}"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_with_their_namespace() {
        let parsed = |text: &str| text.parse::<KongService>().ok();
        let of = |namespace: &str, name: &str, kong: &str| {
            Some(KongService {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                kong: kong.to_owned(),
            })
        };
        assert_eq!(parsed("shop/cart"), of("shop", "cart", "cart"));
        assert_eq!(parsed("shop/cart=cart.api"), of("shop", "cart", "cart.api"));
        for bad in [
            "",
            "cart",
            "/cart",
            "shop/",
            "shop/a/b",
            "Shop/cart",
            "shop/cart=",
            "shop/-a",
            "shop/a=b c",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn outside_strings_stay_values() {
        let object = json!({ "a": "x\n- b: c", "b": { "c": 1 } });
        assert_eq!(block(&object), "a: \"x\\n- b: c\"\nb:\n  c: 1\n");
    }
}
