//! What policies say to whoever deploys.

use gaugeway_operator::{
    Origin, PolicyId, Target,
    crd::LatencyPolicy,
    deploy::{DETACH, Deploy, FINALIZER, Owner},
};
use gaugeway_wire::GatewayName;
use kube::ResourceExt as _;

use crate::policies::Judged;

/// A gateway with policies, and they.
pub(super) struct Attached<'a> {
    pub(super) gateway: &'a GatewayName,
    pub(super) target: Target,
    pub(super) owners: Vec<Owner>,
    /// As the strongest says.
    pub(super) deploy: Deploy,
    /// Likewise.
    pub(super) by_route: bool,
    /// Somebody asked to take it out.
    pub(super) detached: bool,
}

/// Every gateway that has policies.
pub(super) fn attached(judged: &Judged) -> impl Iterator<Item = Attached<'_>> {
    judged.attached.iter().filter_map(|(gateway, order)| {
        let strongest = judged.policies.get(*order.first()?)?;
        // Extensions of Kong's operator deploy nothing: a gateway with nothing else is as one without policies.
        if strongest.origin != Origin::LatencyPolicy {
            return None;
        }
        let mut targets = strongest.targets.iter();
        let target = targets.find(|t| t.gateway().as_ref() == Some(gateway));
        let objects = || order.iter().filter_map(|at| judged.objects.get(*at));
        Some(Attached {
            gateway,
            target: target?.clone(),
            owners: objects().filter_map(owner).collect(),
            deploy: strongest.settings.deploy,
            by_route: strongest.settings.route,
            detached: objects().any(is_detached),
        })
    })
}

fn owner(object: &LatencyPolicy) -> Option<Owner> {
    Some(Owner {
        id: PolicyId::of(object),
        uid: object.metadata.uid.clone()?,
    })
}

fn is_detached(object: &LatencyPolicy) -> bool {
    object.annotations().contains_key(DETACH)
}

pub(super) fn has_finalizer(object: &LatencyPolicy) -> bool {
    object.finalizers().iter().any(|f| f == FINALIZER)
}

/// Policies that something was, or is about to be, deployed for outside of their namespace.
pub(super) fn held(judged: &Judged) -> impl Iterator<Item = &LatencyPolicy> {
    let all = judged.going.iter().chain(&judged.objects);
    all.filter(|object| has_finalizer(object))
}

/// As its targets are called, whether they are there or not.
pub(super) fn gateways(object: &LatencyPolicy) -> Vec<String> {
    let namespace = object.namespace().unwrap_or_default();
    let refs = object.spec.target_refs.iter();
    refs.map(|r| match r.kind.as_str() {
        "IngressClass" => format!("ingressclass:{}", r.name),
        _ => format!("{namespace}/{}", r.name),
    })
    .collect()
}
