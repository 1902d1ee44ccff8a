//! Pods, workloads and addresses: whose they are, then the Service's chain.

use gaugeway_index::explain::CandidateFacts;

use super::{
    Verdict,
    answer::{Explanation, Step},
    facts::{AddressCase, GatewayCase, PodCase, ServiceCase},
    service::{self, plural},
};

/// Why a Pod's or a workload's requests are or are not measured.
pub(super) fn explain(case: &PodCase) -> Explanation {
    let (kind, name) = (&case.kind, format!("{}/{}", case.namespace, case.name));
    let subject = format!("{} {name}", kind.to_lowercase());
    let mut steps = vec![object(case, &name)];
    if case.facts.exists || !case.services.is_empty() {
        steps.push(services(&case.facts.services, kind));
    }
    with_services(subject, steps, &case.services)
}

/// Why requests to an address are or are not measured.
pub(super) fn explain_address(case: &AddressCase) -> Explanation {
    let mut steps = vec![owners(case)];
    for (gateway, candidates) in &case.told {
        steps.push(told(gateway, candidates, &case.address));
    }
    with_services(format!("address {}", case.address), steps, &case.services)
}

/// One measured Service is enough: a Pod behind a headless Service as well is no fault.
fn with_services(subject: String, mut steps: Vec<Step>, services: &[ServiceCase]) -> Explanation {
    let all: Vec<_> = services.iter().map(service::explain).collect();
    let measured = all.iter().any(|e| e.verdict == Verdict::Measured);
    let mut summary = String::new();
    let mut shown = false;
    for explanation in all {
        let detailed = if measured {
            explanation.verdict == Verdict::Measured
        } else {
            !shown
        };
        if detailed {
            shown = true;
            summary = format!("{}, as {}", explanation.summary, explanation.subject);
            steps.extend(explanation.steps);
        } else {
            let text = format!("{}: {}", explanation.subject, explanation.summary);
            steps.push(Step::note("service", text));
        }
    }
    Explanation::conclude(subject, steps, summary)
}

fn object(case: &PodCase, name: &str) -> Step {
    let kind = &case.kind;
    if !case.facts.exists {
        return Step::broken(
            &kind.to_lowercase(),
            if kind == "Pod" {
                format!("there is no Pod {name}")
            } else {
                format!("there is no Pod of a {kind} {name}")
            },
            "look at the spelling and the namespace; a controller with --namespaces reads those only",
        );
    }
    let found = match &case.facts.workload {
        Some(workload) => format!("{name}, of {workload}"),
        None if kind == "Pod" => name.to_owned(),
        None => format!("{name}, {}", plural(case.facts.pods.len(), "Pod", "Pods")),
    };
    let pods = case.facts.pods.iter().filter(|_| kind != "Pod").cloned();
    Step::ok(&kind.to_lowercase(), found).with(pods)
}

fn services(services: &[(String, String)], kind: &str) -> Step {
    let mut names = services
        .iter()
        .map(|(namespace, name)| format!("{namespace}/{name}"));
    match services.len() {
        0 => Step::broken(
            "services",
            "no Service's EndpointSlice lists it",
            format!(
                "a Service selects Pods by labels and lists those that have an address: compare its selector with the \
                 labels of the {kind}"
            ),
        ),
        1 => Step::ok("services", names.next().unwrap_or_default()),
        many => Step::ok("services", format!("{many} Services list it")).with(names),
    }
}

fn owners(case: &AddressCase) -> Step {
    let former = case
        .facts
        .former
        .iter()
        .map(|s| format!("{s} had it until lately"));
    let owner = |o: &gaugeway_index::explain::Owner| {
        let port = o.port.as_ref().map(|p| format!(" port {p}"));
        let pod = o.pod.as_ref().map(|p| format!(", Pod {p}"));
        format!(
            "{}/{}{}{}",
            o.namespace,
            o.name,
            port.unwrap_or_default(),
            pod.unwrap_or_default()
        )
    };
    let mut names = case.facts.owners.iter().map(owner);
    match case.facts.owners.len() {
        0 => Step::broken(
            "owner",
            format!("no Service has the address {}", case.address),
            "requests to it count as unknown. Its port is the Pod's as EndpointSlices list it, or the Service's at a \
             virtual address; the outside of a cluster belongs to no Service",
        ),
        1 => Step::ok("owner", names.next().unwrap_or_default()),
        many => Step::ok("owner", format!("{many} Services have it")).with(names),
    }
    .with(former)
}

fn told(gateway: &GatewayCase, candidates: &[CandidateFacts], address: &str) -> Step {
    let of = &gateway.name;
    let seen = if gateway.workers.seen.is_empty() {
        "no worker has sent a request there yet"
    } else {
        "its workers have seen it"
    };
    let labels = |c: &CandidateFacts| match c.labels.as_slice() {
        [] => "not selected".to_owned(),
        labels => labels.join(", "),
    };
    match candidates {
        [] => Step::note(
            "mapping",
            format!("{of} is told that {address} is unknown; {seen}"),
        ),
        [one] => Step::ok("mapping", format!("{of}: {seen}")).with([labels(one)]),
        many => {
            let lines = many.iter().map(|c| {
                let labels = labels(c);
                match c.hints.first() {
                    Some(hint) => {
                        format!("{labels}; by cluster {hint} and {} more", c.hints.len() - 1)
                    }
                    None => format!("{labels}; no cluster tells it from the others: ambiguous"),
                }
            });
            Step::ok("mapping", format!("{of}: {} share it; {seen}", many.len())).with(lines)
        }
    }
}
