//! What matters of a route.

use std::collections::BTreeMap;

/// A kind of object that Kong attaches plugins to. A Service is none on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// `HTTPRoute`.
    HttpRoute,
    /// `GRPCRoute`.
    GrpcRoute,
    /// `Ingress`.
    Ingress,
}

/// Names a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId {
    /// Its kind.
    pub kind: RouteKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What matters of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFacts {
    /// Which.
    pub id: RouteId,
    /// Its resource version.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotation [`super::PLUGINS`].
    pub plugins: Option<String>,
    /// Gateways that it names.
    pub parents: Vec<Parent>,
    /// Of an Ingress.
    pub class: Option<String>,
}

/// A Gateway that a route names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it took the route, as the route's status says.
    pub accepted: bool,
}

impl RouteKind {
    /// As in `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::Ingress => "Ingress",
        }
    }

    /// Its API group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::HttpRoute | Self::GrpcRoute => "gateway.networking.k8s.io",
            Self::Ingress => "networking.k8s.io",
        }
    }

    /// As in a path.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::HttpRoute => "httproutes",
            Self::GrpcRoute => "grpcroutes",
            Self::Ingress => "ingresses",
        }
    }
}

impl RouteFacts {
    /// Whether that Gateway took it.
    pub(super) fn accepted_by(&self, namespace: &str, name: &str) -> bool {
        let is = |p: &Parent| p.accepted && p.namespace == namespace && p.name == name;
        self.parents.iter().any(is)
    }
}

impl std::fmt::Display for RouteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.as_str();
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}
