//! Whose an upstream key is.

use gaugeway_index::{Index, Kind, Problem, RecordingPolicy};
use gaugeway_wire::{Target, target::names};
use serde_json::json;

use crate::objects::*;

fn labels(index: &Index, key: &str) -> Vec<(String, String)> {
    let found = index.resolve_text(&gateway(EDGE), &every_dimension(), key, at(0));
    let target = Target::decode(&found.candidates[0].target.bytes).unwrap();
    let labels = target.labels().iter();
    labels
        .map(|l| (l.name.to_string(), l.value.clone()))
        .collect()
}

#[test]
fn an_endpoint_has_every_label_that_the_policy_asks_for() {
    let index = index(&[
        service("shop", "cart", &["10.96.0.1"], &["http:80"]),
        slice(
            "shop",
            "cart-1",
            "cart",
            &["http:8080"],
            &["10.0.0.1=cart-7d9-x"],
        ),
        pod(
            "shop",
            "cart-7d9-x",
            "ReplicaSet/cart-7d9",
            &["version=v2", "pod-template-hash=7d9"],
        ),
        route("shop", "web", EDGE, &[&["cart:80"]]),
    ]);
    let expected = [
        (names::GATEWAY, EDGE),
        (names::NAMESPACE, "shop"),
        (names::NODE, "node-1"),
        (names::POD, "cart-7d9-x"),
        (names::SERVICE, "cart"),
        (names::SERVICE_PORT, "http"),
        (names::WORKLOAD, "cart"),
        (names::WORKLOAD_KIND, "Deployment"),
        ("label_team", "cart"),
        ("label_version", "v2"),
        (names::ZONE, "a"),
    ];
    let expected = expected.map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(labels(&index, "10.0.0.1:8080"), expected);
}

#[test]
fn a_single_candidate_needs_no_hints() {
    let index = index(&[
        slice("shop", "cart-1", "cart", &["8080"], &["10.0.0.1=a"]),
        route("shop", "web", EDGE, &[&["cart"]]),
    ]);
    let found = resolve(&index, "10.0.0.1:8080", at(0));
    assert_eq!(found.candidates.len(), 1);
    assert!(found.candidates[0].hints.is_empty());
    assert_eq!(found.since, None);
}

#[test]
fn the_same_address_with_another_port_is_another_key() {
    let index = index(&[
        slice("shop", "a-1", "a", &["41234"], &["127.0.0.1=a"]),
        slice("shop", "b-1", "b", &["41235"], &["127.0.0.1=b"]),
        route("shop", "web", EDGE, &[&["a", "b"]]),
    ]);
    assert_eq!(owners(&index, "127.0.0.1:41234", at(0)), ["shop a a 41234"]);
    assert_eq!(owners(&index, "127.0.0.1:41235", at(0)), ["shop b b 41235"]);
    assert_eq!(owners(&index, "127.0.0.1:41236", at(0)), [""; 0]);
}

#[test]
fn a_cluster_ip_is_its_service_without_a_pod() {
    let index = index(&[
        service(
            "shop",
            "cart",
            &["10.96.0.1", "fd00::1"],
            &["http:80", "admin:9000"],
        ),
        route("shop", "web", EDGE, &[&["cart:80"]]),
    ]);
    assert_eq!(owners(&index, "10.96.0.1:80", at(0)), ["shop cart http"]);
    assert_eq!(owners(&index, "[fd00::1]:9000", at(0)), ["shop cart admin"]);
    assert_eq!(owners(&index, "10.96.0.1:81", at(0)), [""; 0]);
}

#[test]
fn headless_and_external_name_services_have_no_address_of_their_own() {
    let external = object(
        Kind::Service,
        &json!({
            "metadata": {"namespace": "shop", "name": "away"},
            "spec": {"type": "ExternalName", "externalName": "example.com"},
        }),
    );
    let index = index(&[
        service("shop", "db", &["None"], &["sql:5432"]),
        slice("shop", "db-1", "db", &["sql:5432"], &["10.0.0.9=db-0"]),
        external,
        route("shop", "web", EDGE, &[&["db", "away"]]),
    ]);
    assert_eq!(owners(&index, "10.0.0.9:5432", at(0)), ["shop db-0 db sql"]);
    assert_eq!(owners(&index, "cluster:shop/away", at(0)), ["shop away"]);
}

#[test]
fn external_and_load_balancer_addresses_are_the_services() {
    let balanced = object(
        Kind::Service,
        &json!({
            "metadata": {"namespace": "shop", "name": "cart"},
            "spec": {"externalIPs": ["192.0.2.1"], "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "x"}]}},
        }),
    );
    let index = index(&[balanced, route("shop", "web", EDGE, &[&["cart"]])]);
    assert_eq!(owners(&index, "192.0.2.1:80", at(0)), ["shop cart 80"]);
    assert_eq!(owners(&index, "192.0.2.2:80", at(0)), ["shop cart 80"]);
}

#[test]
fn dual_stack_and_several_slices_of_one_service() {
    let index = index(&[
        service("shop", "cart", &["10.96.0.1"], &["http:80"]),
        slice("shop", "v4", "cart", &["http:8080"], &["10.0.0.1=a"]),
        slice("shop", "v6", "cart", &["http:8080"], &["2001:db8::1=a"]),
        slice("shop", "more", "cart", &["http:8080"], &["10.0.0.2=b"]),
        route("shop", "web", EDGE, &[&["cart"]]),
    ]);
    assert_eq!(owners(&index, "10.0.0.1:8080", at(0)), ["shop a cart http"]);
    assert_eq!(
        owners(&index, "[2001:db8:0::1]:8080", at(0)),
        ["shop a cart http"]
    );
    assert_eq!(owners(&index, "10.0.0.2:8080", at(0)), ["shop b cart http"]);
    assert_eq!(
        owners(&index, "envoy://connect_originate/10.0.0.2:8080", at(0)),
        ["shop b cart http"]
    );
}

#[test]
fn an_unnamed_port_shows_the_services_number() {
    let index = index(&[
        service("shop", "cart", &["10.96.0.1"], &["80"]),
        slice("shop", "cart-1", "cart", &["8080"], &["10.0.0.1"]),
        route("shop", "web", EDGE, &[&["cart"]]),
    ]);
    assert_eq!(owners(&index, "10.0.0.1:8080", at(0)), ["shop cart 80"]);
}

#[test]
fn endpoints_that_are_not_ready_or_terminate_stay_attributable() {
    let slice = object(
        Kind::EndpointSlice,
        &json!({
            "metadata": {"namespace": "shop", "name": "s",
                "labels": {"kubernetes.io/service-name": "cart"}},
            "addressType": "IPv4",
            "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true,
                    "terminating": true}},
            ],
        }),
    );
    let index = index(&[slice, route("shop", "web", EDGE, &[&["cart"]])]);
    assert_eq!(owners(&index, "10.0.0.1:80", at(0)), ["shop cart 80"]);
    assert_eq!(owners(&index, "10.0.0.2:80", at(0)), ["shop cart 80"]);
    assert_eq!(owners(&index, "10.0.0.2:53", at(0)), [""; 0]);
}

#[test]
fn two_services_with_one_pod_are_told_apart_by_hints() {
    let index = index(&[
        service("shop", "blue", &[], &["80"]),
        service("shop", "green", &[], &["80"]),
        slice("shop", "blue-1", "blue", &["8080"], &["10.0.0.1=p"]),
        slice("shop", "green-1", "green", &["8080"], &["10.0.0.1=p"]),
        route("shop", "web", EDGE, &[&["green:80"], &["blue:80"]]),
    ]);
    let found = resolve(&index, "10.0.0.1:8080", at(0));
    let hints: Vec<_> = found.candidates.iter().map(|c| c.hints.clone()).collect();
    assert_eq!(
        owners(&index, "10.0.0.1:8080", at(0)),
        ["shop p blue 80", "shop p green 80"]
    );
    let expected = |name: &str, rule: usize| {
        vec![
            format!("shop/{name}"),
            format!("{name}.shop.svc.cluster.local"),
            format!("shop/{name}/80"),
            format!("{name}.shop.svc.cluster.local:80"),
            format!("outbound|80||{name}.shop.svc.cluster.local"),
            format!("httproute/shop/web/rule/{rule}"),
            format!("httproute/shop/web/rule/{rule}/backend/0"),
            format!("httproute.shop.web.{rule}"),
            format!("httproute.shop.svc.shop.{name}.80.1"),
        ]
    };
    assert_eq!(hints, [expected("blue", 1), expected("green", 0)]);
}

/// Istio names its clusters after the cluster's own domain.
#[test]
fn hints_are_in_the_clusters_domain() {
    let mut index = Index::default().in_domain("corp.example");
    for object in [
        service("shop", "blue", &[], &["80"]),
        service("shop", "green", &[], &["80"]),
        slice("shop", "blue-1", "blue", &["8080"], &["10.0.0.1=p"]),
        slice("shop", "green-1", "green", &["8080"], &["10.0.0.1=p"]),
        route("shop", "web", EDGE, &[&["green:80"], &["blue:80"]]),
    ] {
        let _ = index.apply(&object, at(0));
    }
    let found = resolve(&index, "10.0.0.1:8080", at(0));
    for (candidate, name) in found.candidates.iter().zip(["blue", "green"]) {
        let cluster = format!("outbound|80||{name}.shop.svc.corp.example");
        assert!(candidate.hints.contains(&cluster), "{:?}", candidate.hints);
    }
    assert_eq!(found.candidates.len(), 2);
}

#[test]
fn an_ingress_reaches_its_services_under_the_name_of_its_class() {
    let index = index(&[
        service("shop", "cart", &["10.96.0.1"], &["http:80", "admin:81"]),
        service("shop", "pay", &["10.96.0.2"], &["http:80"]),
        slice("shop", "cart-1", "cart", &["http:8080"], &["10.0.0.1=p"]),
        slice("shop", "pay-1", "pay", &["http:8080"], &["10.0.0.1=p"]),
        ingress("shop", "web", "kong", &["cart:http", "pay:80"]),
    ]);
    let class = gateway("ingressclass:kong");
    let policy = RecordingPolicy::default();
    let found = index.resolve_text(&class, &policy, "10.0.0.1:8080", at(0));
    let hints: Vec<_> = found.candidates.iter().map(|c| c.hints.clone()).collect();
    assert!(hints[0].contains(&"shop.cart.http".to_owned()), "{hints:?}");
    assert!(hints[1].contains(&"shop.pay.80".to_owned()), "{hints:?}");
    assert_eq!(resolve(&index, "10.0.0.1:8080", at(0)).candidates, []);
    for (name, reached) in [("ingressclass:kong", true), ("ingressclass/kong", false)] {
        let target = Target::decode(&found.candidates[0].target.bytes).unwrap();
        assert_eq!(index.may_report(&gateway(name), &target), reached, "{name}");
    }
}

#[test]
fn the_kong_services_of_weighted_backends_and_of_hostnames_are_hints() {
    let backend = |name: &str, weight: u32| json!({"name": name, "port": 80, "weight": weight});
    let spec = json!({
        "parentRefs": [{"namespace": "shop", "name": "edge"}],
        "hostnames": ["*.shop.example", "shop.example"],
        "rules": [{"backendRefs": [backend("stable", 90), backend("canary", 10)]}],
    });
    let meta = json!({"namespace": "shop", "name": "web"});
    let route = json!({"metadata": meta, "spec": spec});
    let index = index(&[
        service("shop", "stable", &[], &["80"]),
        service("shop", "other", &[], &["80"]),
        slice("shop", "stable-1", "stable", &["8080"], &["10.0.0.1=p"]),
        slice("shop", "other-1", "other", &["8080"], &["10.0.0.1=p"]),
        object(Kind::HttpRoute, &route),
        object(Kind::GrpcRoute, &route),
        self::route("shop", "second", EDGE, &[&["other:80"]]),
    ]);
    let found = resolve(&index, "10.0.0.1:8080", at(0));
    let hints = &found.candidates[1].hints;
    for hint in [
        "httproute.shop.web.0",
        "httproute.shop.svc.shop.canary.80.10_shop.stable.80.90",
        "grpcroute.shop.web._.shop.example.0",
        "grpcroute.shop.web.shop.example.0",
        "grpcroute.shop.web.0",
        "grpcroute/shop/web/rule/0",
    ] {
        assert!(hints.contains(&hint.to_owned()), "{hint}: {hints:?}");
    }
}

#[test]
fn of_two_ports_of_a_service_the_routed_one_is_meant() {
    let index = index(&[
        service("shop", "cart", &[], &["http:80", "admin:9000"]),
        slice(
            "shop",
            "cart-1",
            "cart",
            &["http:8080", "admin:8080"],
            &["10.0.0.1=p"],
        ),
        route("shop", "web", EDGE, &[&["cart:80"]]),
    ]);
    assert_eq!(owners(&index, "10.0.0.1:8080", at(0)), ["shop p cart http"]);
}

#[test]
fn clusters_name_services_and_rules() {
    let index = index(&[
        service("shop", "cart", &[], &["http:80"]),
        service("shop", "pay", &[], &["http:80", "admin:81"]),
        route("shop", "web", EDGE, &[&["cart:80"], &["pay:80", "cart:80"]]),
        route("shop", "other", "shop/inner", &[&["cart:80"]]),
    ]);
    for (cluster, expected) in [
        ("shop/cart", vec!["shop cart http"]),
        ("shop/pay", vec!["shop pay"]),
        ("shop/pay/81", vec!["shop pay admin"]),
        ("shop/pay/http", vec!["shop pay http"]),
        (
            "outbound|80||cart.shop.svc.cluster.local",
            vec!["shop cart http"],
        ),
        ("pay.shop.svc.cluster.local:80", vec!["shop pay http"]),
        ("httproute/shop/web/rule/0", vec!["shop cart http"]),
        (
            "httproute/shop/web/rule/1",
            vec!["shop cart http", "shop pay http"],
        ),
        ("httproute/shop/web/rule/1/backend/0", vec!["shop pay http"]),
        ("httproute/shop/web/rule/2", vec![]),
        ("httproute/shop/other/rule/0", vec![]),
        ("httproute.shop.web.0", vec!["shop cart http"]),
        (
            "httproute.shop.web.1",
            vec!["shop cart http", "shop pay http"],
        ),
        (
            "httproute.shop.svc.shop.cart.80.1_shop.pay.80.1",
            vec!["shop cart http", "shop pay http"],
        ),
        ("shop.pay.admin", vec!["shop pay admin"]),
        ("shop/absent", vec![]),
    ] {
        let key = format!("cluster:{cluster}");
        assert_eq!(owners(&index, &key, at(0)), expected, "{cluster}");
    }
}

#[test]
fn workloads_by_every_kind_of_owner() {
    let cases = [
        (
            "ReplicaSet/web-7d9",
            "pod-template-hash=7d9",
            "",
            "web Deployment",
        ),
        (
            "ReplicaSet/web-7d9",
            "pod-template-hash=7d9",
            "Rollout/roll",
            "roll Rollout",
        ),
        (
            "ReplicaSet/web-7d9",
            "pod-template-hash=7d9",
            "none",
            "web-7d9 ReplicaSet",
        ),
        (
            "ReplicaSet/lonely",
            "pod-template-hash=7d9",
            "",
            "lonely ReplicaSet",
        ),
        ("StatefulSet/db", "a=b", "", "db StatefulSet"),
        ("", "a=b", "", ""),
    ];
    for (owner, label, above, expected) in cases {
        let mut objects = vec![
            slice("shop", "s", "web", &["80"], &["10.0.0.1=p"]),
            route("shop", "web", EDGE, &[&["web"]]),
            pod("shop", "p", owner, &[label]),
        ];
        if !above.is_empty() {
            let name = owner.split_once('/').unwrap().1;
            objects.push(replica_set("shop", name, above));
        }
        let found = labels(&index(&objects), "10.0.0.1:80");
        let workload: Vec<_> = found
            .iter()
            .filter(|(n, _)| n.starts_with("kubernetes_workload"))
            .map(|(_, v)| v.as_str())
            .collect();
        assert_eq!(workload.join(" "), expected, "{owner} under {above:?}");
    }
}

#[test]
fn labels_that_do_not_fit_cost_themselves_only() {
    let long = format!("version={}", "x".repeat(600));
    let index = index(&[
        slice("shop", "s", "web", &["80"], &["10.0.0.1=p"]),
        route("shop", "web", EDGE, &[&["web"]]),
        pod("shop", "p", "", &[&long]),
    ]);
    let found = labels(&index, "10.0.0.1:80");
    assert!(found.iter().any(|(n, v)| n == names::POD && v == "p"));
    assert!(!found.iter().any(|(n, _)| n == "label_version"));
}

#[test]
fn bad_parts_are_reported_and_good_parts_work() {
    let mut index = Index::default();
    let slice = slice(
        "shop",
        "s",
        "web",
        &["80"],
        &["10.0.0.1=p", "nonsense", "10.0.0.300"],
    );
    let changes = index.apply(&slice, at(0));
    let problem = &changes.issues()[0];
    assert_eq!(
        problem.to_string(),
        "EndpointSlice shop/s: 2 of its addresses are not IP addresses (the first: \"nonsense\"); \
         they are ignored"
    );
    let _ = index.apply(&route("shop", "web", EDGE, &[&["web"]]), at(0));
    assert_eq!(owners(&index, "10.0.0.1:80", at(0)), ["shop p web 80"]);

    let nameless = object(Kind::Service, &json!({"metadata": {"namespace": "shop"}}));
    let changes = index.apply(&nameless, at(0));
    assert_eq!(changes.issues()[0].problem, Problem::Name);
    let orphan = object(
        Kind::EndpointSlice,
        &json!({"metadata": {"namespace": "shop", "name": "o"}, "addressType": "IPv4",
            "endpoints": []}),
    );
    let changes = index.apply(&orphan, at(0));
    assert_eq!(changes.issues()[0].problem, Problem::NoService);
}
