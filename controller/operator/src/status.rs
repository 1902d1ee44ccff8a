//! What became of a policy, as its status says it.
//!
//! | condition | reason | means |
//! |---|---|---|
//! | `Accepted` | `Accepted` | it is in force here |
//! | | `Invalid` | it cannot be used; the message names everything that is wrong |
//! | | `TargetNotFound` | there is no such Gateway or IngressClass |
//! | | `Conflicted` | older policies have every Service that it selects |
//! | `Programmed` | `Programmed` | its Services are measured |
//! | | `PartiallyProgrammed` | some are: older policies, or bounds (`maxSeries` is one), have taken the rest; the message says which |
//! | | `Overridden` | none is: older policies have them all |
//! | | `NoServices` | no Service that the gateway's routes reach is selected |
//! | | `NoWorkers` | no filter of this gateway has reported: it is not there, or cannot reach the controller |
//! | | `Refused` | the gateway has refused what was deployed; the message is its own |
//! | | any of [`crate::deploy::Reason`] | the filter is not deployed, and the message says what to do |
//! | | `NotAccepted` | see `Accepted` |
//!
//! Messages carry no counts, so that they change only when something happened.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    CONTROLLER_NAME,
    crd::{Ancestor, AncestorRef, LatencyPolicy, LatencyPolicyStatus, Summary},
    deploy::Deployment,
    policy::PolicyId,
    target::Target,
};

/// Longest message (Kubernetes's own bound is 32 KiB).
const MESSAGE_BYTES: usize = 1024;

/// What became of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It cannot be used.
    Invalid {
        /// Where it wants to be attached.
        targets: Vec<AncestorRef>,
        /// What is wrong with it.
        why: String,
    },
    /// Per target.
    Attached(Vec<Attachment>),
}

/// What became of a policy at one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Where.
    pub target: Target,
    /// Whether it is there.
    pub found: bool,
    /// Services that it decides.
    pub won: usize,
    /// Services that it selects and an older policy decides.
    pub lost: usize,
    /// One of those older policies.
    pub older: Option<PolicyId>,
    /// Whose settings hold for the gateway, if they are not this policy's own and differ.
    pub settings_of: Option<PolicyId>,
    /// Its bounds of classic buckets found no room.
    pub bounds_refused: bool,
    /// It has as many series as it may, and more were needed lately.
    pub series_refused: bool,
    /// `kongCompatible` is not in force for a Service that Kong's operator scrapes.
    pub kong_off: bool,
    /// Worker VMs that report.
    pub workers: usize,
    /// How the gateway came to its filter.
    pub deployment: Deployment,
}

impl Verdict {
    /// Of a policy that cannot be used.
    #[must_use]
    pub fn invalid(object: &LatencyPolicy, why: &crate::Invalid) -> Self {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let reference = |r: &crate::crd::TargetRef| {
            Target::of(r, namespace).map_or_else(
                || AncestorRef {
                    group: r.group.clone(),
                    kind: r.kind.clone(),
                    namespace: Some(namespace.to_owned()),
                    name: r.name.clone(),
                },
                |target| target.ancestor(),
            )
        };
        let targets = object.spec.target_refs.iter().take(16).map(reference);
        Self::Invalid {
            targets: targets.collect(),
            why: why.to_string(),
        }
    }
}

/// The status to be written. Equal to the present one if nothing happened: times of transitions stay, and what other
/// controllers say stays.
#[must_use]
pub fn status(object: &LatencyPolicy, verdict: &Verdict, now: &Time) -> LatencyPolicyStatus {
    let held = object.status.clone().unwrap_or_default();
    let said = said(verdict);
    let summary = summary(&said);
    let generation = object.metadata.generation;
    let mut ancestors: Vec<Ancestor> = said
        .into_iter()
        .map(|(reference, says)| {
            let before = held
                .ancestors
                .iter()
                .find(|a| is_ours(a) && a.ancestor_ref == reference);
            let before = before.map(|a| a.conditions.as_slice()).unwrap_or_default();
            Ancestor {
                ancestor_ref: reference,
                controller_name: CONTROLLER_NAME.to_owned(),
                conditions: says
                    .into_iter()
                    .map(|s| s.condition(generation, before, now))
                    .collect(),
            }
        })
        .collect();
    ancestors.extend(held.ancestors.into_iter().filter(|a| !is_ours(a)));
    ancestors.truncate(16);
    let attachments = match verdict {
        Verdict::Invalid { .. } => &[],
        Verdict::Attached(attachments) => attachments.as_slice(),
    };
    let sum = |of: fn(&Attachment) -> usize| {
        let sum = attachments
            .iter()
            .fold(0_usize, |sum, a| sum.saturating_add(of(a)));
        i32::try_from(sum).unwrap_or(i32::MAX)
    };
    LatencyPolicyStatus {
        ancestors,
        selected_services: sum(|a| a.won),
        workers: sum(|a| a.workers),
        summary,
    }
}

fn summary(said: &[(AncestorRef, [Says; 2])]) -> Summary {
    let names: Vec<&str> = said.iter().map(|(of, _)| of.name.as_str()).collect();
    Summary {
        targets: cut(names.join(", ")),
        accepted: worst(said.iter().map(|(_, [accepted, _])| accepted)),
        programmed: worst(said.iter().map(|(_, [_, programmed])| programmed)),
    }
}

/// What does not hold comes before what holds in part.
fn worst<'a>(all: impl Iterator<Item = &'a Says> + Clone) -> String {
    let goodness = |s: &&Says| (s.holds, s.reason == s.kind);
    let Some(worst) = all.clone().min_by_key(goodness) else {
        return String::new();
    };
    let count = all.clone().count();
    match all.filter(|s| s.reason == worst.reason).count() {
        same if same == count => worst.reason.to_owned(),
        some => format!("{} ({some} of {count})", worst.reason),
    }
}

fn is_ours(ancestor: &Ancestor) -> bool {
    ancestor.controller_name == CONTROLLER_NAME
}

/// One condition, before it has a time.
struct Says {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Says {
    fn condition(self, generation: Option<i64>, before: &[Condition], now: &Time) -> Condition {
        let status = if self.holds { "True" } else { "False" };
        let same = before
            .iter()
            .find(|c| c.type_ == self.kind && c.status == status);
        Condition {
            last_transition_time: same
                .map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
            message: cut(self.message),
            observed_generation: generation,
            reason: self.reason.to_owned(),
            status: status.to_owned(),
            type_: self.kind.to_owned(),
        }
    }
}

fn cut(mut message: String) -> String {
    let end = (0..=MESSAGE_BYTES.min(message.len()))
        .rev()
        .find(|at| message.is_char_boundary(*at));
    message.truncate(end.unwrap_or_default());
    message
}

fn says(kind: &'static str, holds: bool, reason: &'static str, message: impl Into<String>) -> Says {
    Says {
        kind,
        holds,
        reason,
        message: message.into(),
    }
}

fn said(verdict: &Verdict) -> Vec<(AncestorRef, [Says; 2])> {
    match verdict {
        Verdict::Invalid { targets, why } => {
            let of = |target: &AncestorRef| {
                let accepted = says("Accepted", false, "Invalid", why.clone());
                (target.clone(), [accepted, not_accepted()])
            };
            targets.iter().map(of).collect()
        }
        Verdict::Attached(attachments) => {
            let of = |a: &Attachment| (a.target.ancestor(), [accepted(a), programmed(a)]);
            attachments.iter().map(of).collect()
        }
    }
}

fn not_accepted() -> Says {
    says(
        "Programmed",
        false,
        "NotAccepted",
        "the condition Accepted says why",
    )
}

fn accepted(at: &Attachment) -> Says {
    if !at.found {
        let text = match &at.target {
            Target::Gateway { namespace, name } => {
                format!(
                    "there is no Gateway {name} in namespace {namespace}; a policy names Gateways of its own namespace"
                )
            }
            Target::IngressClass { name } => format!("there is no IngressClass {name}"),
        };
        return says("Accepted", false, "TargetNotFound", text);
    }
    match (&at.older, at.won) {
        (Some(older), 0) => {
            let text =
                format!("{older}, which is older, has every Service that this policy selects here");
            says("Accepted", false, "Conflicted", text)
        }
        _ => says("Accepted", true, "Accepted", "in force"),
    }
}

fn programmed(at: &Attachment) -> Says {
    let no = |reason, text: String| says("Programmed", false, reason, text);
    let reductions = reductions(at);
    if !at.found {
        not_accepted()
    } else if at.won == 0
        && let Some(older) = &at.older
    {
        no(
            "Overridden",
            format!("{older}, which is older, has every Service that this policy selects here"),
        )
    } else if at.won == 0 {
        let text = "no Service that routes of this gateway name is selected: see its routes' parentRefs and backendRefs, \
                    their ReferenceGrants, and serviceSelector";
        no("NoServices", text.to_owned())
    } else if let Deployment::Not { reason, text } = &at.deployment
        && (at.workers == 0 || reason.outweighs_workers())
    {
        no(reason.as_str(), text.clone())
    } else if at.workers == 0 {
        silent(&at.deployment)
    } else if reductions.is_empty() {
        says(
            "Programmed",
            true,
            "Programmed",
            "every selected Service is measured",
        )
    } else {
        says(
            "Programmed",
            true,
            "PartiallyProgrammed",
            reductions.join("; "),
        )
    }
}

/// Of a gateway that should have the filter, and none calls.
fn silent(deployment: &Deployment) -> Says {
    let no = |reason, text: &str| says("Programmed", false, reason, text);
    match deployment {
        Deployment::Deployed {
            refused: Some(why), ..
        } => no("Refused", why),
        Deployment::Deployed { .. } => no(
            "NoWorkers",
            "the filter is deployed and has not called yet: the gateway has not loaded it, or it cannot reach the \
             controller's filters port",
        ),
        _ => no(
            "NoWorkers",
            "no filter of this gateway has called: it is not deployed (gaugeway render shows how), or it cannot reach \
             the controller's filters port, or its token is not this gateway's",
        ),
    }
}

/// What of the policy does not hold here.
fn reductions(at: &Attachment) -> Vec<String> {
    let mut texts = Vec::new();
    if let Some(older) = &at.older {
        texts.push(format!(
            "{older}, which is older, has some of the Services that this policy selects"
        ));
    }
    if let Some(other) = &at.settings_of {
        texts.push(format!(
            "histogram.schema, reportInterval, deploy and the dimension route are those of {other}, the gateway's oldest policy"
        ));
    }
    if at.bounds_refused {
        texts.push("histogram.classicBuckets is not in force: all policies together have more than 64 bounds".to_owned());
    }
    if at.series_refused {
        texts.push(
            "maxSeries is reached: requests that would need a further series are counted in the series overflow; raise it, \
             or show fewer dimensions"
                .to_owned(),
        );
    }
    if at.kong_off {
        texts.push(
            "kongCompatible is off for Services that Kong's operator still scrapes (konghq.com/plugins on them names its \
             plugin): detach its DataPlaneMetricsExtension first"
                .to_owned(),
        );
    }
    if let Deployment::Deployed { partly, .. } = &at.deployment {
        texts.extend(partly.iter().cloned());
    }
    texts
}
