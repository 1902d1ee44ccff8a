//! Names that Kong's Ingress Controller (KIC 3) gives to Kong services. They are what Kong's filter can read of a route,
//! so they are both hints and keys.
//!
//! - one rule of an HTTPRoute: `httproute.NAMESPACE.ROUTE.RULE`; with its flag for combined services, the default, all
//!   rules of a namespace with the same backends: `httproute.NAMESPACE.svc.` and the backends, sorted and joined by `_`,
//!   each `NAMESPACE.SERVICE.PORT.WEIGHT`
//! - one rule of a GRPCRoute: `grpcroute.NAMESPACE.ROUTE.HOSTNAME.RULE`, where `_` is no hostname and every `*`; with
//!   the traditional router without the hostname
//! - a backend of Ingresses: `NAMESPACE.SERVICE.PORT`
//!
//! A combined name over 511 bytes ends in a hash in KIC; it is no hint here, so such a rule's shared addresses are
//! ambiguous.

use super::{Key, PortRef, RouteKind, RuleKey, ServiceKey};
use crate::{
    name::{ObjectName, is_name},
    routes::{BackendRecord, PortSpec, Rule},
    text::Text,
};

/// Longest name that KIC gives, in bytes.
const NAME_BYTES: usize = 511;
const HTTP: &str = "httproute";
const GRPC: &str = "grpcroute";

/// Names of one rule by itself.
pub(crate) fn rule_names<'a>(
    kind: RouteKind,
    route: &ObjectName,
    rule: u16,
    hostnames: impl Iterator<Item = &'a Text>,
) -> Vec<String> {
    let (namespace, name) = (&route.namespace, &route.name);
    match kind {
        RouteKind::Ingress => Vec::new(),
        RouteKind::Http => vec![format!("{HTTP}.{namespace}.{name}.{rule}")],
        RouteKind::Grpc => {
            let mut hosts: Vec<_> = hostnames.map(|h| h.replace('*', "_")).collect();
            if hosts.is_empty() {
                hosts.push("_".to_owned());
            }
            let of = |host: &String| format!("{GRPC}.{namespace}.{name}.{host}.{rule}");
            let traditional = format!("{GRPC}.{namespace}.{name}.{rule}");
            hosts.iter().map(of).chain([traditional]).collect()
        }
    }
}

/// Name of an HTTPRoute's rule together with all that have its backends.
pub(crate) fn combined_name(kind: RouteKind, route: &ObjectName, rule: &Rule) -> Option<String> {
    let of = |backend: &Option<BackendRecord>| {
        let BackendRecord {
            service,
            port,
            weight,
        } = backend.as_ref()?;
        let (namespace, name) = (&service.namespace, &service.name);
        Some(match port {
            Some(PortSpec::Number(port)) => format!("{namespace}.{name}.{port}.{weight}"),
            _ => format!("{namespace}.{name}.{weight}"),
        })
    };
    let backends: Option<Vec<_>> = rule.backends.iter().map(of).collect();
    let mut backends = backends.filter(|b| kind == RouteKind::Http && !b.is_empty())?;
    backends.sort_unstable();
    let name = format!("{HTTP}.{}.svc.{}", route.namespace, backends.join("_"));
    (name.len() <= NAME_BYTES).then_some(name)
}

/// Name of an Ingress's backend.
pub(crate) fn ingress_name(backend: &BackendRecord) -> Option<String> {
    let service = &backend.service;
    let stem = format!("{}.{}", service.namespace, service.name);
    match backend.port.as_ref()? {
        PortSpec::Number(port) => Some(format!("{stem}.{port}")),
        PortSpec::Name(port) => Some(format!("{stem}.{port}")),
    }
}

/// What the name of a route's Kong service means.
pub(super) fn of_route(name: &str) -> Option<Key> {
    let (kind, rest) = name.split_once('.')?;
    let (namespace, rest) = rest.split_once('.')?;
    match (kind, rest.strip_prefix("svc.")) {
        (HTTP, Some(backends)) => combined(backends),
        (HTTP, None) => rule(RouteKind::Http, namespace, rest),
        (GRPC, _) => rule(RouteKind::Grpc, namespace, rest),
        _ => None,
    }
}

/// What the name of an Ingress's Kong service means. A Service's DNS name looks alike.
pub(super) fn of_ingress(name: &str) -> Option<Key> {
    let (namespace, rest) = name.split_once('.')?;
    let (service, port) = rest.split_once('.')?;
    let port = Some(port).filter(|p| !p.contains('.'))?;
    let key = service_key(namespace, service, Some(port))?;
    Some(Key::Services(Box::new([key])))
}

/// A route's name may have dots, so the rule is what stands behind the last. Hostnames cannot be told from the route's
/// name; only the sign for none is known.
fn rule(kind: RouteKind, namespace: &str, rest: &str) -> Option<Key> {
    let (route, rule) = rest.rsplit_once('.')?;
    let route = match kind {
        RouteKind::Grpc => route.strip_suffix("._").unwrap_or(route),
        RouteKind::Http | RouteKind::Ingress => route,
    };
    Some(Key::Rule(Box::new(RuleKey {
        kind,
        namespace: namespace.to_owned(),
        route: route.to_owned(),
        rule: rule.parse().ok()?,
        backend: None,
    })))
}

fn combined(backends: &str) -> Option<Key> {
    let of = |backend: &str| {
        let mut parts = backend.split('.');
        let (namespace, service) = (parts.next()?, parts.next()?);
        let port = match (parts.next()?, parts.next()) {
            (port, Some(_weight)) => Some(port),
            (_weight, None) => None,
        };
        service_key(namespace, service, port)
    };
    let keys: Option<Vec<_>> = backends.split('_').map(of).collect();
    keys.map(|keys| Key::Services(keys.into()))
}

fn service_key(namespace: &str, name: &str, port: Option<&str>) -> Option<ServiceKey> {
    let legal = [Some(namespace), Some(name), port]
        .into_iter()
        .flatten()
        .all(is_name);
    legal.then(|| ServiceKey {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        port: port.map(|p| {
            p.parse()
                .map_or(PortRef::Name(p.to_owned()), PortRef::Number)
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str, port: Option<PortRef>) -> ServiceKey {
        ServiceKey {
            namespace: namespace.into(),
            name: name.into(),
            port,
        }
    }

    #[test]
    fn names_mean_rules_and_services() {
        let rule = |kind, route: &str, rule| {
            Some(Key::Rule(Box::new(RuleKey {
                kind,
                namespace: "shop".into(),
                route: route.into(),
                rule,
                backend: None,
            })))
        };
        let services = |keys: Vec<ServiceKey>| Some(Key::Services(keys.into()));
        let number = |n| Some(PortRef::Number(n));
        let parse = |name| of_route(name).or_else(|| of_ingress(name));
        assert_eq!(
            parse("httproute.shop.web.2"),
            rule(RouteKind::Http, "web", 2)
        );
        assert_eq!(
            parse("httproute.shop.web.v1.2"),
            rule(RouteKind::Http, "web.v1", 2)
        );
        assert_eq!(
            parse("grpcroute.shop.web._.2"),
            rule(RouteKind::Grpc, "web", 2)
        );
        assert_eq!(
            parse("grpcroute.shop.web.2"),
            rule(RouteKind::Grpc, "web", 2)
        );
        assert_eq!(
            parse("shop.cart.80"),
            services(vec![key("shop", "cart", number(80))])
        );
        assert_eq!(
            parse("shop.cart.http"),
            services(vec![key(
                "shop",
                "cart",
                Some(PortRef::Name("http".into()))
            )])
        );
        assert_eq!(
            parse("httproute.shop.svc.far.pay.90.9_shop.cart.80.1"),
            services(vec![
                key("far", "pay", number(90)),
                key("shop", "cart", number(80))
            ])
        );
        for none in [
            "",
            "a",
            "a.b",
            "httproute.shop",
            "httproute.shop.web.x",
            "httproute.shop.svc._",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
