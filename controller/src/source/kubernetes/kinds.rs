//! The kinds that are watched, and how each becomes one of the index's objects.

use std::{borrow::Cow, fmt::Debug, marker::PhantomData};

use gaugeway_index::{
    Kind, Object,
    object::{ReferenceGrant, Route, RouteSpec},
};
use gaugeway_operator::deploy::{INSTANCE, MANAGED_BY, MANAGER};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::lean;

/// A kind as an API server serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Served {
    pub(crate) group: &'static str,
    /// The versions that we read, the best first. Their shapes do not differ in what we read.
    pub(crate) versions: &'static [&'static str],
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
}

impl Served {
    /// In the best version.
    pub(crate) fn resource(&self) -> ApiResource {
        self.resource_in(self.versions.first().copied().unwrap_or_default())
    }

    pub(super) fn resource_in(&self, version: &str) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: version.to_owned(),
            api_version: if self.group.is_empty() {
                version.to_owned()
            } else {
                format!("{}/{version}", self.group)
            },
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}

/// A kind of objects for the index.
pub(super) trait Watched: Clone + Debug + Send + Sync + 'static {
    /// Which.
    const KIND: Kind;
    /// Where.
    const SERVED: Served;
    /// Whether metadata is all that is asked for.
    const METADATA_ONLY: bool = false;
    /// As it travels.
    type Wire: DeserializeOwned;

    /// As the index takes it.
    fn object(wire: Self::Wire) -> Object;
}

/// An object of a kind, which the client can ask for.
#[derive(Clone, Debug)]
pub(super) struct Seen<W> {
    pub(super) object: Object,
    kind: PhantomData<W>,
}

impl<'de, W: Watched> Deserialize<'de> for Seen<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = W::object(W::Wire::deserialize(deserializer)?);
        let kind = PhantomData;
        Ok(Self { object, kind })
    }
}

impl<W: Watched> Resource for Seen<W> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn metadata_api() -> bool {
        W::METADATA_ONLY
    }

    fn kind(dt: &ApiResource) -> Cow<'_, str> {
        dt.kind.as_str().into()
    }

    fn group(dt: &ApiResource) -> Cow<'_, str> {
        dt.group.as_str().into()
    }

    fn version(dt: &ApiResource) -> Cow<'_, str> {
        dt.version.as_str().into()
    }

    fn plural(dt: &ApiResource) -> Cow<'_, str> {
        dt.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        self.object.metadata()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.object.metadata_mut()
    }
}

/// One line per kind: name here, kind of the index, versions, plural, what travels, and how it becomes an object.
macro_rules! watched {
    ($($name:ident: $kind:ident, $versions:expr, $plural:literal, $wire:ty, $only:literal, $object:expr;)*) => {$(
        #[derive(Clone, Debug)]
        pub(super) enum $name {}

        impl Watched for $name {
            const KIND: Kind = Kind::$kind;
            const SERVED: Served = Served {
                group: Kind::$kind.group(),
                versions: &$versions,
                kind: Kind::$kind.as_str(),
                plural: $plural,
            };
            const METADATA_ONLY: bool = $only;
            type Wire = $wire;

            fn object(wire: $wire) -> Object {
                let made: fn($wire) -> Object = $object;
                made(wire)
            }
        }
    )*};
}

watched! {
    Services: Service, ["v1"], "services", lean::Service, false, |o| Object::Service(o.into());
    EndpointSlices: EndpointSlice, ["v1"], "endpointslices", lean::EndpointSlice, false, |o| Object::EndpointSlice(o.into());
    Pods: Pod, ["v1"], "pods", lean::MetadataOnly, true, |o| Object::Pod(Box::new(o.metadata));
    ReplicaSets: ReplicaSet, ["v1"], "replicasets", lean::MetadataOnly, true, |o| Object::ReplicaSet(Box::new(o.metadata));
    HttpRoutes: HttpRoute, ["v1", "v1beta1"], "httproutes", lean::Route, false, |o| Object::HttpRoute(without_ours(o.into()));
    GrpcRoutes: GrpcRoute, ["v1", "v1alpha2"], "grpcroutes", lean::Route, false, |o| Object::GrpcRoute(o.into());
    ReferenceGrants: ReferenceGrant, ["v1", "v1beta1"], "referencegrants", Box<ReferenceGrant>, false, Object::ReferenceGrant;
    Ingresses: Ingress, ["v1"], "ingresses", lean::Ingress, false, |o| Object::Ingress(o.into());
}

/// The route that leads to the controller itself, see [`gaugeway_operator::deploy`], reaches nothing that is measured.
fn without_ours(mut route: Box<Route>) -> Box<Route> {
    let labels = route.metadata.labels.as_ref();
    let label = |name: &str| labels.and_then(|labels| labels.get(name));
    if label(MANAGED_BY).is_some_and(|by| by == MANAGER) && label(INSTANCE).is_some() {
        route.spec = RouteSpec::default();
    }
    route
}
