//! Which Services lead to a Kong data plane, and so which Pods must be able to load the filter. What cannot be said for
//! sure is an error with its text: a plugin that one Pod cannot load may cost that Pod its whole configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{RouteFacts, RouteKind};

/// Annotation of a Gateway: the Services that Kong's ingress controller publishes it by. It writes its own where there
/// is none.
const PUBLISH_SERVICE: &str = "konghq.com/publish-service";
/// Label, with [`INGRESS_TYPE`], of the Services that Kong's operator makes for traffic.
pub const SERVICE_TYPE: &str = "gateway-operator.konghq.com/dataplane-service-type";
/// See [`SERVICE_TYPE`].
pub const INGRESS_TYPE: &str = "ingress";

/// Pods of one namespace, by their labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodSelector {
    /// Where.
    pub namespace: String,
    /// Labels that they have; not empty.
    pub labels: BTreeMap<String, String>,
}

/// Namespace and name of the Services that a Gateway of Kong's ingress controller is published by.
///
/// # Errors
/// In words, when it does not say.
pub fn published_by(gateway: &Value) -> Result<Vec<(String, String)>, String> {
    let value = gateway["metadata"]["annotations"][PUBLISH_SERVICE].as_str();
    let named = value.unwrap_or_default().split(',').map(str::trim);
    let named = named.filter(|part| !part.is_empty());
    let services: Option<Vec<_>> = named
        .map(|part| {
            let (namespace, name) = part.split_once('/')?;
            let legal = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
            legal.then(|| (namespace.to_owned(), name.to_owned()))
        })
        .collect();
    match services {
        Some(services) if !services.is_empty() => Ok(services),
        _ => Err(format!(
            "the Gateway's annotation {PUBLISH_SERVICE} names no Service: Kong's ingress controller has not taken the \
             Gateway, or knows no Service of its own (--publish-service)"
        )),
    }
}

/// Of these Services those of the DataPlanes that Kong's operator made for a Gateway.
///
/// # Errors
/// In words, when there is none.
pub fn made_for<'a>(
    gateway: &Value,
    data_planes: &[Value],
    services: &'a [Value],
) -> Result<Vec<&'a Value>, String> {
    let owned = |object: &Value, kind: &str, uid: &Value| {
        let mut owners = object["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten();
        uid.is_string() && owners.any(|o| o["kind"] == kind && o["uid"] == *uid)
    };
    let own = &gateway["metadata"]["uid"];
    let planes: Vec<&Value> = data_planes
        .iter()
        .filter(|plane| owned(plane, "Gateway", own))
        .collect();
    let of_plane = |service: &Value| {
        let mut planes = planes.iter();
        service["metadata"]["labels"][SERVICE_TYPE] == INGRESS_TYPE
            && planes.any(|plane| owned(service, "DataPlane", &plane["metadata"]["uid"]))
    };
    let found: Vec<&Value> = services.iter().filter(|s| of_plane(s)).collect();
    if planes.is_empty() {
        return Err("Kong's operator has made no DataPlane for the Gateway yet".to_owned());
    }
    if found.is_empty() {
        return Err("the Gateway's DataPlane has no ingress Service yet".to_owned());
    }
    Ok(found)
}

/// The Services that the Ingresses of a class are published by: Kong's ingress controller writes the addresses of its
/// own Service into the status of each.
///
/// # Errors
/// In words, when no Service has these addresses, or when several could be meant.
pub fn publishing<'a>(
    class: &str,
    routes: &[RouteFacts],
    services: &'a [Value],
) -> Result<Vec<&'a Value>, String> {
    let of_class = |route: &&RouteFacts| {
        route.id.kind == RouteKind::Ingress
            && route.class.as_deref() == Some(class)
            && !route.addresses.is_empty()
    };
    let published: BTreeSet<&BTreeSet<String>> = routes
        .iter()
        .filter(of_class)
        .map(|r| &r.addresses)
        .collect();
    let mut published = published.into_iter();
    let Some(wanted) = published.next() else {
        return Err(format!(
            "no Ingress of class {class} has an address in its status yet, which tells where its Kong is"
        ));
    };
    if published.next().is_some() {
        return Err(format!(
            "Ingresses of class {class} have different addresses in their status: they are served by several Kongs, or \
             not all are up to date"
        ));
    }
    let found: Vec<&Value> = services
        .iter()
        .filter(|service| addresses(service).any(|address| wanted.contains(address)))
        .collect();
    let list = || wanted.iter().cloned().collect::<Vec<_>>();
    match selectors(&found)?.len() {
        1 => Ok(found),
        0 => Err(format!(
            "no Service has the address of the Ingresses of class {class}, {}",
            super::few(&list())
        )),
        _ => Err(format!(
            "several Services share the address of the Ingresses of class {class}, {}, and lead to different Pods",
            super::few(&list())
        )),
    }
}

/// Where Kong's ingress controller looks for the addresses of its Service.
fn addresses(service: &Value) -> impl Iterator<Item = &str> {
    let spec = &service["spec"];
    let balancers = service["status"]["loadBalancer"]["ingress"].as_array();
    let balancers = balancers
        .into_iter()
        .flatten()
        .flat_map(|b| [&b["ip"], &b["hostname"]]);
    let external = spec["externalIPs"].as_array().into_iter().flatten();
    let inner = matches!(spec["type"].as_str(), None | Some("ClusterIP"));
    let inner = inner.then_some(&spec["clusterIPs"]);
    let inner = inner.and_then(Value::as_array).into_iter().flatten();
    balancers
        .chain(external)
        .chain(inner)
        .filter_map(Value::as_str)
}

/// Which Pods Services lead to.
///
/// # Errors
/// In words, when one selects none by itself.
pub fn selectors(services: &[&Value]) -> Result<BTreeSet<PodSelector>, String> {
    let one = |service: &&Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let meta = &service["metadata"];
        let selector = service["spec"]["selector"]
            .as_object()
            .into_iter()
            .flatten();
        let labels: BTreeMap<_, _> = selector.map(|(k, v)| (k.clone(), text(v))).collect();
        let namespace = text(&meta["namespace"]);
        if labels.is_empty() {
            let name = text(&meta["name"]);
            return Err(format!(
                "Service {namespace}/{name} selects no Pods by labels"
            ));
        }
        Ok(PodSelector { namespace, labels })
    };
    services.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gateway(annotation: &Value) -> Value {
        json!({"metadata": {"uid": "g", "annotations": {PUBLISH_SERVICE: annotation}}})
    }

    #[test]
    fn a_gateway_names_the_services_of_its_kong() {
        let of = |text: &str| published_by(&gateway(&json!(text)));
        let pair = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        assert_eq!(of("kong/proxy"), Ok(vec![pair("kong", "proxy")]));
        assert_eq!(
            of("kong/proxy, kong/udp"),
            Ok(vec![pair("kong", "proxy"), pair("kong", "udp")])
        );
        for wrong in [
            "",
            " , ",
            "proxy",
            "kong/",
            "/proxy",
            "a/b/c",
            "kong/proxy,udp",
        ] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
        assert!(published_by(&gateway(&Value::Null)).is_err());
    }

    fn owned(kind: &str, uid: &str, own: &str, name: &str, kind_of_service: &str) -> Value {
        json!({
            "metadata": {
                "namespace": "shop", "name": name, "uid": own,
                "labels": {SERVICE_TYPE: kind_of_service},
                "ownerReferences": [{"kind": kind, "uid": uid, "name": "x"}],
            },
            "spec": {"selector": {"app": name}},
        })
    }

    #[test]
    fn an_operators_gateway_owns_its_data_planes_and_they_their_services() {
        let planes = [
            owned("Gateway", "g", "d1", "one", ""),
            owned("Gateway", "other", "d2", "two", ""),
        ];
        let services = [
            owned("DataPlane", "d1", "s1", "mine", "ingress"),
            owned("DataPlane", "d1", "s2", "admin", "admin"),
            owned("DataPlane", "d2", "s3", "theirs", "ingress"),
        ];
        let own = gateway(&Value::Null);
        let found = made_for(&own, &planes, &services).unwrap();
        assert_eq!(found, [&services[0]]);
        let selected = selectors(&found).unwrap();
        assert_eq!(selected.first().unwrap().labels["app"], "mine");
        assert!(made_for(&own, &planes[1..], &services).is_err());
        assert!(made_for(&own, &planes, &services[1..]).is_err());
        // An object without an identity owns nothing, and is owned by nothing.
        let nobody = json!({"metadata": {}});
        assert!(made_for(&nobody, &planes, &services).is_err());
    }

    fn ingress(name: &str, class: &str, addresses: &[&str]) -> RouteFacts {
        let mut route = RouteFacts::of(
            RouteKind::Ingress,
            &json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"ingressClassName": class}}),
        );
        route.addresses = addresses.iter().map(|a| (*a).to_owned()).collect();
        route
    }

    fn service(name: &str, app: &str, address: &str) -> Value {
        json!({
            "metadata": {"namespace": "kong", "name": name},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "selector": {"app": app}},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
        })
    }

    #[test]
    fn ingresses_are_published_at_their_kongs_address() {
        let routes = [
            ingress("a", "kong", &["192.0.2.1"]),
            ingress("b", "kong", &["192.0.2.1"]),
            ingress("new", "kong", &[]),
            ingress("c", "other", &["192.0.2.9"]),
        ];
        let services = [
            service("proxy", "kong", "192.0.2.1"),
            service("udp", "kong", "192.0.2.1"),
            service("db", "postgres", "192.0.2.7"),
        ];
        let found = publishing("kong", &routes, &services).unwrap();
        assert_eq!(found, [&services[0], &services[1]]);
        // The address inside of the cluster counts where there is no other.
        let mut inner = service("proxy", "kong", "192.0.2.5");
        inner["spec"]["type"] = json!("ClusterIP");
        let of_inner = [ingress("a", "kong", &["10.0.0.1"])];
        assert!(publishing("kong", &of_inner, &[inner]).is_ok());
        assert!(publishing("kong", &of_inner, &services).is_err());
    }

    #[test]
    fn what_could_be_meant_twice_is_refused() {
        let shared = [
            service("proxy", "kong", "192.0.2.1"),
            service("db", "postgres", "192.0.2.1"),
        ];
        let one = [ingress("a", "kong", &["192.0.2.1"])];
        let several = publishing("kong", &one, &shared).unwrap_err();
        assert!(several.contains("different Pods"), "{several}");
        let mut unselected = service("proxy", "kong", "192.0.2.1");
        unselected["spec"]["selector"] = Value::Null;
        assert!(publishing("kong", &one, &[unselected]).is_err());
        let two = [one[0].clone(), ingress("b", "kong", &["192.0.2.2"])];
        let differ = publishing("kong", &two, &shared[..1]).unwrap_err();
        assert!(differ.contains("several Kongs"), "{differ}");
        assert!(publishing("kong", &[], &shared).is_err());
    }
}
