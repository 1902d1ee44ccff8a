//! Kubernetes objects at the index's boundary.

mod route;

use k8s_openapi::{
    api::{core::v1::Service, discovery::v1::EndpointSlice, networking::v1::Ingress},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

pub use route::{
    BackendRef, GrantFrom, GrantSpec, GrantTo, ParentRef, ReferenceGrant, Route, RouteRule,
    RouteSpec,
};

/// A kind of objects that the index knows. Others do not matter to it. A `Gateway` does not either: which Services one
/// reaches is said by the routes that name it, whether the Gateway exists yet or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "Kubernetes's own names")]
pub enum Kind {
    Service,
    EndpointSlice,
    Pod,
    ReplicaSet,
    HttpRoute,
    GrpcRoute,
    ReferenceGrant,
    Ingress,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::ReplicaSet,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::ReferenceGrant,
        Self::Ingress,
    ];

    /// As in `kind:`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::ReplicaSet => "ReplicaSet",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::Ingress => "Ingress",
        }
    }

    /// API group, empty for the core.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Service | Self::Pod => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::ReplicaSet => "apps",
            Self::HttpRoute | Self::GrpcRoute | Self::ReferenceGrant => GATEWAY_GROUP,
            Self::Ingress => "networking.k8s.io",
        }
    }
}

/// Group of the Gateway API.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// An object. Of Pods and ReplicaSets the metadata is enough.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "Kubernetes's own names")]
pub enum Object {
    Service(Box<Service>),
    EndpointSlice(Box<EndpointSlice>),
    Pod(Box<ObjectMeta>),
    ReplicaSet(Box<ObjectMeta>),
    HttpRoute(Box<Route>),
    GrpcRoute(Box<Route>),
    ReferenceGrant(Box<ReferenceGrant>),
    Ingress(Box<Ingress>),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::ReplicaSet(_) => Kind::ReplicaSet,
            Self::HttpRoute(_) => Kind::HttpRoute,
            Self::GrpcRoute(_) => Kind::GrpcRoute,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::Ingress(_) => Kind::Ingress,
        }
    }

    /// Its metadata.
    #[must_use]
    pub const fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Service(o) => &o.metadata,
            Self::EndpointSlice(o) => &o.metadata,
            Self::Pod(meta) | Self::ReplicaSet(meta) => meta,
            Self::HttpRoute(o) | Self::GrpcRoute(o) => &o.metadata,
            Self::ReferenceGrant(o) => &o.metadata,
            Self::Ingress(o) => &o.metadata,
        }
    }

    /// Its metadata, to be completed (a manifest may leave the namespace out).
    pub const fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Service(o) => &mut o.metadata,
            Self::EndpointSlice(o) => &mut o.metadata,
            Self::Pod(meta) | Self::ReplicaSet(meta) => meta,
            Self::HttpRoute(o) | Self::GrpcRoute(o) => &mut o.metadata,
            Self::ReferenceGrant(o) => &mut o.metadata,
            Self::Ingress(o) => &mut o.metadata,
        }
    }

    /// What names it.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        let meta = self.metadata();
        ObjectId {
            kind: self.kind(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

/// Objects of a kind, everywhere or in one namespace: what a list is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Which kind.
    pub kind: Kind,
    /// Only there; everywhere if `None`.
    pub namespace: Option<String>,
}

impl Scope {
    pub(crate) fn has(&self, kind: Kind, namespace: &str) -> bool {
        self.kind == kind && self.namespace.as_deref().is_none_or(|n| n == namespace)
    }
}

impl From<Kind> for Scope {
    /// Everywhere.
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            namespace: None,
        }
    }
}

/// What names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "Kubernetes's own names")]
pub struct ObjectId {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}
