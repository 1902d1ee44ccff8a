//! What a request asks for in the words of authorisation, as Kubernetes' own API server takes it apart
//! (`k8s.io/apiserver/pkg/endpoints/request`, `RequestInfoFactory`).
//!
//! Its own core group is not served here: `/api/v1/services` of the JSON API is a path like any other, granted by
//! `nonResourceURLs`.

/// What must be granted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Attributes {
    /// Of an API group.
    Resource {
        group: String,
        version: String,
        namespace: String,
        resource: String,
        subresource: String,
        name: String,
        verb: String,
    },
    /// All else: by path.
    Path {
        path: String,
        /// The method, lowercase.
        verb: String,
    },
}

impl Attributes {
    /// `path` is decoded; it has no query.
    pub(crate) fn of(method: &str, path: &str) -> Self {
        Self::of_resource(method, path).unwrap_or_else(|| Self::Path {
            path: path.to_owned(),
            verb: method.to_ascii_lowercase(),
        })
    }

    /// `/apis/GROUP/VERSION/…`.
    fn of_resource(method: &str, path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        if parts.next() != Some("apis") {
            return None;
        }
        let (group, version) = (parts.next()?, parts.next()?);
        let mut parts: Vec<&str> = parts.collect();
        let mut verb = match method {
            "GET" | "HEAD" => "get",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        };
        if matches!(*parts.first()?, "watch" | "proxy") {
            verb = parts.remove(0);
        }
        let mut namespace = "";
        if parts.first() == Some(&"namespaces")
            && let Some(named) = parts.get(1)
        {
            namespace = named;
            // These belong to the namespace itself.
            let own = parts
                .get(2)
                .is_none_or(|p| matches!(*p, "status" | "finalize"));
            if !own {
                parts.drain(..2);
            }
        }
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        let name = part(1);
        verb = match verb {
            "get" if name.is_empty() => "list",
            "delete" if name.is_empty() => "deletecollection",
            other => other,
        };
        Some(Self::Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.to_owned(),
            resource: part(0).to_owned(),
            subresource: part(2).to_owned(),
            name: name.to_owned(),
            verb: verb.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(method: &str, path: &str) -> [String; 6] {
        match Attributes::of(method, path) {
            Attributes::Resource {
                group,
                version,
                namespace,
                resource,
                subresource,
                name,
                verb,
            } => {
                assert_eq!((&*group, &*version), ("custom.metrics.k8s.io", "v1beta2"));
                [verb, namespace, resource, name, subresource, String::new()]
            }
            path @ Attributes::Path { .. } => panic!("{path:?}"),
        }
    }

    #[test]
    fn values_are_resources() {
        const V2: &str = "/apis/custom.metrics.k8s.io/v1beta2";
        for (method, path, expected) in [
            (
                "GET",
                "/namespaces/shop/services/cart/m",
                ["get", "shop", "services", "cart", "m", ""],
            ),
            (
                "GET",
                "/namespaces/shop/pods/*/m",
                ["get", "shop", "pods", "*", "m", ""],
            ),
            (
                "GET",
                "/namespaces/shop/deployments.apps/cart/m",
                ["get", "shop", "deployments.apps", "cart", "m", ""],
            ),
            (
                "GET",
                "/namespaces/shop/metrics/m",
                ["get", "shop", "metrics", "m", "", ""],
            ),
            ("GET", "/nodes/n/m", ["get", "", "nodes", "n", "m", ""]),
            (
                "HEAD",
                "/namespaces/shop/services",
                ["list", "shop", "services", "", "", ""],
            ),
            (
                "GET",
                "/namespaces/shop",
                ["get", "shop", "namespaces", "shop", "", ""],
            ),
            ("GET", "/namespaces", ["list", "", "namespaces", "", "", ""]),
            (
                "GET",
                "/namespaces/shop/status",
                ["get", "shop", "namespaces", "shop", "status", ""],
            ),
            (
                "POST",
                "/namespaces/shop/services",
                ["create", "shop", "services", "", "", ""],
            ),
            (
                "DELETE",
                "/namespaces/shop/services",
                ["deletecollection", "shop", "services", "", "", ""],
            ),
            (
                "GET",
                "/watch/namespaces/shop/services",
                ["watch", "shop", "services", "", "", ""],
            ),
        ] {
            assert_eq!(
                resource(method, &format!("{V2}{path}")),
                expected.map(str::to_owned),
                "{path}"
            );
        }
    }

    #[test]
    fn all_else_is_a_path() {
        for path in [
            "/",
            "/apis",
            "/apis/",
            "/apis/custom.metrics.k8s.io",
            "/apis/custom.metrics.k8s.io/v1beta2",
            "/apis/custom.metrics.k8s.io/v1beta2/",
            "/api/v1/services",
            "/api/v1/services/shop/cart",
            "/openapi/v2",
            "/healthz",
        ] {
            let expected = Attributes::Path {
                path: path.to_owned(),
                verb: "get".to_owned(),
            };
            assert_eq!(Attributes::of("GET", path), expected);
        }
    }
}
