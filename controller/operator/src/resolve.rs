//! Which policies hold where.
//!
//! Several policies may be attached to one gateway. For each Service of the gateway the oldest that selects it wins
//! (then the one whose `namespace/name` comes first); what holds for the gateway as a whole is the oldest one's.
//! LatencyPolicies come before the extensions of Kong's operator, however old: an extension is always older than the
//! policy that is to replace it.
//! The order of the objects, and of the events that brought them, does not matter.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_wire::{ClassicBounds, GatewayName, Layout, Nanos, limits::CLASSIC_BOUNDS};

use crate::{policy::Policy, target::Target};

/// What there is to attach to.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Gateways: namespace and name.
    pub gateways: BTreeSet<(String, String)>,
    /// IngressClasses; `None` where the controller may not know them: then every one exists.
    pub ingress_classes: Option<BTreeSet<String>>,
    /// Where the controller itself lives: policies there speak for all namespaces of an IngressClass.
    pub own_namespace: Option<String>,
}

impl Known {
    /// Whether it is there.
    #[must_use]
    pub fn has(&self, target: &Target) -> bool {
        match target {
            Target::Gateway { namespace, name } => {
                self.gateways.contains(&(namespace.clone(), name.clone()))
            }
            Target::IngressClass { name } => {
                let classes = self.ingress_classes.as_ref();
                classes.is_none_or(|classes| classes.contains(name))
            }
        }
    }

    /// The only namespace whose Services a policy selects at a target; every one if `None`.
    #[must_use]
    pub fn confined(&self, policy: &Policy, target: &Target) -> Option<String> {
        let own = self.own_namespace.as_ref() == Some(&policy.home);
        match target {
            // A Gateway's reach is decided by its routes and their grants.
            Target::Gateway { .. } => None,
            Target::IngressClass { .. } if own => None,
            Target::IngressClass { .. } => Some(policy.home.clone()),
        }
    }
}

/// Per gateway that is there and has any: its policies' positions in `policies`, the strongest first.
#[must_use]
pub fn resolve(policies: &[Policy], known: &Known) -> BTreeMap<GatewayName, Vec<usize>> {
    let mut order: Vec<usize> = (0..policies.len()).collect();
    let age = |at: &usize| policies.get(*at).map(|p| (p.origin, p.created, &p.id));
    order.sort_by(|a, b| age(a).cmp(&age(b)));
    let mut gateways: BTreeMap<GatewayName, Vec<usize>> = BTreeMap::new();
    for at in order {
        let targets = policies.get(at).into_iter().flat_map(|p| &p.targets);
        for target in targets.filter(|t| known.has(t)) {
            if let Some(gateway) = target.gateway() {
                gateways.entry(gateway).or_default().push(at);
            }
        }
    }
    gateways
}

/// How histograms are kept with the bounds of all policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layouts {
    /// The default's bounds and those of the policies; the finest schema of all.
    pub common: Layout,
    /// Positions of policies whose bounds found no room.
    pub refused: BTreeSet<usize>,
}

/// Joins the default's bounds with those of policies that are attached somewhere. A policy whose bounds find no room is
/// refused as a whole, the youngest first.
#[must_use]
pub fn layouts(
    default: &Layout,
    policies: &[Policy],
    attached: &BTreeMap<GatewayName, Vec<usize>>,
) -> Layouts {
    let mut order: Vec<usize> = attached.values().flatten().copied().collect();
    let age = |at: &usize| policies.get(*at).map(|p| (p.created, &p.id));
    order.sort_by(|a, b| age(a).cmp(&age(b)));
    order.dedup();
    let mut bounds: BTreeSet<Nanos> = default.bounds.as_slice().iter().copied().collect();
    let mut schema = default.schema;
    let mut refused = BTreeSet::new();
    for at in order {
        let Some(settings) = policies.get(at).map(|p| &p.settings) else {
            continue;
        };
        schema = schema.max(settings.schema.unwrap_or(schema));
        let more = settings
            .bounds
            .iter()
            .flat_map(|b| b.as_slice().iter().copied());
        let joined: BTreeSet<Nanos> = bounds.iter().copied().chain(more).collect();
        if joined.len() <= CLASSIC_BOUNDS {
            bounds = joined;
        } else {
            refused.insert(at);
        }
    }
    let joined = ClassicBounds::try_new(bounds.into_iter().collect());
    Layouts {
        common: Layout {
            schema,
            // Every part was checked, and they are sorted and few.
            bounds: joined.unwrap_or_else(|_| default.bounds.clone()),
        },
        refused,
    }
}
