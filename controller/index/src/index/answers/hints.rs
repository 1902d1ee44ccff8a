//! Names of the clusters through which a gateway reaches a backend. Only shared addresses need them.

use gaugeway_wire::limits;

use super::leads_to;
use crate::{
    backend::Backend,
    key::{combined_name, ingress_name, rule_names},
    routes::{Routes, Standing, Use},
};

/// First the names that follow from the Service alone, then those of the routes' rules.
pub(super) fn of(
    backend: &Backend,
    standing: Standing<'_>,
    routes: &Routes,
    domain: &str,
) -> Vec<String> {
    let mut hints = of_service(backend, domain);
    if let Standing::Reached(uses) = standing {
        for used in uses
            .iter()
            .filter(|u| leads_to(u.port.as_ref(), &backend.port))
        {
            add(&mut hints, of_rule(used, routes));
        }
    }
    hints.truncate(limits::HINTS);
    hints
}

/// Joins the hints of two backends with the same target.
pub(super) fn add(hints: &mut Vec<String>, more: Vec<String>) {
    for hint in more {
        if hints.len() < limits::HINTS && !hints.contains(&hint) {
            hints.push(hint);
        }
    }
}

fn of_service(backend: &Backend, domain: &str) -> Vec<String> {
    let (namespace, name) = (&backend.service.namespace, &backend.service.name);
    let host = format!("{name}.{namespace}.svc.{domain}");
    let mut hints = vec![format!("{namespace}/{name}"), host.clone()];
    if let Some(port) = backend.port.number {
        hints.push(format!("{namespace}/{name}/{port}"));
        hints.push(format!("{host}:{port}"));
        hints.push(format!("outbound|{port}||{host}"));
    }
    if let Some(port) = &backend.port.name {
        hints.push(format!("{namespace}/{name}/{port}"));
    }
    hints
}

/// Envoy Gateway makes one cluster of a rule, or one of each backend where those differ in their filters. KIC makes one
/// Kong service of a rule, or of all rules with the same backends, depending on its flags: both names are hints.
fn of_rule(used: &Use, routes: &Routes) -> Vec<String> {
    let (kind, name) = (used.route.kind, &used.route.name);
    let Some((route, rule)) = routes.rule_of(used) else {
        return Vec::new();
    };
    let Some(prefix) = kind.prefix() else {
        let backends = rule.backends.iter().flatten();
        return backends.filter_map(ingress_name).collect();
    };
    let cluster = format!("{prefix}/{name}/rule/{}", used.rule);
    let mut hints = vec![
        cluster.clone(),
        format!("{cluster}/backend/{}", used.backend),
    ];
    hints.extend(rule_names(kind, name, used.rule, route.hostnames()));
    hints.extend(combined_name(kind, name, rule));
    hints
}
