//! What a policy can be attached to.

use gaugeway_wire::GatewayName;

use crate::crd::{AncestorRef, TargetRef};

/// Group of the Gateway API.
pub(crate) const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// Group of Ingress.
pub(crate) const INGRESS_GROUP: &str = "networking.k8s.io";

/// One thing that a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A Gateway.
    Gateway {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// All Ingresses of a class.
    IngressClass {
        /// Its name.
        name: String,
    },
}

impl Target {
    /// A policy's reference; `None` when it is neither.
    pub(crate) fn of(reference: &TargetRef, namespace: &str) -> Option<Self> {
        let name = reference.name.clone();
        match (reference.group.as_str(), reference.kind.as_str()) {
            (GATEWAY_GROUP, "Gateway") => Some(Self::Gateway {
                namespace: namespace.to_owned(),
                name,
            }),
            (INGRESS_GROUP, "IngressClass") => Some(Self::IngressClass { name }),
            _ => None,
        }
    }

    /// How its filters call themselves; `None` when no header could carry that.
    #[must_use]
    pub fn gateway(&self) -> Option<GatewayName> {
        let name = match self {
            Self::Gateway { namespace, name } => format!("{namespace}/{name}"),
            // As the index names it: no namespace has a colon.
            Self::IngressClass { name } => format!("ingressclass:{name}"),
        };
        GatewayName::try_new(&name).ok()
    }

    pub(crate) fn ancestor(&self) -> AncestorRef {
        match self {
            Self::Gateway { namespace, name } => AncestorRef {
                group: GATEWAY_GROUP.to_owned(),
                kind: "Gateway".to_owned(),
                namespace: Some(namespace.clone()),
                name: name.clone(),
            },
            Self::IngressClass { name } => AncestorRef {
                group: INGRESS_GROUP.to_owned(),
                kind: "IngressClass".to_owned(),
                namespace: None,
                name: name.clone(),
            },
        }
    }
}
