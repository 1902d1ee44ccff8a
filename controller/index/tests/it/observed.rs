//! Who sees Services, Pods and workloads, through everything that happens to them.

use gaugeway_index::{Index, Kind, ObservedWorkload};

use crate::objects::*;

/// Service `cart` of Deployment `cart` (Pods `a`, `b`), Service `pay` of StatefulSet `pay` (Pods `pay-0` and `b`, too).
/// Gateway `edge` routes to `cart`, `inner` to both.
fn shop() -> Index {
    index(&[
        service("shop", "cart", &[], &["80"]),
        service("shop", "pay", &[], &["80"]),
        replica_set("shop", "cart-7f", "Deployment/cart"),
        pod("shop", "a", "ReplicaSet/cart-7f", &["app=cart", "ver=1"]),
        pod("shop", "b", "ReplicaSet/cart-7f", &["app=cart", "ver=2"]),
        pod("shop", "pay-0", "StatefulSet/pay", &["app=pay"]),
        pod("far", "a", "ReplicaSet/cart-7f", &["app=cart"]),
        slice(
            "shop",
            "cart-1",
            "cart",
            &["80", "admin:81"],
            &["10.0.0.1=a", "10.0.0.2=b"],
        ),
        slice(
            "shop",
            "pay-1",
            "pay",
            &["80"],
            &["10.0.0.3=pay-0", "10.0.0.2=b"],
        ),
        route("shop", "web", EDGE, &[&["cart:80"]]),
        route("shop", "all", "shop/inner", &[&["cart:80", "pay:80"]]),
    ])
}

fn pods(index: &Index, label: (&str, &str)) -> Vec<(String, String)> {
    let found = index.observed_pods("shop", &|labels| labels.get(label.0) == Some(label.1));
    let gateways = |of: &gaugeway_index::Seen| {
        let names: Vec<_> = of.selected_by.iter().map(ToString::to_string).collect();
        names.join(" ")
    };
    let brief = found.into_iter().map(|of| (gateways(&of.seen), of.name));
    brief.map(|(gateways, name)| (name, gateways)).collect()
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

fn workload(index: &Index, kind: &str, name: &str) -> Option<ObservedWorkload> {
    index.observed_workload("shop", kind, name)
}

fn pods_of(index: &Index, kind: &str, name: &str) -> Vec<String> {
    workload(index, kind, name).map_or(Vec::new(), |of| of.pods)
}

#[test]
fn pods_are_found_by_their_labels_and_seen_through_all_their_services() {
    let both = "shop/edge shop/inner";
    let index = shop();
    assert_eq!(
        pods(&index, ("app", "cart")),
        [pair("a", both), pair("b", both)]
    );
    assert_eq!(pods(&index, ("ver", "2")), [pair("b", both)]);
    assert_eq!(pods(&index, ("app", "pay")), [pair("pay-0", "shop/inner")]);
    assert!(pods(&index, ("app", "none")).is_empty());
}

#[test]
fn services_are_found_by_their_labels() {
    let index = shop();
    let found = |team: &'static str| {
        index.observed_services(Some("shop"), &move |labels| {
            labels.get("team") == Some(team)
        })
    };
    assert_eq!(found("cart"), [pair("shop", "cart")]);
    assert!(found("none").is_empty());
    assert!(index.observed_services(Some("far"), &|_| true).is_empty());
}

#[test]
fn a_workload_has_the_pods_of_its_replica_sets() {
    let index = shop();
    let cart = workload(&index, "Deployment", "cart").unwrap();
    assert_eq!(cart.pods, ["a", "b"]);
    assert!(cart.complete);
    assert_eq!(cart.seen.reached_by, [gateway(EDGE), gateway("shop/inner")]);
    assert_eq!(pods_of(&index, "StatefulSet", "pay"), ["pay-0"]);
    assert_eq!(workload(&index, "ReplicaSet", "cart-7f"), None);
    let all = [workload(&index, "StatefulSet", "pay").unwrap()];
    let all: Vec<_> = [cart].into_iter().chain(all).collect();
    assert_eq!(index.observed_workloads("shop"), all);
}

#[test]
fn a_deleted_pod_is_no_live_one_and_counts_for_its_workload_until_no_window_has_it() {
    let mut index = shop();
    let _ = index.delete(&id(Kind::Pod, "shop", "b"), at(10));
    assert_eq!(pods(&index, ("ver", "2")), []);
    assert_eq!(pods_of(&index, "Deployment", "cart"), ["a", "b"]);
    // Nobody makes it anew: its ReplicaSet goes, too.
    let _ = index.delete(&id(Kind::ReplicaSet, "shop", "cart-7f"), at(11));
    let _ = index.advance(at(369));
    assert!(pods_of(&index, "Deployment", "cart").contains(&"b".to_owned()));
    let _ = index.advance(at(370));
    assert!(!pods_of(&index, "Deployment", "cart").contains(&"b".to_owned()));
}

#[test]
fn a_workload_whose_pods_are_gone_is_in_no_list() {
    let mut index = shop();
    let _ = index.delete(&id(Kind::Pod, "shop", "pay-0"), at(10));
    assert_eq!(pods_of(&index, "StatefulSet", "pay"), ["pay-0"]);
    let listed = index.observed_workloads("shop");
    let names: Vec<_> = listed.iter().map(|of| &*of.name).collect();
    assert_eq!(names, ["cart"]);
}

#[test]
fn a_pod_made_anew_counts_for_who_makes_it_now() {
    let mut index = shop();
    let _ = index.delete(&id(Kind::Pod, "shop", "pay-0"), at(10));
    let anew = pod("shop", "pay-0", "StatefulSet/other", &["app=pay"]);
    let _ = index.apply(&anew, at(11));
    assert_eq!(workload(&index, "StatefulSet", "pay"), None);
    assert_eq!(pods_of(&index, "StatefulSet", "other"), ["pay-0"]);
    assert_eq!(pods(&index, ("app", "pay")), [pair("pay-0", "shop/inner")]);
}

#[test]
fn a_pod_that_no_service_lists_is_seen_by_nobody() {
    let mut index = shop();
    let _ = index.delete(&id(Kind::EndpointSlice, "shop", "pay-1"), at(10));
    assert_eq!(pods(&index, ("app", "pay")), [pair("pay-0", "")]);
    let pay = workload(&index, "StatefulSet", "pay").unwrap();
    assert!(pay.seen.reached_by.is_empty());
}

#[test]
fn a_flood_of_deleted_pods_is_forgotten_early_and_said() {
    let mut index = shop();
    for n in 0..65_537 {
        let name = format!("p{n}");
        let _ = index.apply(&pod("shop", &name, "StatefulSet/many", &[]), at(1));
        let _ = index.delete(&id(Kind::Pod, "shop", &name), at(1));
    }
    assert!(!workload(&index, "Deployment", "cart").unwrap().complete);
    let _ = index.advance(at(361));
    assert!(workload(&index, "Deployment", "cart").unwrap().complete);
    assert_eq!(workload(&index, "StatefulSet", "many"), None);
}
