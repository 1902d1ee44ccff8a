//! What the renderer reads of Kubernetes objects, and no more.

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result};
use gaugeway_wire::GatewayName;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::PathMatch;

/// Label that says whose endpoints a slice holds.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Objects by kind.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) routes: Vec<HttpRoute>,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    /// Objects that do not fit their kind.
    pub(super) issues: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Name {
    #[serde(default = "default_namespace")]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct HttpRoute {
    pub(super) metadata: Name,
    #[serde(default)]
    pub(super) spec: HttpRouteSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct HttpRouteSpec {
    parent_refs: Vec<ParentRef>,
    pub(super) hostnames: Vec<String>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct ParentRef {
    kind: Option<String>,
    namespace: Option<String>,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    matches: Vec<RuleMatch>,
    pub(super) filters: Vec<Value>,
    pub(super) backend_refs: Vec<BackendRef>,
    pub(super) timeouts: Option<Timeouts>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Timeouts {
    pub(super) request: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RuleMatch {
    pub(super) path: Option<RulePath>,
    pub(super) method: Option<String>,
    pub(super) headers: Vec<RuleHeader>,
    pub(super) query_params: Vec<Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RulePath {
    #[serde(rename = "type")]
    kind: Option<String>,
    value: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RuleHeader {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct BackendRef {
    group: Option<String>,
    kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) port: Option<u16>,
    pub(super) weight: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Service {
    metadata: Name,
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Debug, Default, Deserialize)]
struct ServiceSpec {
    #[serde(default)]
    ports: Vec<Port>,
}

#[derive(Debug, Deserialize)]
struct Port {
    #[serde(default)]
    name: Option<String>,
    port: Option<u16>,
}

#[derive(Debug, Deserialize)]
struct EndpointSlice {
    metadata: SliceMetadata,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct SliceMetadata {
    #[serde(default = "default_namespace")]
    namespace: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

fn default_namespace() -> String {
    "default".to_owned()
}

/// Reads all files of a directory.
///
/// # Errors
/// When one cannot be read or is no YAML.
pub(super) fn read(directory: &Path) -> Result<Objects> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let wanted = ["yaml", "yml", "json"]
            .iter()
            .any(|e| path.extension().is_some_and(|x| x == *e));
        if wanted && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let mut documents = Vec::new();
    for file in files {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let parsed: Vec<Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("{} is no YAML", file.display()))?;
        documents.extend(parsed);
    }
    Ok(Objects::sort(documents))
}

impl Objects {
    pub(super) fn sort(documents: Vec<Value>) -> Self {
        let mut objects = Self::default();
        for document in documents {
            objects.add(document);
        }
        objects
    }

    fn add(&mut self, mut document: Value) {
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "HTTPRoute" => Self::parse(&kind, document, &mut self.issues, &mut self.routes),
            "Service" => Self::parse(&kind, document, &mut self.issues, &mut self.services),
            "EndpointSlice" => Self::parse(&kind, document, &mut self.issues, &mut self.slices),
            "List" => {
                if let Value::Array(items) = document["items"].take() {
                    items.into_iter().for_each(|item| self.add(item));
                }
            }
            _ => {}
        }
    }

    fn parse<T: DeserializeOwned>(
        kind: &str,
        document: Value,
        issues: &mut Vec<String>,
        into: &mut Vec<T>,
    ) {
        let metadata = &document["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        let name = metadata["name"].as_str().unwrap_or("?");
        let at = format!("{kind} {namespace}/{name}");
        match serde_json::from_value(document) {
            Ok(object) => into.push(object),
            Err(error) => issues.push(format!("{at}: {error}")),
        }
    }

    /// Addresses of the ready endpoints behind a port of a Service.
    ///
    /// # Errors
    /// What is missing, in a few words.
    pub(super) fn endpoints(&self, name: &Name, port: u16) -> Result<Vec<SocketAddr>, String> {
        let service = self
            .services
            .iter()
            .find(|service| service.metadata == *name)
            .ok_or_else(|| format!("there is no Service {name}"))?;
        let port_name = service
            .spec
            .ports
            .iter()
            .find(|p| p.port == Some(port))
            .ok_or_else(|| format!("Service {name} has no port {port}"))?
            .name();
        let mut addresses: Vec<SocketAddr> = self
            .slices
            .iter()
            .filter(|slice| slice.belongs_to(name))
            .flat_map(|slice| slice.addresses(port_name))
            .collect();
        addresses.sort();
        addresses.dedup();
        Ok(addresses)
    }
}

impl Port {
    /// A Service with one port may leave its name out; slices then do as well.
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

impl EndpointSlice {
    fn belongs_to(&self, service: &Name) -> bool {
        self.metadata.namespace == service.namespace
            && self.metadata.labels.get(SERVICE_LABEL) == Some(&service.name)
    }

    fn addresses(&self, port_name: &str) -> impl Iterator<Item = SocketAddr> {
        let port = self
            .ports
            .iter()
            .find(|p| p.name() == port_name)
            .and_then(|p| p.port);
        let ready = self
            .endpoints
            .iter()
            .filter(|e| e.conditions.ready != Some(false));
        let ips = ready
            .flat_map(|e| &e.addresses)
            .filter_map(|a| a.parse::<IpAddr>().ok());
        ips.filter_map(move |ip| Some(SocketAddr::new(ip, port?)))
    }
}

impl HttpRoute {
    pub(super) fn is_attached_to(&self, gateway: &GatewayName) -> bool {
        self.spec.parent_refs.iter().any(|parent| {
            let namespace = parent
                .namespace
                .as_ref()
                .unwrap_or(&self.metadata.namespace);
            let is_gateway = parent.kind.as_deref().is_none_or(|kind| kind == "Gateway");
            is_gateway && gateway.as_str().split_once('/') == Some((namespace, &parent.name))
        })
    }
}

impl Rule {
    /// Without a match a rule matches everything.
    pub(super) fn matches(&self) -> Vec<RuleMatch> {
        if self.matches.is_empty() {
            vec![RuleMatch::default()]
        } else {
            self.matches.clone()
        }
    }
}

impl RulePath {
    /// `None` for a type that later versions may bring.
    pub(super) fn to_match(&self) -> Option<PathMatch> {
        let value = self.value.clone().unwrap_or_else(|| "/".to_owned());
        match self.kind.as_deref() {
            None | Some("PathPrefix") => Some(PathMatch::Prefix(value)),
            Some("Exact") => Some(PathMatch::Exact(value)),
            Some("RegularExpression") => Some(PathMatch::Regex(value)),
            Some(_) => None,
        }
    }
}

impl RuleHeader {
    pub(super) fn to_exact(&self) -> Option<(String, String)> {
        let is_exact = self.kind.as_deref().is_none_or(|kind| kind == "Exact");
        is_exact.then(|| (self.name.clone(), self.value.clone()))
    }
}

impl BackendRef {
    pub(super) fn is_service(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "Service")
            && self.group.as_deref().is_none_or(str::is_empty)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Gateway API, GEP-2257: up to four numbers with units h, m, s, ms, such as `1m30s`.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let unit_ms = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
        total = total.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_api_durations() {
        assert_eq!(duration_ms("1m30s500ms"), Some(90_500));
        assert_eq!(duration_ms("0s"), Some(0));
        for bad in ["", "5", "s", "1.5s", "-1s", "1d", "99999999999999999999s"] {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }
}
