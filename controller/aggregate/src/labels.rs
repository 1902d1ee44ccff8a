//! Labels as the text formats write them, and which labels a gateway may define.
//!
//! An empty value means an absent label to Prometheus, so it is left out: else two series that differ only in an
//! empty label would be the same one to Prometheus, and a scrape with both is refused.

use gaugeway_wire::{GatewayName, Label, Target, TargetKind, target::names};

/// Label value of namespace's Service for what has no target.
const UNKNOWN: &str = "unknown";
/// Label value for counts that could not have a series of their own.
const OVERFLOW: &str = "overflow";

/// The labels between the braces: sorted by name, values escaped, no trailing comma. Never empty.
pub(crate) fn render(target: &Target, route: &str) -> Box<str> {
    let mut out = String::with_capacity(160);
    each(target, route, |name, value| put(&mut out, name, value));
    out.into_boxed_str()
}

/// Gives the labels of a series, sorted by name, without the empty ones, but for an unknown namespace.
pub(crate) fn each(target: &Target, route: &str, mut give: impl FnMut(&str, &str)) {
    let mut give_some = |name: &str, value: &str| {
        if !value.is_empty() {
            give(name, value);
        }
    };
    let mut route = Some(route);
    let service = made_by_filter(target.kind());
    for label in target.labels() {
        if *label.name > *names::ROUTE
            && service.is_none()
            && let Some(route) = route.take()
        {
            give_some(names::ROUTE, route);
        }
        give_some(&label.name, &label.value);
    }
    if let Some(service) = service {
        give(names::NAMESPACE, "");
        give(names::SERVICE, service);
    }
    if let Some(route) = route.filter(|route| !route.is_empty()) {
        give(names::ROUTE, route);
    }
}

/// Escapes a label's value for the text formats.
pub(crate) fn escape(out: &mut String, value: &str) {
    for part in value.split_inclusive(['\\', '"', '\n']) {
        let (plain, escaped) = match part.as_bytes().last() {
            Some(b'\\') => (part.strip_suffix('\\'), "\\\\"),
            Some(b'"') => (part.strip_suffix('"'), "\\\""),
            Some(b'\n') => (part.strip_suffix('\n'), "\\n"),
            _ => (None, ""),
        };
        out.push_str(plain.unwrap_or(part));
        out.push_str(escaped);
    }
}

/// Whether `gateway` may define this target, whatever it routes to: a Kubernetes target names namespace and Service;
/// the filter's own targets have no labels; a `gateway` label names the reporter.
pub(crate) fn is_definable(gateway: &GatewayName, target: &Target) -> bool {
    let own = |label: &Label| label.name != names::GATEWAY || label.value == gateway.as_str();
    let has = |name| target.label(name).is_some_and(|value| !value.is_empty());
    let fits = match target.kind() {
        TargetKind::Kubernetes => has(names::NAMESPACE) && has(names::SERVICE),
        TargetKind::Unknown | TargetKind::Overflow => target
            .labels()
            .iter()
            .all(|label| label.name == names::GATEWAY),
    };
    fits && target.labels().iter().all(own)
}

const fn made_by_filter(kind: TargetKind) -> Option<&'static str> {
    match kind {
        TargetKind::Kubernetes => None,
        TargetKind::Unknown => Some(UNKNOWN),
        TargetKind::Overflow => Some(OVERFLOW),
    }
}

/// Appends a label.
pub(crate) fn put(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    escape(out, value);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: TargetKind, labels: &[(&str, &str)]) -> Target {
        let label = |&(name, value): &(&str, &str)| Label {
            name: name.to_owned().into(),
            value: value.into(),
        };
        Target::try_new(kind, labels.iter().map(label).collect()).unwrap()
    }

    const SHOP: [(&str, &str); 2] = [(names::NAMESPACE, "shop"), (names::SERVICE, "cart")];

    #[test]
    fn labels_are_sorted_with_the_route_among_them() {
        let t = target(
            TargetKind::Kubernetes,
            &[
                SHOP[0],
                SHOP[1],
                (names::ZONE, "z1"),
                (names::GATEWAY, "demo/edge"),
            ],
        );
        assert_eq!(
            &*render(&t, "r"),
            r#"gateway="demo/edge",kubernetes_namespace="shop",kubernetes_service="cart",route="r",topology_zone="z1""#
        );
    }

    #[test]
    fn a_filters_own_targets_have_names_that_no_service_can_have() {
        let unknown = target(TargetKind::Unknown, &[]);
        assert_eq!(
            &*render(&unknown, ""),
            r#"kubernetes_namespace="",kubernetes_service="unknown""#
        );
        let overflow = target(TargetKind::Overflow, &[(names::GATEWAY, "a/b")]);
        assert_eq!(
            &*render(&overflow, "r"),
            r#"gateway="a/b",kubernetes_namespace="",kubernetes_service="overflow",route="r""#
        );
    }

    #[test]
    fn empty_values_are_absent() {
        let t = target(
            TargetKind::Kubernetes,
            &[SHOP[0], SHOP[1], (names::POD, "")],
        );
        assert_eq!(
            render(&t, ""),
            render(&target(TargetKind::Kubernetes, &SHOP), "")
        );
    }

    #[test]
    fn values_are_escaped() {
        let mut out = String::new();
        escape(&mut out, "a\\b\"c\nd\\");
        assert_eq!(out, r#"a\\b\"c\nd\\"#);
        out.clear();
        escape(&mut out, "ü{},=");
        assert_eq!(out, "ü{},=");
    }

    #[test]
    fn a_gateway_defines_only_what_can_be_its_own() {
        let me = GatewayName::try_new("demo/edge").unwrap();
        let may = |kind, labels: &[(&str, &str)]| is_definable(&me, &target(kind, labels));
        assert!(may(TargetKind::Kubernetes, &SHOP));
        assert!(may(
            TargetKind::Kubernetes,
            &[SHOP[0], SHOP[1], (names::GATEWAY, "demo/edge")]
        ));
        assert!(!may(
            TargetKind::Kubernetes,
            &[SHOP[0], SHOP[1], (names::GATEWAY, "demo/other")]
        ));
        assert!(!may(TargetKind::Kubernetes, &[SHOP[0]]));
        assert!(!may(
            TargetKind::Kubernetes,
            &[SHOP[0], (names::SERVICE, "")]
        ));
        assert!(may(TargetKind::Unknown, &[]));
        assert!(!may(TargetKind::Unknown, &SHOP));
        assert!(may(TargetKind::Overflow, &[(names::GATEWAY, "demo/edge")]));
    }
}
