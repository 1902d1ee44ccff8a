//! Names of the clusters through which a gateway reaches a backend. Only shared addresses need them.

use gaugeway_wire::limits;

use super::leads_to;
use crate::{
    backend::Backend,
    routes::{Standing, Use},
};

/// First the names that follow from the Service alone, then those of the routes' rules.
pub(super) fn of(backend: &Backend, standing: Standing<'_>) -> Vec<String> {
    let mut hints = of_service(backend);
    if let Standing::Reached(uses) = standing {
        for used in uses.iter().filter(|u| leads_to(u, backend)) {
            hints.extend(of_rule(used));
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

fn of_service(backend: &Backend) -> Vec<String> {
    let (namespace, name) = (&backend.service.namespace, &backend.service.name);
    let host = format!("{name}.{namespace}.svc.cluster.local");
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

/// Envoy Gateway makes one cluster of a rule, or one of each backend where those differ in their filters.
fn of_rule(used: &Use) -> [String; 2] {
    let route = &used.route;
    let rule = format!("{}/{}/rule/{}", route.kind.prefix(), route.name, used.rule);
    let backend = format!("{rule}/backend/{}", used.backend);
    [rule, backend]
}
