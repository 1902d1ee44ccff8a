//! Upstream keys: what a host calls the place that a request went to.

use std::net::{IpAddr, SocketAddr};

use gaugeway_wire::mapping::CLUSTER_PREFIX;

mod kic;

use crate::{
    name::is_name,
    object::Kind,
    routes::{BackendRecord, PortSpec},
};

pub(crate) use kic::{combined_name, ingress_name, rule_names};

/// Address and port. IPv4-mapped IPv6 addresses are IPv4 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SocketKey {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

impl SocketKey {
    pub(crate) fn new(ip: IpAddr, port: u16) -> Self {
        Self {
            ip: ip.to_canonical(),
            port,
        }
    }

    /// `1.2.3.4:80`, `[::1]:80`, or either behind Envoy's internal listener: `envoy://connect_originate/1.2.3.4:80`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let address = match text.strip_prefix("envoy://") {
            Some(internal) => internal.split_once('/')?.1,
            None => text,
        };
        let address: SocketAddr = address.parse().ok()?;
        Some(Self::new(address.ip(), address.port()))
    }
}

/// What a subscription's key means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Address(SocketKey),
    Service(Box<ServiceKey>),
    Rule(Box<RuleKey>),
    /// Any of several Services.
    Services(Box<[ServiceKey]>),
    /// Names nothing that the index could know.
    Opaque,
}

/// A cluster that stands for a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: Option<PortRef>,
}

/// A Service's port as a cluster's name gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortRef {
    Number(u16),
    Name(String),
}

/// A cluster that stands for a route's rule: all its backends, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleKey {
    pub(crate) kind: RouteKind,
    pub(crate) namespace: String,
    pub(crate) route: String,
    pub(crate) rule: usize,
    pub(crate) backend: Option<usize>,
}

/// Kind of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RouteKind {
    Http,
    Grpc,
    Ingress,
}

impl RouteKind {
    /// As in `kind:`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => Kind::HttpRoute.as_str(),
            Self::Grpc => Kind::GrpcRoute.as_str(),
            Self::Ingress => Kind::Ingress.as_str(),
        }
    }

    /// As the names of clusters begin that Envoy Gateway and KIC make of its rules; of an Ingress both make none.
    pub(crate) const fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Http => Some("httproute"),
            Self::Grpc => Some("grpcroute"),
            Self::Ingress => None,
        }
    }
}

impl From<&BackendRecord> for ServiceKey {
    fn from(backend: &BackendRecord) -> Self {
        let port = |port: &PortSpec| match port {
            PortSpec::Number(number) => PortRef::Number(*number),
            PortSpec::Name(name) => PortRef::Name(name.to_string()),
        };
        Self {
            namespace: backend.service.namespace.to_string(),
            name: backend.service.name.to_string(),
            port: backend.port.as_ref().map(port),
        }
    }
}

impl Key {
    pub(crate) fn parse(text: &str) -> Self {
        match text.strip_prefix(CLUSTER_PREFIX) {
            Some(cluster) => parse_cluster(cluster).unwrap_or(Self::Opaque),
            None => SocketKey::parse(text).map_or(Self::Opaque, Self::Address),
        }
    }
}

/// Names in use: ours, `namespace/service[/port]`; Envoy Gateway's, `httproute/namespace/route/rule/0`; Istio's,
/// `outbound|80||service.namespace.svc.cluster.local`; a Service's DNS name with or without a port; KIC's (see [`kic`]).
fn parse_cluster(cluster: &str) -> Option<Key> {
    if let Some(istio) = cluster.strip_prefix("outbound|") {
        let mut parts = istio.split('|');
        let (port, _subset, host) = (parts.next()?, parts.next()?, parts.next()?);
        return service_by_host(host, Some(port));
    }
    let parts: Vec<&str> = cluster.split('/').collect();
    match *parts.as_slice() {
        [host] => match host.rsplit_once(':') {
            Some((host, port)) => service_by_host(host, Some(port)),
            None => kic::of_route(host)
                .or_else(|| service_by_host(host, None))
                .or_else(|| kic::of_ingress(host)),
        },
        [namespace, name] => service(namespace, name, None),
        [namespace, name, port] => service(namespace, name, Some(port)),
        [kind, namespace, route, "rule", rule] => rule_key(kind, namespace, route, rule, None),
        [kind, namespace, route, "rule", rule, "backend", backend] => {
            rule_key(kind, namespace, route, rule, Some(backend))
        }
        _ => None,
    }
}

fn service_by_host(host: &str, port: Option<&str>) -> Option<Key> {
    let mut labels = host.split('.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    (labels.next()? == "svc").then(|| service(namespace, name, port))?
}

fn service(namespace: &str, name: &str, port: Option<&str>) -> Option<Key> {
    let named = [Some(namespace), Some(name), port];
    named.iter().flatten().all(|n| is_name(n)).then(|| {
        Key::Service(Box::new(ServiceKey {
            namespace: namespace.into(),
            name: name.into(),
            port: port.map(|p| p.parse().map_or(PortRef::Name(p.into()), PortRef::Number)),
        }))
    })
}

fn rule_key(
    kind: &str,
    namespace: &str,
    route: &str,
    rule: &str,
    backend: Option<&str>,
) -> Option<Key> {
    let kinds = [RouteKind::Http, RouteKind::Grpc];
    Some(Key::Rule(Box::new(RuleKey {
        kind: kinds.into_iter().find(|k| k.prefix() == Some(kind))?,
        namespace: namespace.into(),
        route: route.into(),
        rule: rule.parse().ok()?,
        backend: match backend {
            Some(backend) => Some(backend.parse().ok()?),
            None => None,
        },
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service_key(namespace: &str, name: &str, port: Option<PortRef>) -> Key {
        Key::Service(Box::new(ServiceKey {
            namespace: namespace.into(),
            name: name.into(),
            port,
        }))
    }

    #[test]
    fn addresses_in_every_form() {
        let v4 = SocketKey::new([10, 0, 0, 1].into(), 80);
        for text in [
            "10.0.0.1:80",
            "[::ffff:10.0.0.1]:80",
            "envoy://connect_originate/10.0.0.1:80",
        ] {
            assert_eq!(Key::parse(text), Key::Address(v4), "{text}");
        }
        let v6 = SocketKey::new("2001:db8::1".parse().unwrap(), 8080);
        for text in [
            "[2001:db8::1]:8080",
            "[2001:0db8:0:0::1]:8080",
            "envoy://connect_originate/[2001:db8::1]:8080",
        ] {
            assert_eq!(Key::parse(text), Key::Address(v6), "{text}");
        }
    }

    #[test]
    fn clusters_by_every_name() {
        let number = |n| Some(PortRef::Number(n));
        for (text, port) in [
            ("cluster:shop/cart", None),
            ("cluster:shop/cart/80", number(80)),
            ("cluster:shop/cart/http", Some(PortRef::Name("http".into()))),
            ("cluster:cart.shop.svc.cluster.local", None),
            ("cluster:cart.shop.svc.cluster.local:80", number(80)),
            ("cluster:cart.shop.svc:80", number(80)),
            (
                "cluster:outbound|80||cart.shop.svc.cluster.local",
                number(80),
            ),
            (
                "cluster:outbound|80|v2|cart.shop.svc.cluster.local",
                number(80),
            ),
        ] {
            assert_eq!(
                Key::parse(text),
                service_key("shop", "cart", port),
                "{text}"
            );
        }
        let rule = |kind, backend| {
            Key::Rule(Box::new(RuleKey {
                kind,
                namespace: "shop".into(),
                route: "web".into(),
                rule: 2,
                backend,
            }))
        };
        assert_eq!(
            Key::parse("cluster:httproute/shop/web/rule/2"),
            rule(RouteKind::Http, None)
        );
        assert_eq!(
            Key::parse("cluster:grpcroute/shop/web/rule/2/backend/1"),
            rule(RouteKind::Grpc, Some(1))
        );
    }

    #[test]
    fn everything_else_is_opaque() {
        for text in [
            "",
            "10.0.0.1",
            "/var/run/app.sock",
            "envoy://internal",
            "10.0.0.1:99999",
            "cluster:",
            "cluster:local_service",
            "cluster:a//b",
            "cluster:shop/cart/",
            "cluster:outbound|80",
            "cluster:httproute/shop/web/rule/x",
            "cluster:tcproute/shop/web/rule/0",
            "cluster:a/b/c/d/e/f/g/h",
        ] {
            assert_eq!(Key::parse(text), Key::Opaque, "{text}");
        }
    }
}
