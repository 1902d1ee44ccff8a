//! Services: their virtual addresses, ports and labels.

use std::net::IpAddr;

use hashbrown::HashMap;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use smallvec::SmallVec;

use crate::{
    backend::{Backend, BackendPort, Backends},
    key::{PortRef, SocketKey},
    name::{NameRef, ObjectName},
    text::{Interner, LabelSet, Text},
};

/// Ports of a Service, at most.
const MAX_PORTS: usize = 256;
/// Virtual addresses of a Service, at most.
const MAX_ADDRESSES: usize = 64;

/// What matters of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceRecord {
    /// ClusterIPs, external and load balancer addresses. None of a headless or ExternalName Service.
    ips: Box<[IpAddr]>,
    ports: Box<[ServicePort]>,
    pub(crate) labels: LabelSet,
    /// ExternalName: a name in DNS, so it has no endpoints.
    pub(crate) is_external: bool,
    /// Kong's operator scrapes it: its own plugin is among those of the Service.
    pub(crate) is_scraped: bool,
}

/// Annotation that names plugins of Kong.
const KONG_PLUGINS: &str = "konghq.com/plugins";
/// What the plugin of Kong's operator is called, after the Service's name.
const KONG_OPERATORS_PLUGIN: &str = "-metrics-prometheus";

/// A TCP port. UDP and SCTP carry no HTTP that a gateway's filter sees.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ServicePort {
    name: Option<Text>,
    number: u16,
}

impl ServiceRecord {
    pub(crate) fn new(service: &Service, texts: &mut Interner) -> Self {
        let spec = service.spec.as_ref();
        let labels = service.metadata.labels.iter().flatten();
        Self {
            ips: addresses(service),
            ports: spec.map(|s| ports(s, texts)).unwrap_or_default(),
            labels: texts.labels(labels.map(|(k, v)| (k.as_str(), v.as_str()))),
            is_external: spec.and_then(|s| s.type_.as_deref()) == Some("ExternalName"),
            is_scraped: is_scraped(service),
        }
    }

    /// Neither virtual addresses nor a name in DNS: its Pods are reached directly.
    pub(crate) fn is_headless(&self) -> bool {
        self.ips.is_empty() && !self.is_external
    }

    /// Its virtual addresses with its ports.
    pub(crate) fn keys(&self) -> impl Iterator<Item = SocketKey> {
        let ips = self.ips.iter();
        ips.flat_map(|ip| self.ports.iter().map(|p| SocketKey::new(*ip, p.number)))
    }

    /// Every port.
    pub(crate) fn ports(&self) -> impl Iterator<Item = BackendPort> {
        self.ports.iter().map(ServicePort::backend)
    }

    fn port_by_number(&self, number: u16) -> Option<BackendPort> {
        let port = self.ports.iter().find(|p| p.number == number);
        port.map(ServicePort::backend)
    }

    fn port_by_name(&self, name: Option<&str>) -> Option<BackendPort> {
        let port = self.ports.iter().find(|p| p.name.as_deref() == name);
        port.map(ServicePort::backend)
    }

    /// The only port, if there is just one.
    fn only_port(&self) -> Option<BackendPort> {
        match &*self.ports {
            [port] => Some(port.backend()),
            _ => None,
        }
    }
}

fn is_scraped(service: &Service) -> bool {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let annotations = service.metadata.annotations.as_ref();
    let plugins = annotations.and_then(|all| all.get(KONG_PLUGINS));
    let mut plugins = plugins.into_iter().flat_map(|list| list.split(','));
    plugins.any(|plugin| plugin.trim().strip_suffix(KONG_OPERATORS_PLUGIN) == Some(name))
}

impl ServicePort {
    fn backend(&self) -> BackendPort {
        BackendPort {
            name: self.name.clone(),
            number: Some(self.number),
            endpoint: None,
        }
    }
}

fn ports(spec: &ServiceSpec, texts: &mut Interner) -> Box<[ServicePort]> {
    let tcp = spec.ports.iter().flatten();
    let tcp = tcp.filter(|p| p.protocol.as_deref().is_none_or(|p| p == "TCP"));
    let mut ports: Vec<_> = tcp
        .filter_map(|p| {
            Some(ServicePort {
                name: texts.some(p.name.as_deref()),
                number: u16::try_from(p.port).ok()?,
            })
        })
        .collect();
    ports.truncate(MAX_PORTS);
    ports.into()
}

fn addresses(service: &Service) -> Box<[IpAddr]> {
    let Some(spec) = &service.spec else {
        return Box::default();
    };
    let one = spec.cluster_ip.iter();
    let cluster = one.chain(spec.cluster_ips.iter().flatten());
    let external = spec.external_ips.iter().flatten();
    let status = service.status.as_ref();
    let balancer = status.and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.and_then(|b| b.ingress.as_ref());
    let ingress = ingress.into_iter().flatten().filter_map(|i| i.ip.as_ref());
    // "None" (headless) and "" are no addresses.
    let all = cluster.chain(external).chain(ingress);
    let mut ips: Vec<IpAddr> = all
        .filter_map(|ip| ip.parse().ok())
        .map(|ip: IpAddr| ip.to_canonical())
        .take(MAX_ADDRESSES)
        .collect();
    ips.sort_unstable();
    ips.dedup();
    ips.into()
}

/// All Services.
#[derive(Debug, Default)]
pub(crate) struct Services {
    records: HashMap<ObjectName, ServiceRecord>,
    by_ip: HashMap<IpAddr, SmallVec<[ObjectName; 1]>>,
}

impl Services {
    pub(crate) fn get(&self, name: &ObjectName) -> Option<&ServiceRecord> {
        self.records.get(name)
    }

    pub(crate) fn find(&self, name: NameRef<'_>) -> Option<(&ObjectName, &ServiceRecord)> {
        self.records.get_key_value(&name)
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.records.keys()
    }

    pub(crate) fn put(&mut self, name: &ObjectName, record: Option<ServiceRecord>) {
        let old = self.records.remove(name);
        for ip in old.iter().flat_map(|r| &r.ips) {
            self.forget_ip(ip, name);
        }
        if let Some(record) = record {
            for ip in &record.ips {
                self.by_ip.entry(*ip).or_default().push(name.clone());
            }
            self.records.insert(name.clone(), record);
        }
    }

    /// Adds the Services whose virtual address this is.
    pub(crate) fn add_backends(&self, key: &SocketKey, out: &mut Backends) {
        for name in self.by_ip.get(&key.ip).into_iter().flatten() {
            if let Some(record) = self.records.get(name)
                && let Some(port) = record.port_by_number(key.port)
            {
                let labels = Some(record.labels.clone());
                out.push(Backend::of_service(name.clone(), port, labels));
            }
        }
    }

    /// The Service's port of that name; `None` names the unnamed one.
    pub(crate) fn port(&self, service: &ObjectName, name: Option<&str>) -> Option<BackendPort> {
        self.records.get(service)?.port_by_name(name)
    }

    /// The Service itself, as a cluster's name gives it.
    pub(crate) fn backend(&self, name: NameRef<'_>, port: Option<&PortRef>) -> Option<Backend> {
        let (name, record) = self.records.get_key_value(&name)?;
        let port = match port {
            Some(PortRef::Number(number)) => record.port_by_number(*number),
            Some(PortRef::Name(port)) => record.port_by_name(Some(port)),
            None => record.only_port(),
        };
        Some(Backend::of_service(
            name.clone(),
            port.unwrap_or_default(),
            Some(record.labels.clone()),
        ))
    }

    fn forget_ip(&mut self, ip: &IpAddr, name: &ObjectName) {
        if let Some(names) = self.by_ip.get_mut(ip) {
            names.retain(|n| n != name);
            if names.is_empty() {
                self.by_ip.remove(ip);
            }
        }
    }
}
