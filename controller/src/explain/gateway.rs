//! A gateway: its policies, its filter, its reports; by itself, or as links of a Service's chain.

use std::time::Duration;

use gaugeway_index::explain::Selected;
use gaugeway_operator::{
    deploy::{Deployment, Reason},
    dropin,
};
use gaugeway_wire::Nanos;

use super::{
    answer::{Explanation, Step},
    facts::{GatewayCase, ReachCase},
    service::plural,
};

/// A worker that holds no call and has not asked for so long is slow or gone. Kong's ask every 15 s.
const SILENT: Duration = Duration::from_secs(45);

/// Why a gateway's Services are or are not measured.
pub(super) fn explain(case: &ReachCase) -> Explanation {
    let gateway = &case.gateway;
    let mut steps = vec![object(gateway), routes(case), selection(case)];
    steps.extend(deployment(gateway));
    steps.extend([filter(gateway, 0), reports(gateway)]);
    let subject = format!("gateway {}", gateway.name);
    Explanation::conclude(subject, steps, "measured".to_owned())
}

/// Whether requests through a gateway are counted for a Service that it reaches.
pub(super) fn holds(gateway: &GatewayCase, selected: &Selected) -> bool {
    let selects = !matches!(selected, Selected::By(rules) if rules.is_empty());
    let reports = gateway.report.is_some_and(|r| !r.overdue);
    selects && !gateway.workers.workers.is_empty() && reports
}

fn object(gateway: &GatewayCase) -> Step {
    match gateway.exists {
        Some(false) => Step::broken(
            "gateway",
            format!("there is no gateway {}", gateway.name),
            "look at the spelling: gateway/NAME -n NAMESPACE for a Gateway, ingressclass/NAME for Ingresses",
        ),
        Some(true) => Step::ok("gateway", gateway.name.clone()),
        None => Step::note(
            "gateway",
            format!("{}, as routes and filters call it", gateway.name),
        ),
    }
}

fn routes(case: &ReachCase) -> Step {
    if case.services.is_empty() {
        return Step::broken(
            "routes",
            if case.routes.is_empty() {
                "no route that the controller reads names it".to_owned()
            } else {
                format!("named by {}, none of which leads to a Service", plural(case.routes.len(), "route", "routes"))
            },
            "a route names it in parentRefs (an Ingress by its class) and a Service in backendRefs; a Service in another \
             namespace needs a ReferenceGrant there",
        )
        .with(case.routes.iter().cloned());
    }
    let found = format!(
        "{} to {}",
        plural(case.routes.len(), "route", "routes"),
        plural(case.services.len(), "Service", "Services")
    );
    Step::ok("routes", found).with(case.routes.iter().cloned())
}

fn selection(case: &ReachCase) -> Step {
    let unusable = case.gateway.unusable.iter().map(unusable_text);
    if case.gateway.policies.is_none() {
        return Step::ok("policy", DEFAULT).with(unusable);
    }
    let by = |selected: &Selected| match selected {
        Selected::ByDefault => Some("the default".to_owned()),
        Selected::By(rules) => rules.first().cloned(),
    };
    let selected = case.services.iter().filter(|(.., s)| by(s).is_some());
    let selected = selected.count();
    let of_each = case
        .services
        .iter()
        .map(|(namespace, name, s)| match by(s) {
            Some(policy) => format!("{namespace}/{name}: {policy}"),
            None => format!("{namespace}/{name}: no policy"),
        });
    let policies = case.gateway.policies.iter().flatten();
    let policies: Vec<_> = policies.map(String::as_str).collect();
    let found = format!(
        "{} of {} selected by {}",
        selected,
        plural(case.services.len(), "Service", "Services"),
        policies.join(", ")
    );
    let step = if selected == 0 && !case.services.is_empty() {
        Step::broken(
            "policy",
            found,
            "widen serviceSelector of one of these policies",
        )
    } else {
        Step::ok("policy", found)
    };
    step.with(of_each).with(unusable)
}

const DEFAULT: &str = "no policy of its own: the controller's default records every Service";

/// What the gateway's policies say of a Service.
pub(super) fn policy(
    gateway: &GatewayCase,
    selected: &Selected,
    namespace: &str,
    name: &str,
) -> Step {
    let of = &gateway.name;
    let unusable = gateway.unusable.iter().map(unusable_text);
    let rules = match selected {
        Selected::ByDefault => {
            return Step::ok("policy", format!("{of} has {DEFAULT}")).with(unusable);
        }
        Selected::By(rules) => rules,
    };
    let Some((first, overridden)) = rules.split_first() else {
        let all = gateway.policies.iter().flatten();
        let all: Vec<_> = all.map(String::as_str).collect();
        return Step::broken(
            "policy",
            format!("no policy of {of} selects it"),
            format!(
                "let serviceSelector of one of its policies select {namespace}/{name}, by matchNames or matchLabels: {}",
                all.join(", ")
            ),
        )
        .with(unusable);
    };
    let overridden = overridden
        .iter()
        .map(|policy| match policy.starts_with(dropin::KIND) {
            true => format!("{policy} selects it too: overridden"),
            false => format!("{policy} selects it too and is younger: overridden"),
        });
    Step::ok("policy", format!("{first} selects it at {of}"))
        .with(overridden)
        .with(unusable)
}

fn unusable_text((policy, why): &(String, String)) -> String {
    format!("{policy} cannot be used: {why}")
}

/// How the gateway came to its filter; nothing where this controller does not know.
pub(super) fn deployment(gateway: &GatewayCase) -> Option<Step> {
    const NAME: &str = "deployment";
    let of = &gateway.name;
    // Whoever calls has it, however that came.
    let calls = !gateway.workers.workers.is_empty();
    Some(match &gateway.deployment {
        Deployment::Unmanaged => return None,
        Deployment::Deployed {
            refused: Some(why), ..
        } => Step::broken(
            NAME,
            format!("the controller put the filter into {of}, and the gateway refused it"),
            why.clone(),
        ),
        Deployment::Deployed { partly, .. } => {
            let found = format!("the controller put the filter into {of}");
            Step::ok(NAME, found).with(partly.iter().cloned())
        }
        // Somebody wants it so, or it is put there by hand.
        Deployment::Not {
            reason: Reason::NotDeployed | Reason::Unsupported | Reason::Detached,
            text,
        } => Step::note(NAME, format!("not by the controller: {text}")),
        Deployment::Not { reason, text } if calls => {
            Step::note(NAME, format!("{}: {text}", reason.as_str()))
        }
        Deployment::Not { reason, text } => Step::broken(
            NAME,
            format!(
                "the filter is not in {of}, or not as it should be: {}",
                reason.as_str()
            ),
            text.clone(),
        ),
    })
}

/// The gateway's workers, and which of a Service's addresses they have seen.
pub(super) fn filter(gateway: &GatewayCase, addresses: usize) -> Step {
    let (of, facts) = (&gateway.name, &gateway.workers);
    if facts.workers.is_empty() {
        let of_kong = |policy: &&String| policy.starts_with(dropin::KIND);
        let extension = gateway.policies.iter().flatten().find(of_kong);
        let extension = extension.and_then(|p| p.split_once(' '));
        let advice = if gateway.exists == Some(false) {
            format!("create Gateway {of}: the routes name one that does not exist")
        } else {
            load(gateway)
        };
        let advice = match extension {
            Some((_, id)) => {
                format!(
                    "see whether its data plane can load one: gaugeway explain extension {id}. If so, {advice}"
                )
            }
            None => advice,
        };
        return Step::broken(
            "filter",
            format!("no worker of {of} has called: no filter, or no request through it yet"),
            advice,
        );
    }
    let workers = plural(facts.workers.len(), "worker", "workers");
    let silent: Vec<_> = facts
        .workers
        .iter()
        .filter(|w| w.behind > 0 && duration(w.silent) > SILENT)
        .collect();
    if let Some(worker) = silent.first() {
        return Step::unclear(
            "filter",
            format!(
                "{} of {workers} of {of} has not asked for {}",
                silent.len(),
                ago(worker.silent)
            ),
            "it ended, or cannot reach the filters port: its gateway's log says which; ask again in a minute",
        );
    }
    let mut found = format!("{workers} of {of} ask for the mapping");
    match facts.workers.iter().filter(|w| w.behind > 0).count() {
        0 => found += " and hold it as it is",
        behind => found += &format!("; {behind} wait for the newest answer"),
    }
    if addresses > 0 {
        found += &format!(
            "; they have seen {} of {addresses}",
            plural(facts.seen.len(), "address", "addresses")
        );
    }
    Step::ok("filter", found)
}

/// What brings the first worker.
fn load(gateway: &GatewayCase) -> String {
    const BY_HAND: &str = "its token must be made for this very name, its cluster lead to the filters port, and its log \
                           lines begin with gaugeway";
    let of = &gateway.name;
    match &gateway.deployment {
        Deployment::Deployed { .. } => format!(
            "send a request through {of}. If that changes nothing: its own control plane has not taken the filter (the \
             status of what was deployed, and its log, say why), or it cannot reach the controller's filters port"
        ),
        Deployment::Not { text, .. } => format!("{text}. If it is there by hand: {BY_HAND}"),
        Deployment::Unmanaged => format!(
            "load the filter into {of} (gaugeway render shows how) and send a request through it. If that changes nothing: \
             {BY_HAND}"
        ),
    }
}

/// The gateway's reports.
pub(super) fn reports(gateway: &GatewayCase) -> Step {
    let of = &gateway.name;
    match gateway.report {
        None if gateway.workers.workers.is_empty() => {
            Step::note("reports", format!("none of {of}"))
        }
        None => Step::broken(
            "reports",
            format!("{of} has not reported yet"),
            "workers that had a request report once per interval: ask again then. If none comes, \
             gaugeway_rejected_calls_total says why",
        ),
        Some(report) if report.overdue => Step::broken(
            "reports",
            format!("{of} stopped reporting {} ago", ago(report.age)),
            "it ended, or cannot reach the filters port; what it counted meanwhile arrives with its first report",
        ),
        Some(report) => Step::ok("reports", format!("{of} reported {} ago", ago(report.age))),
    }
}

/// Whole seconds, or minutes.
fn ago(age: Nanos) -> String {
    match duration(age).as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

const fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos.0)
}
