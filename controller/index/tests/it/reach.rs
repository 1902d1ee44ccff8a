//! Which gateway may speak of which Service, and for how long.

use gaugeway_index::{Index, Kind, RecordingPolicy};
use gaugeway_wire::{Label, Target, TargetKind, target::names};
use serde_json::json;

use crate::objects::*;

fn target(labels: &[(&str, &str)]) -> Target {
    let label = |(name, value): &(&str, &str)| Label {
        name: (*name).to_owned().into(),
        value: (*value).into(),
    };
    Target::try_new(TargetKind::Kubernetes, labels.iter().map(label).collect()).unwrap()
}

fn cart() -> Target {
    target(&[(names::NAMESPACE, "shop"), (names::SERVICE, "cart")])
}

fn shop() -> Index {
    shop_recording(RecordingPolicy::default())
}

fn shop_recording(policy: RecordingPolicy) -> Index {
    let objects = [
        service("shop", "cart", &["10.96.0.1"], &["http:80"]),
        slice(
            "shop",
            "cart-1",
            "cart",
            &["http:8080"],
            &["10.0.0.1=cart-x"],
        ),
        pod("shop", "cart-x", "StatefulSet/cart", &["version=v1"]),
        route("shop", "web", EDGE, &[&["cart:80"]]),
    ];
    recording(policy, &objects)
}

#[test]
fn a_gateway_speaks_of_what_it_routes_to_and_of_nothing_else() {
    let index = shop();
    let (edge, inner) = (gateway(EDGE), gateway("shop/inner"));
    assert!(index.may_report(&edge, &cart()));
    assert!(!index.may_report(&inner, &cart()));
    let found = |g| index.resolve_text(g, &every_dimension(), "10.0.0.1:8080", at(0));
    assert_eq!(found(&edge).candidates.len(), 1);
    assert!(found(&inner).candidates.is_empty());
    let other = target(&[(names::NAMESPACE, "shop"), (names::SERVICE, "pay")]);
    assert!(!index.may_report(&edge, &other));
}

#[test]
fn unknown_and_overflow_are_everybodys() {
    let index = Index::default();
    for kind in [TargetKind::Unknown, TargetKind::Overflow] {
        let target = Target::try_new(kind, Vec::new()).unwrap();
        assert!(index.may_report(&gateway(EDGE), &target));
        assert!(index.is_live(&target));
    }
}

#[test]
fn a_gateway_does_not_speak_in_anothers_name() {
    let index = shop();
    let labels = [
        (names::NAMESPACE, "shop"),
        (names::SERVICE, "cart"),
        (names::GATEWAY, "shop/inner"),
    ];
    assert!(!index.may_report(&gateway(EDGE), &target(&labels)));
}

#[test]
fn a_departed_service_stays_reportable_for_a_day_and_attributable() {
    let mut index = shop();
    let edge = gateway(EDGE);
    let before = index.reach_generation();
    let _ = index.delete(&id(Kind::HttpRoute, "shop", "web"), at(100));
    assert!(index.reach_generation() > before);
    let _ = index.advance(at(100 + 86_399));
    assert!(index.may_report(&edge, &cart()));
    assert_eq!(
        owners(&index, "10.0.0.1:8080", at(200)),
        ["shop cart-x cart http"]
    );
    let before = index.reach_generation();
    let _ = index.advance(at(100 + 86_400));
    assert!(!index.may_report(&edge, &cart()));
    assert!(index.reach_generation() > before);
    assert!(owners(&index, "10.0.0.1:8080", at(90_000)).is_empty());
    assert_eq!(index.counts().gateways, 0);
}

#[test]
fn what_is_reached_now_goes_before_what_departed() {
    let mut index = index(&[
        slice("shop", "a-1", "a", &["80"], &["10.0.0.1=p"]),
        slice("shop", "b-1", "b", &["80"], &["10.0.0.1=p"]),
        route("shop", "web", EDGE, &[&["a", "b"]]),
    ]);
    assert_eq!(owners(&index, "10.0.0.1:80", at(0)).len(), 2);
    let _ = index.apply(&route("shop", "web", EDGE, &[&["b"]]), at(1));
    assert_eq!(owners(&index, "10.0.0.1:80", at(1)), ["shop p b 80"]);
}

#[test]
fn another_namespaces_service_needs_a_grant() {
    let mut index = index(&[
        slice("bank", "vault-1", "vault", &["80"], &["10.0.0.9=v"]),
        route("shop", "web", EDGE, &[&["bank/vault"]]),
    ]);
    let vault = target(&[(names::NAMESPACE, "bank"), (names::SERVICE, "vault")]);
    let edge = gateway(EDGE);
    assert!(!index.may_report(&edge, &vault));
    for wrong in [
        grant("bank", "elsewhere", None),
        grant("bank", "shop", Some("other")),
    ] {
        let _ = index.apply(&wrong, at(1));
        assert!(!index.may_report(&edge, &vault));
    }
    let _ = index.apply(&grant("bank", "shop", Some("vault")), at(2));
    assert!(index.may_report(&edge, &vault));
    assert_eq!(owners(&index, "10.0.0.9:80", at(2)), ["bank v vault 80"]);
    assert_eq!(
        owners(&index, "cluster:httproute/shop/web/rule/0", at(2)).len(),
        0
    );
    let _ = index.apply(&service("bank", "vault", &[], &["80"]), at(2));
    assert_eq!(
        owners(&index, "cluster:httproute/shop/web/rule/0", at(2)),
        ["bank vault 80"]
    );
    let _ = index.delete(&id(Kind::ReferenceGrant, "bank", "grant"), at(3));
    let _ = index.advance(at(3 + 86_400));
    assert!(!index.may_report(&edge, &vault));
}

#[test]
fn parents_and_backends_of_other_kinds_do_not_count() {
    let mesh = object(
        Kind::GrpcRoute,
        &json!({
            "metadata": {"namespace": "shop", "name": "mesh"},
            "spec": {
                "parentRefs": [
                    {"group": "", "kind": "Service", "name": "edge"},
                    {"name": "edge"},
                ],
                "rules": [{"backendRefs": [
                    {"group": "example.com", "kind": "Bucket", "name": "cart"},
                    {"name": "pay"},
                ]}],
            },
        }),
    );
    let index = index(&[mesh]);
    let pay = target(&[(names::NAMESPACE, "shop"), (names::SERVICE, "pay")]);
    assert!(index.may_report(&gateway(EDGE), &pay));
    assert!(!index.may_report(&gateway(EDGE), &cart()));
}

#[test]
fn a_target_lives_as_long_as_all_that_it_names() {
    let mut index = shop_recording(every_dimension());
    let with = |more: &[(&str, &str)]| {
        let mut labels = vec![(names::NAMESPACE, "shop"), (names::SERVICE, "cart")];
        labels.extend_from_slice(more);
        target(&labels)
    };
    let live = [
        with(&[]),
        with(&[(names::SERVICE_PORT, "http")]),
        with(&[(names::POD, "cart-x"), (names::SERVICE_PORT, "http")]),
        with(&[
            (names::WORKLOAD_KIND, "StatefulSet"),
            (names::WORKLOAD, "cart"),
        ]),
        with(&[
            (names::NODE, "node-1"),
            (names::ZONE, "a"),
            (names::GATEWAY, EDGE),
        ]),
        with(&[("label_version", "v1"), ("label_team", "cart")]),
    ];
    let gone = [
        with(&[(names::SERVICE_PORT, "admin")]),
        with(&[(names::POD, "cart-y")]),
        with(&[(names::NODE, "node-2")]),
        with(&[(names::POD, "cart-x"), ("label_version", "v2")]),
        target(&[(names::NAMESPACE, "shop"), (names::SERVICE, "pay")]),
        target(&[(names::SERVICE, "cart")]),
    ];
    for target in &live {
        assert!(index.is_live(target), "{target:?}");
    }
    for target in &gone {
        assert!(!index.is_live(target), "{target:?}");
    }
    let _ = index.delete(&id(Kind::EndpointSlice, "shop", "cart-1"), at(1));
    assert!(index.is_live(&live[0]) && index.is_live(&live[1]));
    assert!(!index.is_live(&live[2]));
    let _ = index.delete(&id(Kind::Service, "shop", "cart"), at(2));
    assert!(!index.is_live(&live[0]));
}

#[test]
fn a_service_that_no_route_names_is_not_live() {
    let mut index = shop();
    assert!(index.is_live(&cart()));
    let _ = index.delete(&id(Kind::HttpRoute, "shop", "web"), at(1));
    assert!(!index.is_live(&cart()));
}
