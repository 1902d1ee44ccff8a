//! A Service: object, route, policy, addresses, deployment, filter, reports, counts.

use gaugeway_index::{
    EndpointState,
    explain::{EndpointFacts, Form, RouteUse, ServiceFacts},
};

use super::{
    answer::{Explanation, Step, StepState},
    facts::{CountsCase, ServiceCase},
    gateway,
};

/// Why a Service is or is not measured.
pub(super) fn explain(case: &ServiceCase) -> Explanation {
    let mut steps = vec![object(case)];
    steps.push(route(case));
    for (gateway, selected) in &case.gateways {
        steps.push(gateway::policy(
            gateway,
            selected,
            &case.namespace,
            &case.name,
        ));
    }
    steps.push(addresses(case));
    for (gateway, _) in &case.gateways {
        steps.extend(gateway::deployment(gateway));
        steps.push(gateway::filter(gateway, case.endpoints.len()));
        steps.push(gateway::reports(gateway));
    }
    let unbroken = steps.iter().all(|s| s.state != StepState::Broken);
    steps.extend(counts(case, unbroken));
    let subject = format!("service {}/{}", case.namespace, case.name);
    let mut explanation = Explanation::conclude(subject, steps, measured(&case.counts));
    in_part(case, &mut explanation);
    explanation
}

fn measured(counts: &CountsCase) -> String {
    match &counts.minute {
        Some(Ok(0)) if counts.requests > 0 => "measured, idle in the last minute".to_owned(),
        Some(Ok(count)) if *count > 0 => format!("measured, {count} requests in the last minute"),
        _ if counts.requests > 0 => format!("measured, {} requests so far", counts.requests),
        _ => "measured, as soon as there is a request: none was counted yet".to_owned(),
    }
}

/// What some gateways count is said, so that nobody takes the sum for all.
fn in_part(case: &ServiceCase, explanation: &mut Explanation) {
    let holds = |(gateway, selected): &&(_, _)| gateway::holds(gateway, selected);
    let measuring = case.gateways.iter().filter(holds).count();
    if explanation.verdict == super::Verdict::NotMeasured
        && measuring > 0
        && measuring < case.gateways.len()
        && let Some(rest) = explanation.summary.strip_prefix("not measured: ")
    {
        explanation.summary = format!(
            "measured in part, at {measuring} of {} gateways: {rest}",
            case.gateways.len()
        );
    }
}

fn object(case: &ServiceCase) -> Step {
    let name = format!("{}/{}", case.namespace, case.name);
    match &case.facts {
        None => Step::broken(
            "service",
            format!("there is no Service {name}"),
            "look at the spelling and the namespace; a controller with --namespaces reads those only",
        ),
        Some(facts) => {
            let scraped = "Kong's operator scrapes it too, so kong_upstream_latency_ms is off: konghq.com/plugins names its plugin";
            let scraped = facts.is_scraped.then(|| scraped.to_owned());
            Step::ok("service", format!("{name}, {}", described(facts))).with(scraped)
        }
    }
}

fn described(facts: &ServiceFacts) -> String {
    let form = match facts.form {
        Form::ClusterIp => "ClusterIP",
        Form::Headless => "headless",
        Form::ExternalName => "ExternalName",
    };
    if facts.ports.is_empty() {
        format!("{form}, no TCP port")
    } else {
        format!("{form}, port {}", facts.ports.join(", "))
    }
}

fn route(case: &ServiceCase) -> Step {
    let details = case.uses.iter().map(|u| use_text(case, u));
    let works = |u: &&RouteUse| u.granted && u.port_exists && !u.gateways.is_empty();
    let working: Vec<_> = case.uses.iter().filter(works).collect();
    if working.is_empty() {
        let (found, advice) = no_route(case);
        return Step::broken("route", found, advice).with(details);
    }
    let mut names: Vec<_> = working.iter().flat_map(|u| &u.gateways).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<_> = names.into_iter().map(String::as_str).collect();
    let found = format!("reached by {}", names.join(", "));
    let step = if working.iter().all(|u| u.weight == 0) {
        Step::note(
            "route",
            format!("{found}, with weight 0: no request is sent"),
        )
    } else {
        Step::ok("route", found)
    };
    step.with(details)
}

fn use_text(case: &ServiceCase, used: &RouteUse) -> String {
    let mut text = format!("{} rule {}", used.route, used.rule);
    if let Some(port) = &used.port {
        text += &format!(", port {port}");
    }
    if used.weight != 1 {
        text += &format!(", weight {}", used.weight);
    }
    if used.gateways.is_empty() {
        text += ": attached to no gateway";
    } else {
        text += &format!(": of {}", used.gateways.join(", "));
    }
    if !used.granted {
        text += &format!(
            "; refused, no ReferenceGrant in namespace {} allows it",
            case.namespace
        );
    }
    if !used.port_exists {
        text += "; the Service has no such port";
    }
    text
}

fn no_route(case: &ServiceCase) -> (String, String) {
    let (namespace, name) = (&case.namespace, &case.name);
    if let Some(used) = case.uses.iter().find(|u| !u.granted) {
        let (kind, route) = used.route.split_once(' ').unwrap_or((&used.route, ""));
        let from = route.split('/').next().unwrap_or_default();
        return (
            format!(
                "{} is in another namespace and may not send to it",
                used.route
            ),
            format!(
                "create a ReferenceGrant in namespace {namespace}: from kind {kind} of namespace {from}, to Service {name}"
            ),
        );
    }
    if let Some(used) = case.uses.iter().find(|u| !u.port_exists) {
        let ports = case.facts.as_ref().map(|f| f.ports.join(", "));
        return (
            format!(
                "{} sends to port {}, which the Service does not have",
                used.route,
                used.port.as_deref().unwrap_or_default()
            ),
            format!(
                "name one of the Service's ports in the route: {}",
                ports
                    .filter(|p| !p.is_empty())
                    .unwrap_or_else(|| "it has none".to_owned())
            ),
        );
    }
    if let Some(used) = case.uses.first() {
        return (
            format!("{} names it, and is attached to no gateway", used.route),
            "name a Gateway in the route's parentRefs; of an Ingress set ingressClassName"
                .to_owned(),
        );
    }
    if let Some(gateway) = &case.only {
        return (
            format!("no route leads from {gateway} to it"),
            "ask without --gateway which gateways lead to it".to_owned(),
        );
    }
    (
        "no route that the controller reads names it".to_owned(),
        "name it as backend of an HTTPRoute, a GRPCRoute or an Ingress; routes of other kinds, and of namespaces that \
         the controller does not watch, are not read"
            .to_owned(),
    )
}

fn addresses(case: &ServiceCase) -> Step {
    if case.endpoints.is_empty() {
        return no_addresses(case);
    }
    let count = |state| case.endpoints.iter().filter(|e| e.state == state).count();
    let states = [
        (EndpointState::Ready, "ready"),
        (EndpointState::NotReady, "not ready"),
        (EndpointState::Terminating, "terminating"),
    ];
    let counted = states.map(|(state, word)| (count(state), word));
    let counted: Vec<_> = counted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let shared = case.endpoints.iter().filter(|e| !e.shared_with.is_empty());
    let mut found = format!(
        "{}: {}",
        plural(case.endpoints.len(), "address", "addresses"),
        counted.join(", ")
    );
    match shared.count() {
        0 => {}
        shared => found += &format!("; {shared} shared with other Services, told apart by cluster"),
    }
    let step = if count(EndpointState::Ready) > 0 {
        Step::ok("addresses", found)
    } else {
        Step::note("addresses", format!("{found}: no request is sent to it"))
    };
    step.with(case.endpoints.iter().map(endpoint_text))
}

fn no_addresses(case: &ServiceCase) -> Step {
    match case.facts.as_ref().map(|f| f.form) {
        Some(Form::ExternalName) => Step::note(
            "addresses",
            "an ExternalName has none: its requests are its own where the gateway's cluster is named after it",
        ),
        _ => Step::broken(
            "addresses",
            "no EndpointSlice lists an address of it",
            format!(
                "see whether its selector finds Pods: kubectl get endpointslices -n {} -l kubernetes.io/service-name={}",
                case.namespace, case.name
            ),
        ),
    }
}

fn endpoint_text(endpoint: &EndpointFacts) -> String {
    let state = match endpoint.state {
        EndpointState::Ready => "",
        EndpointState::NotReady => ", not ready",
        EndpointState::Terminating => ", terminating",
    };
    let pod = endpoint.pod.as_deref();
    let pod = pod.map(|pod| format!(" {pod}")).unwrap_or_default();
    let shared = if endpoint.shared_with.is_empty() {
        String::new()
    } else {
        format!(", also of {}", endpoint.shared_with.join(", "))
    };
    format!("{}{pod}{state}{shared}", endpoint.address)
}

/// Nothing of it where the chain before is broken and nothing was ever counted.
fn counts(case: &ServiceCase, unbroken: bool) -> Option<Step> {
    let counts = &case.counts;
    if !unbroken && counts.series == 0 {
        return None;
    }
    if counts.full && counts.series == 0 {
        return Some(Step::broken(
            "counts",
            "the ledger is full: what has no series yet is counted in one overflow series",
            "raise --max-series, or record fewer dimensions (route and pod multiply)",
        ));
    }
    let raise = "raise its maxSeries, or show fewer dimensions (route and pod multiply)";
    let refusing = counts.refusing.join(" and ");
    if !refusing.is_empty() && counts.series == 0 {
        return Some(Step::broken(
            "counts",
            format!(
                "{refusing} has as many series as its maxSeries allows: its requests are counted in one overflow series"
            ),
            raise,
        ));
    }
    let mut series = format!(
        "{}, {} in all",
        plural(counts.series, "series", "series"),
        plural_u64(counts.requests, "request", "requests")
    );
    if !refusing.is_empty() {
        series += &format!(
            "; {refusing} has reached its maxSeries, the rest is in one overflow series: {raise}"
        );
    }
    Some(match &counts.minute {
        Some(Ok(count)) => Step::ok(
            "counts",
            format!(
                "{} in the last minute; {series}",
                plural_u64(*count, "request", "requests")
            ),
        ),
        // Why the minute is not known is said by the steps before, or is for autoscalers only.
        Some(Err(why)) => Step::note(
            "counts",
            format!("{series}; the last minute is unknown: {why}"),
        ),
        None => Step::unclear(
            "counts",
            "the ledger did not answer",
            "ask again; it is busy or stopping",
        ),
    })
}

pub(super) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn plural_u64(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
