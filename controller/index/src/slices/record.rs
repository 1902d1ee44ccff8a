//! What matters of one EndpointSlice.

use k8s_openapi::api::discovery::v1 as discovery;

use super::run;
use crate::{
    key::SocketKey,
    name::ObjectName,
    text::{Interner, Text},
};

/// Endpoints times ports of one EndpointSlice, at most. Kubernetes itself writes 100 endpoints, and allows 1,000.
const MAX_ENDPOINTS: usize = 65_536;
/// Ports of one EndpointSlice, at most (Kubernetes's own bound).
const MAX_PORTS: usize = 100;

/// One EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SliceRecord {
    service: ObjectName,
    ports: Box<[SlicePort]>,
    /// Sorted.
    endpoints: Box<[Endpoint]>,
}

/// A TCP port of all endpoints of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SlicePort {
    name: Option<Text>,
    number: u16,
}

/// One address of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) key: SocketKey,
    /// Position of its port in the slice.
    port: u16,
    pub(crate) pod: Option<Text>,
    pub(crate) node: Option<Text>,
    pub(crate) zone: Option<Text>,
    /// Last, so that it decides no order but that of twins.
    pub(crate) state: EndpointState,
}

/// Whether an endpoint takes new connections. It decides nothing here: whoever serves is attributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// It does.
    Ready,
    /// It does not (yet).
    NotReady,
    /// It ends; requests under way may still be answered.
    Terminating,
}

impl Endpoint {
    /// All that matters to attribution.
    fn owner(&self) -> impl Ord {
        (&self.key, self.port, &self.pod, &self.node, &self.zone)
    }
}

impl EndpointState {
    /// An unknown condition counts as ready, as the API's conventions have it.
    fn of(conditions: Option<&discovery::EndpointConditions>) -> Self {
        let is = |of: fn(&discovery::EndpointConditions) -> Option<bool>| conditions.and_then(of);
        match (is(|c| c.terminating), is(|c| c.ready)) {
            (Some(true), _) => Self::Terminating,
            (_, Some(false)) => Self::NotReady,
            _ => Self::Ready,
        }
    }
}

/// Why an EndpointSlice could not be used wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordProblem {
    Addresses { count: usize, first: String },
    TooMany,
}

/// Bound of [`RecordProblem::TooMany`].
impl RecordProblem {
    pub(crate) const BOUND: usize = MAX_ENDPOINTS;
}

impl SliceRecord {
    pub(crate) fn new(
        slice: &discovery::EndpointSlice,
        service: ObjectName,
        texts: &mut Interner,
    ) -> (Self, Vec<RecordProblem>) {
        let ports = ports(slice, texts);
        let mut gathered = Gathered::default();
        if slice.address_type != "FQDN" {
            for endpoint in slice.endpoints.iter().flatten() {
                gathered.add(endpoint, &service, &ports, texts);
            }
        }
        let (endpoints, problems) = gathered.finish();
        let record = Self {
            service,
            ports,
            endpoints,
        };
        (record, problems)
    }

    pub(crate) fn service(&self) -> &ObjectName {
        &self.service
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub(crate) fn of_address(&self, key: &SocketKey) -> &[Endpoint] {
        let range = run(&self.endpoints, key);
        self.endpoints.get(range).unwrap_or_default()
    }

    /// Name of an endpoint's port; `None` for the unnamed one.
    pub(crate) fn port_name(&self, endpoint: &Endpoint) -> Option<&Text> {
        self.ports.get(usize::from(endpoint.port))?.name.as_ref()
    }

    /// Each address once.
    pub(crate) fn keys(&self) -> impl Iterator<Item = SocketKey> {
        let runs = self.endpoints.chunk_by(|a, b| a.key == b.key);
        runs.filter_map(|run| Some(run.first()?.key))
    }

    /// Pods, one per address.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &Text> {
        self.endpoints.iter().filter_map(|e| e.pod.as_ref())
    }

    /// Addresses about which two states of one slice do not say the same.
    pub(crate) fn difference(old: Option<&Self>, new: Option<&Self>) -> Vec<SocketKey> {
        let all = |r: Option<&Self>| r.into_iter().flat_map(Self::keys).collect::<Vec<_>>();
        match (old, new) {
            (Some(old), Some(new)) if old.service == new.service && old.ports == new.ports => {
                differing_keys(&old.endpoints, &new.endpoints)
            }
            (old, new) => {
                let mut keys = all(old);
                keys.extend(all(new));
                keys.sort_unstable();
                keys.dedup();
                keys
            }
        }
    }
}

/// Keys of the symmetric difference of two sorted lists. An endpoint's state makes none.
fn differing_keys(mut a: &[Endpoint], mut b: &[Endpoint]) -> Vec<SocketKey> {
    let mut keys = Vec::new();
    loop {
        let first = match (a.split_first(), b.split_first()) {
            (Some((x, rest_a)), Some((y, rest_b))) if x.owner() == y.owner() => {
                (a, b) = (rest_a, rest_b);
                continue;
            }
            (Some((x, rest)), y) if y.is_none_or(|(y, _)| x.owner() < y.owner()) => {
                a = rest;
                x
            }
            (_, Some((y, rest))) => {
                b = rest;
                y
            }
            (_, None) => break,
        };
        if keys.last() != Some(&first.key) {
            keys.push(first.key);
        }
    }
    keys
}

/// `port: null` (any port) and protocols other than TCP name nothing that a gateway's filter sees.
fn ports(slice: &discovery::EndpointSlice, texts: &mut Interner) -> Box<[SlicePort]> {
    let all = slice.ports.iter().flatten();
    let tcp = all.filter(|p| p.protocol.as_deref().is_none_or(|p| p == "TCP"));
    let mut ports: Vec<_> = tcp
        .filter_map(|p| {
            Some(SlicePort {
                name: texts.some(p.name.as_deref()),
                number: u16::try_from(p.port?).ok()?,
            })
        })
        .collect();
    ports.truncate(MAX_PORTS);
    ports.into()
}

#[derive(Default)]
struct Gathered {
    endpoints: Vec<Endpoint>,
    bad: usize,
    first_bad: Option<String>,
    cut: bool,
}

impl Gathered {
    fn add(
        &mut self,
        endpoint: &discovery::Endpoint,
        service: &ObjectName,
        ports: &[SlicePort],
        texts: &mut Interner,
    ) {
        let target = endpoint.target_ref.as_ref();
        let pod = target.filter(|t| t.kind.as_deref() == Some("Pod"));
        let here = pod.filter(|t| {
            let namespace = t.namespace.as_deref();
            namespace.is_none_or(|n| n == &*service.namespace)
        });
        let like = Endpoint {
            key: SocketKey::new([0, 0, 0, 0].into(), 0),
            port: 0,
            pod: texts.some(here.and_then(|t| t.name.as_deref())),
            node: texts.some(endpoint.node_name.as_deref()),
            zone: texts.some(endpoint.zone.as_deref()),
            state: EndpointState::of(endpoint.conditions.as_ref()),
        };
        for address in &endpoint.addresses {
            match address.parse() {
                Ok(ip) => self.add_address(ip, &like, ports),
                Err(_) => self.refuse(address),
            }
        }
    }

    fn add_address(&mut self, ip: std::net::IpAddr, like: &Endpoint, ports: &[SlicePort]) {
        for (position, port) in (0..).zip(ports) {
            if self.endpoints.len() == MAX_ENDPOINTS {
                self.cut = true;
                return;
            }
            self.endpoints.push(Endpoint {
                key: SocketKey::new(ip, port.number),
                port: position,
                ..like.clone()
            });
        }
    }

    fn refuse(&mut self, address: &str) {
        self.bad += 1;
        let cut = || address.chars().take(64).collect();
        self.first_bad.get_or_insert_with(cut);
    }

    fn finish(mut self) -> (Box<[Endpoint]>, Vec<RecordProblem>) {
        self.endpoints.sort_unstable();
        self.endpoints.dedup();
        let bad = self.first_bad.map(|first| RecordProblem::Addresses {
            count: self.bad,
            first,
        });
        let cut = self.cut.then_some(RecordProblem::TooMany);
        (self.endpoints.into(), bad.into_iter().chain(cut).collect())
    }
}
