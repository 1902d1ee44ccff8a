//! What must be granted for a request.
//!
//! Paths of the JSON API are resources of an API group of their own, as far as RBAC is concerned. As paths they would be
//! open: every cluster grants `/api/*` to all who can log in (`system:discovery`).

use percent_encoding::percent_decode_str;

use crate::custom_metrics::{Attributes, Status};

/// Group of the JSON API's resources: `services`, `workloads`, `gateways`, `explanations`; and [`UNNAMED`].
const GROUP: &str = "signals.gaugeway.dev";
const VERSION: &str = "v1";
/// A path below `/api` that nobody has named here: closed, but for who may everything. So what is served anew is not open
/// by mistake.
const UNNAMED: &str = "unnamed";

/// What must be granted for a request.
///
/// # Errors
/// For a path that could mean one thing here and another to who serves it.
pub(crate) fn attributes(
    method: &str,
    path: &str,
    query: Option<&str>,
) -> Result<Attributes, Status> {
    let segments: Option<Vec<_>> = path.split('/').map(segment).collect();
    let segments = segments.ok_or_else(|| {
        Status::bad("a path's segments are text without slashes, dots alone and control characters")
    })?;
    let plain = segments.join("/");
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    Ok(own(method, &parts, query).unwrap_or_else(|| Attributes::of(method, &plain)))
}

fn segment(raw: &str) -> Option<String> {
    let text = percent_decode_str(raw).decode_utf8().ok()?;
    let strange = |c: char| c == '/' || c.is_control();
    let strange = text.contains(strange) || matches!(&*text, "." | "..");
    (!strange).then(|| text.into_owned())
}

/// The JSON API's; its description is a path like any other.
fn own(method: &str, segments: &[&str], query: Option<&str>) -> Option<Attributes> {
    if !matches!(method, "GET" | "HEAD") {
        return None;
    }
    let (resource, namespace, name) = match *segments {
        ["", "api", "v1", "services"] => ("services", namespace(query), ""),
        ["", "api", "v1", "services", namespace, name] => ("services", namespace.to_owned(), name),
        ["", "api", "v1", "workloads"] => ("workloads", namespace(query), ""),
        ["", "api", "v1", "workloads", namespace, _, name] => {
            ("workloads", namespace.to_owned(), name)
        }
        ["", "api", "v1", "gateways"] => ("gateways", String::new(), ""),
        // An address or a class is in no namespace.
        ["", "api", "v1", "explain", _, name] => ("explanations", String::new(), name),
        ["", "api", "v1", "explain", _, namespace, name] => {
            ("explanations", namespace.to_owned(), name)
        }
        ["", "api", "v1", "openapi.json"] => return None,
        ["", "api", ..] => (UNNAMED, String::new(), ""),
        _ => return None,
    };
    let verb = if name.is_empty() { "list" } else { "get" };
    Some(Attributes::Resource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        namespace,
        resource: resource.to_owned(),
        subresource: String::new(),
        name: name.to_owned(),
        verb: verb.to_owned(),
    })
}

/// The namespace that a list is narrowed to: the last one, as the list itself takes it, and literally, as it does.
fn namespace(query: Option<&str>) -> String {
    let pairs = query.unwrap_or_default().split('&');
    let mut named = pairs.filter_map(|pair| pair.strip_prefix("namespace="));
    named.next_back().unwrap_or_default().to_owned()
}

/// In the API server's own words.
pub(super) fn forbidden(user: &str, asked: &Attributes) -> String {
    match asked {
        Attributes::Path { path, verb } => {
            format!("forbidden: User {user:?} cannot {verb} path {path:?}")
        }
        Attributes::Resource {
            group,
            namespace,
            resource,
            subresource,
            name,
            verb,
            ..
        } => {
            let full = match subresource.as_str() {
                "" => resource.clone(),
                part => format!("{resource}/{part}"),
            };
            let place = match namespace.as_str() {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            let named = match name.as_str() {
                "" => String::new(),
                name => format!(" {name:?}"),
            };
            format!(
                "{full}.{group}{named} is forbidden: User {user:?} cannot {verb} resource {full:?} in API group \
                 {group:?} {place}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, query: &str) -> [String; 5] {
        match attributes("GET", path, Some(query)).unwrap() {
            Attributes::Resource {
                group,
                namespace,
                resource,
                name,
                verb,
                ..
            } => [group, verb, namespace, resource, name],
            Attributes::Path { path, verb } => {
                [String::new(), verb, String::new(), path, String::new()]
            }
        }
    }

    #[test]
    fn the_json_api_is_resources_and_not_paths_that_everybody_may_read() {
        let rows = [
            ("/api/v1/services", "", ["list", "", "services", ""]),
            (
                "/api/v1/services",
                "window=30s&namespace=shop",
                ["list", "shop", "services", ""],
            ),
            (
                "/api/v1/services",
                "namespace=a&namespace=b",
                ["list", "b", "services", ""],
            ),
            (
                "/api/v1/services/shop/cart",
                "",
                ["get", "shop", "services", "cart"],
            ),
            (
                "/api/v1/services/shop/%63art",
                "",
                ["get", "shop", "services", "cart"],
            ),
            (
                "/api/v1/workloads",
                "namespace=shop",
                ["list", "shop", "workloads", ""],
            ),
            (
                "/api/v1/workloads/shop/Deployment/cart",
                "",
                ["get", "shop", "workloads", "cart"],
            ),
            ("/api/v1/gateways", "", ["list", "", "gateways", ""]),
            ("/api/v1/nothing", "", ["list", "", UNNAMED, ""]),
            ("/api/v1/workloads/shop/cart", "", ["list", "", UNNAMED, ""]),
            ("/api/v1/services/", "", ["list", "", UNNAMED, ""]),
            ("/api", "", ["list", "", UNNAMED, ""]),
            (
                "/api/v1/explain/pod/shop/cart-1",
                "",
                ["get", "shop", "explanations", "cart-1"],
            ),
            (
                "/api/v1/explain/address/[::1]:80",
                "",
                ["get", "", "explanations", "[::1]:80"],
            ),
        ];
        for (path, query, [verb, namespace, resource, name]) in rows {
            assert_eq!(
                of(path, query),
                [GROUP, verb, namespace, resource, name],
                "{path}"
            );
        }
    }

    #[test]
    fn every_path_of_the_json_api_is_named() {
        let api: serde_json::Value = serde_json::from_str(&crate::openapi().unwrap()).unwrap();
        let paths = api["paths"].as_object().unwrap();
        assert!(paths.len() > 6, "{paths:?}");
        for path in paths.keys() {
            let [group, .., resource, _] = of(&path.replace(['{', '}'], ""), "");
            assert_eq!(group, GROUP, "{path}");
            assert_ne!(resource, UNNAMED, "{path}");
        }
    }

    #[test]
    fn all_else_is_what_the_api_server_makes_of_it() {
        for path in ["/api/v1/openapi.json", "/apis", "/healthz"] {
            assert_eq!(of(path, ""), ["", "get", "", path, ""]);
        }
        let star = of(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/%2A/m",
            "",
        );
        assert_eq!(star, ["custom.metrics.k8s.io", "get", "shop", "pods", "*"]);
    }

    #[test]
    fn a_path_that_could_mean_two_things_is_none() {
        for path in [
            "/api/v1/services/a%2Fb/c",
            "/api/v1/../v1/services",
            "/apis/%2e%2e/x",
            "/a%00",
            "/a%ff",
        ] {
            assert!(attributes("GET", path, None).is_err(), "{path}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_grant() {
        let asked = attributes("GET", "/api/v1/services/shop/cart", None).unwrap();
        assert_eq!(
            forbidden("jane", &asked),
            "services.signals.gaugeway.dev \"cart\" is forbidden: User \"jane\" cannot get resource \"services\" in API \
             group \"signals.gaugeway.dev\" in the namespace \"shop\""
        );
        let asked = attributes("GET", "/apis", None).unwrap();
        assert_eq!(
            forbidden("jane", &asked),
            "forbidden: User \"jane\" cannot get path \"/apis\""
        );
    }
}
