//! From objects as they stand in the cluster to what is recorded at which gateway. No IO.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gaugeway_index::{
    Dimensions, ObjectLabels, RecordingPolicy, Rule, ServiceSelector, Services, Shown, Terms,
    WhenIdle,
};
use gaugeway_operator::{
    Invalid, Known, Layouts, Policy, Target, Verdict, crd, crd::LatencyPolicy, dropin::Extensions,
    layouts, resolve, told,
};
use gaugeway_wire::GatewayName;
use kube::{ResourceExt as _, core::DynamicObject};
use tracing::warn;

/// What there is and what it comes to. Positions are positions in `policies`.
pub(crate) struct Judged {
    /// Those that can be used: first LatencyPolicies, with their objects, then extensions of Kong's operator.
    pub(crate) policies: Vec<Policy>,
    pub(crate) objects: Vec<LatencyPolicy>,
    /// Those that are being deleted: they hold no longer, and wait for what was deployed for them to go.
    pub(crate) going: Vec<LatencyPolicy>,
    /// The others, and why.
    pub(super) invalid: Vec<(LatencyPolicy, Verdict)>,
    pub(super) known: Known,
    pub(crate) attached: BTreeMap<GatewayName, Vec<usize>>,
    pub(super) layouts: Layouts,
    /// In the order of `attached`.
    pub(super) rules: BTreeMap<GatewayName, Vec<Rule>>,
    pub(super) recorded: BTreeMap<GatewayName, RecordingPolicy>,
    /// Of gateways without a policy.
    pub(super) others: RecordingPolicy,
    pub(super) extensions: Extensions,
}

impl Judged {
    /// The only namespaces that a target's policies speak for; every one if `None`.
    pub(crate) fn confined(
        &self,
        gateway: &GatewayName,
        target: &Target,
    ) -> Option<BTreeSet<String>> {
        let order = self.attached.get(gateway).into_iter().flatten();
        let policies = order.filter_map(|at| self.policies.get(*at));
        policies
            .map(|policy| self.known.confined(policy, target))
            .collect()
    }

    /// Whether a policy that is attached anywhere wants `kong_upstream_latency_ms`.
    pub(super) fn asks_for_kong(&self) -> bool {
        let mut rules = self.rules.values().flatten();
        rules.any(|rule| rule.terms.kong_compatible == Some(true))
    }
}

/// What is judged.
pub(super) struct Cluster<'a> {
    pub(super) policies: &'a [Arc<DynamicObject>],
    pub(super) gateways: &'a [Arc<DynamicObject>],
    /// `None` where they may not be read.
    pub(super) classes: Option<&'a [Arc<DynamicObject>]>,
    pub(super) own_namespace: Option<String>,
    /// Of Kong's operator.
    pub(super) extensions: Extensions,
}

pub(super) fn judge(cluster: Cluster<'_>, default: &RecordingPolicy) -> Judged {
    let Cluster {
        policies,
        gateways,
        classes,
        own_namespace,
        extensions,
    } = cluster;
    let names = |objects: &[Arc<DynamicObject>]| objects.iter().map(|o| o.name_any()).collect();
    let known = Known {
        gateways: gateways
            .iter()
            .map(|g| (g.namespace().unwrap_or_default(), g.name_any()))
            .collect(),
        ingress_classes: classes.map(names),
        own_namespace,
    };
    let (mut valid, mut objects, mut shown, mut invalid) = (vec![], vec![], vec![], vec![]);
    let (going, living): (Vec<_>, Vec<_>) = policies
        .iter()
        .filter_map(|o| typed(o))
        .partition(|o| o.metadata.deletion_timestamp.is_some());
    for object in living {
        match checked(&object) {
            Ok((policy, shows)) => {
                valid.push(policy);
                objects.push(object);
                shown.push(shows);
            }
            Err(why) => {
                let verdict = Verdict::invalid(&object, &why);
                invalid.push((object, verdict));
            }
        }
    }
    // Behind the others: positions of objects are positions of their policies.
    for policy in &extensions.policies {
        shown.push(Shown {
            dimensions: dimensions(&policy.dimensions),
            object_labels: Arc::default(),
        });
        valid.push(policy.clone());
    }
    let attached = resolve(&valid, &known);
    let layouts = layouts(&default.wire.layout(), &valid, &attached);
    let rule = |gateway: &GatewayName, at: &usize| {
        let policy = valid.get(*at)?;
        let target = policy
            .targets
            .iter()
            .find(|t| t.gateway().as_ref() == Some(gateway))?;
        Some(Rule {
            origin: origin(policy).into(),
            services: ServiceSelector {
                namespace: known.confined(policy, target),
                names: policy.names.clone(),
                labels: policy.labels.clone(),
            },
            shown: shown.get(*at)?.clone(),
            terms: terms(policy),
        })
    };
    let rules: BTreeMap<GatewayName, Vec<Rule>> = attached
        .iter()
        .map(|(gateway, order)| {
            let rules = order.iter().filter_map(|at| rule(gateway, at)).collect();
            (gateway.clone(), rules)
        })
        .collect();
    let wire = |order: Option<&Vec<usize>>| {
        let oldest = order.and_then(|order| valid.get(*order.first()?));
        told(&default.wire, oldest.map(|p| &p.settings), &layouts.common)
    };
    let recorded = rules
        .iter()
        .map(|(gateway, rules)| {
            let policy = RecordingPolicy {
                services: Services::First(rules.clone().into()),
                wire: wire(attached.get(gateway)),
            };
            (gateway.clone(), policy)
        })
        .collect();
    let others = RecordingPolicy {
        services: default.services.clone(),
        wire: wire(None),
    };
    Judged {
        policies: valid,
        objects,
        going,
        invalid,
        known,
        attached,
        layouts,
        rules,
        recorded,
        others,
        extensions,
    }
}

/// `None` for what an API server that knows the definition would not have let in.
fn typed(object: &DynamicObject) -> Option<LatencyPolicy> {
    let whole = serde_json::to_value(object).ok()?;
    let parsed = serde_json::from_value(whole.clone());
    // A status that is not ours is written anew.
    let parsed = parsed.or_else(|_| {
        let mut bare = whole;
        if let Some(members) = bare.as_object_mut() {
            members.remove("status");
        }
        serde_json::from_value(bare)
    });
    if let Err(error) = &parsed {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        warn!(namespace, name, %error, "not a LatencyPolicy of this version; it is left out");
    }
    parsed.ok()
}

fn checked(object: &LatencyPolicy) -> Result<(Policy, Shown), Invalid> {
    let policy = Policy::check(object)?;
    let object_labels = ObjectLabels::try_new(&policy.object_labels).map_err(|e| Invalid {
        problems: vec![format!("labels: {e}")],
    })?;
    let shown = Shown {
        dimensions: dimensions(&policy.dimensions),
        object_labels: Arc::new(object_labels),
    };
    Ok((policy, shown))
}

/// What a policy is called by those who ask why something is measured, or not.
pub(super) fn origin(policy: &Policy) -> String {
    format!("{} {}", policy.origin.as_str(), policy.id)
}

fn terms(policy: &Policy) -> Terms {
    Terms {
        when_idle: match policy.when_idle {
            crd::WhenIdle::Zero => WhenIdle::Zero,
            crd::WhenIdle::Absent => WhenIdle::Absent,
        },
        kong_compatible: policy.kong_compatible,
        max_series: policy.max_series,
    }
}

fn dimensions(of: &BTreeSet<crd::Dimension>) -> Dimensions {
    use gaugeway_index::Dimension as Shows;
    let each = of.iter().filter_map(|dimension| match dimension {
        crd::Dimension::Port => Some(Shows::Port),
        crd::Dimension::Pod => Some(Shows::Pod),
        crd::Dimension::Workload => Some(Shows::Workload),
        crd::Dimension::Node => Some(Shows::Node),
        crd::Dimension::Zone => Some(Shows::Zone),
        crd::Dimension::Gateway => Some(Shows::Gateway),
        // No label of a target: the filter reads it.
        crd::Dimension::Route => None,
    });
    each.collect()
}
