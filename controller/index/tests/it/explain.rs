//! What the index and the hub tell a person who asks why.

use gaugeway_index::{
    EndpointState, Hub, HubLimits, Kind, RecordingPolicy, Rule, ServiceSelector, Services, Shown,
    Terms, Ticket,
    explain::{Form, RouteUse, Selected},
};
use gaugeway_wire::{
    MappingRequest,
    units::{MappingEpoch, VmId},
};
use serde_json::json;

use crate::objects::*;

#[test]
fn every_route_that_names_a_service_is_told_with_what_it_lacks() {
    let index = index(&[
        service("shop", "cart", &["10.96.0.1"], &["http:80"]),
        route("shop", "web", EDGE, &[&["pay:80"], &["cart:80"]]),
        route("shop", "wrong", EDGE, &[&["cart:81"]]),
        route("far", "web", "far/edge", &[&["shop/cart:80"]]),
        route("near", "web", "near/edge", &[&["shop/cart:80"]]),
        grant("shop", "near", Some("cart")),
        ingress("shop", "old", "kong", &["cart:http"]),
        object(
            Kind::Service,
            &json!({
                "metadata": {"namespace": "shop", "name": "away"},
                "spec": {"type": "ExternalName", "externalName": "example.com"},
            }),
        ),
        route("shop", "out", EDGE, &[&["away:443"]]),
    ]);
    let brief = |u: &RouteUse| {
        let (port, gateways) = (u.port.as_deref().unwrap_or_default(), u.gateways.join(" "));
        let (port_exists, granted) = (u.port_exists, u.granted);
        format!(
            "{} {} {port} {port_exists} {gateways} {granted}",
            u.route, u.rule
        )
    };
    let uses: Vec<_> = index.route_uses("shop", "cart").iter().map(brief).collect();
    assert_eq!(
        uses,
        [
            "HTTPRoute far/web 0 80 true far/edge false",
            "HTTPRoute near/web 0 80 true near/edge true",
            "HTTPRoute shop/web 1 80 true shop/edge true",
            "HTTPRoute shop/wrong 0 81 false shop/edge true",
            "Ingress shop/old 0 http true ingressclass:kong true",
        ]
    );
    // It need not name its ports.
    assert!(index.route_uses("shop", "away")[0].port_exists);
    assert!(index.route_uses("shop", "stock").is_empty());
}

#[test]
fn addresses_are_told_with_state_and_who_shares_them() {
    let mut cart = json!({
        "metadata": {
            "namespace": "shop", "name": "cart-1", "labels": {"kubernetes.io/service-name": "cart"},
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.3"]},
        ],
    });
    let mut index = index(&[
        service("shop", "cart", &["None"], &["80"]),
        object(Kind::EndpointSlice, &cart),
        slice("shop", "blue-1", "blue", &["8080"], &["10.0.0.3=c"]),
    ]);
    let told = |index: &gaugeway_index::Index| -> Vec<_> {
        let facts = index.endpoint_facts("shop", "cart").into_iter();
        facts.map(|e| (e.address, e.state, e.shared_with)).collect()
    };
    let of = |address: &str, state, shared: &[&str]| {
        let shared: Vec<_> = shared.iter().map(|s| (*s).to_owned()).collect();
        (address.to_owned(), state, shared)
    };
    assert_eq!(
        told(&index),
        [
            of("10.0.0.3:8080", EndpointState::Ready, &["shop/blue"]),
            of("10.0.0.2:8080", EndpointState::NotReady, &[]),
            of("10.0.0.1:8080", EndpointState::Terminating, &[]),
        ]
    );
    cart["endpoints"][1]["conditions"]["ready"] = json!(true);
    let changes = index.apply(&object(Kind::EndpointSlice, &cart), at(1));
    assert!(
        changes.is_empty(),
        "whose an address is does not depend on its state"
    );
    assert_eq!(told(&index)[0].1, EndpointState::Ready);
    assert_eq!(told(&index)[1].1, EndpointState::Ready);
    assert_eq!(index.counts().endpoints, 4);
}

#[test]
fn forms_and_ports_of_services() {
    let external = json!({
        "metadata": {"namespace": "shop", "name": "away"},
        "spec": {"type": "ExternalName", "externalName": "example.com"},
    });
    let index = index(&[
        service("shop", "cart", &["10.96.0.1"], &["http:80", "9000"]),
        service("shop", "db", &["None"], &["5432"]),
        object(Kind::Service, &external),
    ]);
    let form = |name| index.service_facts("shop", name).map(|f| f.form);
    assert_eq!(form("cart"), Some(Form::ClusterIp));
    assert_eq!(form("db"), Some(Form::Headless));
    assert_eq!(form("away"), Some(Form::ExternalName));
    assert_eq!(form("nothing"), None);
    let cart = index.service_facts("shop", "cart").unwrap();
    assert_eq!(cart.ports, ["http:80", "9000"]);
}

#[test]
fn policies_are_named_in_the_order_in_which_they_win() {
    let mut index = index(&[
        service("shop", "cart", &[], &["80"]),
        service("shop", "pay", &[], &["80"]),
        route("shop", "web", EDGE, &[&["cart", "pay"]]),
    ]);
    assert_eq!(index.selected(EDGE, "shop", "cart"), Selected::ByDefault);
    assert_eq!(index.policies_of(EDGE), None);
    let rule = |origin: &str, names: &[&str]| Rule {
        origin: origin.into(),
        services: ServiceSelector {
            names: Some(
                names
                    .iter()
                    .map(|n| ("shop".to_owned(), (*n).to_owned()))
                    .collect(),
            ),
            ..ServiceSelector::default()
        },
        shown: Shown::default(),
        terms: Terms::default(),
    };
    let rules = [
        rule("a", &["pay"]),
        rule("b", &["cart"]),
        rule("c", &["cart"]),
    ];
    let policy = RecordingPolicy {
        services: Services::First(rules.into()),
        ..RecordingPolicy::default()
    };
    assert!(index.set_policy(&gateway(EDGE), Some(policy)));
    let by = |names: &[&str]| Selected::By(names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(index.selected(EDGE, "shop", "cart"), by(&["b", "c"]));
    assert_eq!(index.selected(EDGE, "shop", "nothing"), by(&[]));
    assert_eq!(index.policies_of(EDGE).unwrap(), ["a", "b", "c"]);
}

#[test]
fn pods_and_workloads_lead_to_their_services() {
    let index = index(&[
        slice(
            "shop",
            "cart-1",
            "cart",
            &["8080"],
            &["10.0.0.1=cart-7d9-x"],
        ),
        slice(
            "shop",
            "cart-2",
            "cart-headless",
            &["8080"],
            &["10.0.0.1=cart-7d9-x"],
        ),
        slice(
            "bank",
            "cart-1",
            "cart",
            &["8080"],
            &["10.0.1.1=cart-7d9-x"],
        ),
        pod(
            "shop",
            "cart-7d9-x",
            "ReplicaSet/cart-7d9",
            &["pod-template-hash=7d9"],
        ),
        pod(
            "shop",
            "cart-7d9-y",
            "ReplicaSet/cart-7d9",
            &["pod-template-hash=7d9"],
        ),
        pod("shop", "db-0", "StatefulSet/db", &[]),
    ]);
    let of = |name: &str| ("shop".to_owned(), name.to_owned());
    let one = index.pod_facts("shop", "cart-7d9-x");
    assert!(one.exists);
    assert_eq!(one.workload.as_deref(), Some("Deployment/cart"));
    assert_eq!(one.services, [of("cart"), of("cart-headless")]);
    assert!(!index.pod_facts("shop", "nothing").exists);
    let all = index.workload_facts("shop", "Deployment", "cart");
    assert_eq!(all.pods, ["cart-7d9-x", "cart-7d9-y"]);
    assert_eq!(all.services, [of("cart"), of("cart-headless")]);
    let lonely = index.workload_facts("shop", "StatefulSet", "db");
    assert!(lonely.exists && lonely.services.is_empty());
    assert!(!index.workload_facts("bank", "StatefulSet", "db").exists);
}

#[test]
fn an_address_tells_its_owners_former_ones_and_what_a_gateway_makes_of_them() {
    let mut index = index(&[
        service("shop", "cart", &["10.96.0.1"], &["http:80"]),
        slice("shop", "old-1", "old", &["8080"], &["10.0.0.1=o"]),
        route("shop", "web", EDGE, &[&["cart", "old"]]),
    ]);
    let _ = index.delete(&id(Kind::EndpointSlice, "shop", "old-1"), at(1));
    let _ = index.apply(
        &slice("shop", "cart-1", "cart", &["http:8080"], &["10.0.0.1=c"]),
        at(1),
    );
    let facts = index.address_facts("10.0.0.1:8080", at(2));
    assert!(facts.is_address);
    assert_eq!(facts.former, ["shop/old"]);
    let owner = &facts.owners[0];
    assert_eq!(
        (
            owner.name.as_str(),
            owner.port.as_deref(),
            owner.pod.as_deref()
        ),
        ("cart", Some("http"), Some("c"))
    );
    let told = index.candidate_facts(&gateway(EDGE), "10.0.0.1:8080", at(2));
    assert!(
        told[0]
            .labels
            .contains(&"kubernetes_service=cart".to_owned()),
        "{told:?}"
    );
    assert!(
        index
            .candidate_facts(&gateway("far/edge"), "10.0.0.1:8080", at(2))
            .is_empty()
    );
    assert!(!index.address_facts("cart", at(2)).is_address);
    let reach = index.gateway_facts(EDGE);
    assert_eq!(reach.routes, ["HTTPRoute shop/web"]);
    assert_eq!(reach.services.len(), 2);
}

#[test]
fn workers_are_told_with_what_they_wait_for_and_what_they_have_seen() {
    let index = index(&[
        slice("shop", "cart-1", "cart", &["8080"], &["10.0.0.1=c"]),
        route("shop", "web", EDGE, &[&["cart"]]),
    ]);
    let mut hub = Hub::new(MappingEpoch(9), HubLimits::default());
    let vm = VmId([3; 16]);
    let request = MappingRequest {
        subscribe: vec!["10.0.0.1:8080".to_owned()],
        ..MappingRequest::new(vm)
    };
    hub.on_request(&index, at(1), Ticket(1), &gateway(EDGE), &request);
    let keys = ["10.0.0.1:8080", "10.0.0.2:8080"];
    let facts = hub.facts(&gateway(EDGE), keys, at(8));
    assert_eq!(facts.seen, ["10.0.0.1:8080"]);
    let [worker] = facts.workers.as_slice() else {
        panic!("{facts:?}");
    };
    assert_eq!((worker.id, worker.keys), (vm, 1));
    assert_eq!(worker.silent, at(8).since(at(1)));
    assert_eq!(worker.behind, 2, "policy and entry are not confirmed");
    let other = hub.facts(&gateway("far/edge"), keys, at(8));
    assert!(other.workers.is_empty() && other.seen.is_empty());
}
