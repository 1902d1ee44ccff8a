//! Kong: which plugins there are, what they say, which routes name them, and on what proof.

use std::collections::BTreeSet;

use gaugeway_operator::{
    PolicyId, Target,
    deploy::{
        Edit, Manifest, ManifestKind, Plan, Proof, Reason, RouteFacts, RouteKind, name_plugin,
        prove, vouches,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::scene::{KONG, Scene, of_kind, parent, route, text, why_not};

/// A route of Gateway `shop/edge` that leads to one Service of its namespace.
fn leads_to(service: &str, namespace: &str, name: &str) -> RouteFacts {
    RouteFacts {
        service: Some(service.to_owned()),
        ..route(RouteKind::HttpRoute, namespace, name)
    }
}

/// Namespace, Service and route that each plugin says, with the routes that name it.
fn identities(plan: &Plan) -> Vec<String> {
    let one = |plugin: &Manifest| {
        let identity = &plugin.object["config"]["identity"];
        let of = |member: &str| identity[member].as_str().unwrap_or("-");
        assert_eq!(plugin.namespace, of("namespace"));
        let named = plan.named.iter();
        let named = named
            .filter(|(route, name)| **name == plugin.name && route.namespace == plugin.namespace);
        let named: Vec<&str> = named.map(|(route, _)| &*route.name).collect();
        let said = ["namespace", "service", "route"].map(of).join(" ");
        format!("{said}: {}", named.join(" "))
    };
    let plugins = of_kind(plan, ManifestKind::KongPlugin).into_iter();
    let mut all: Vec<String> = plugins.map(one).collect();
    all.sort();
    all
}

/// The errors that Kong makes itself count for what the plugin says.
#[test]
fn kongs_plugins_say_all_that_their_routes_have_in_common() {
    let mut scene = Scene::of(KONG);
    scene.routes = vec![
        leads_to("cart", "shop", "web"),
        leads_to("cart", "shop", "api"),
        leads_to("mail", "shop", "mail"),
        leads_to("cart", "bank", "pay"),
        route(RouteKind::HttpRoute, "shop", "split"),
        route(RouteKind::HttpRoute, "shop", "other"),
    ];
    let expected = [
        "bank cart -: pay",
        "shop - -: other split",
        "shop cart -: api web",
        "shop mail -: mail",
    ];
    assert_eq!(identities(&scene.plan()), expected);
    scene.by_route = true;
    let expected = [
        "bank cart pay: pay",
        "shop - other: other",
        "shop - split: split",
        "shop cart api: api",
        "shop cart web: web",
        "shop mail mail: mail",
    ];
    assert_eq!(identities(&scene.plan()), expected);
}

/// Each is held by every worker of Kong.
#[test]
fn kongs_plugins_are_bounded() {
    let routes = |count: usize| -> Vec<_> {
        let one = |n: usize| leads_to(&format!("s{}", n / 2), "shop", &format!("r{n}"));
        (0..count).map(one).collect()
    };
    let mut scene = Scene::of(KONG);
    scene.by_route = true;
    for (count, plugins, told) in [
        (512, 512, ""),
        (513, 257, "the dimension route tells none"),
        (1024, 512, "the dimension route tells none"),
        (1026, 1, "unknown"),
    ] {
        scene.routes = routes(count);
        let plan = scene.plan();
        assert_eq!((plan.objects.len(), plan.named.len()), (plugins, count));
        assert!(text(&plan).contains(told) && text(&plan).is_empty() == told.is_empty());
    }
    scene.by_route = false;
    scene.routes = routes(1024);
    assert_eq!(text(&scene.plan()), "");
}

#[test]
fn plugins_of_two_gateways_have_different_names() {
    let plan = Scene::of(KONG).plan();
    let plugins = of_kind(&plan, ManifestKind::KongPlugin);
    let mut other = Scene::of(KONG);
    other.target = Target::Gateway {
        namespace: "shop".to_owned(),
        name: "inner".to_owned(),
    };
    other.routes[0].parents = vec![parent("shop", "inner")];
    assert_ne!(
        of_kind(&other.plan(), ManifestKind::KongPlugin)[0].name,
        plugins[0].name
    );
}

#[test]
fn kong_leaves_alone_what_is_not_its_gateways() {
    let mut scene = Scene::of(KONG);
    // Somebody names our Gateway, which did not let the route in.
    scene.routes[0].parents[0].accepted = false;
    // One annotation would speak to two Gateways.
    scene.routes[1].parents.push(parent("shop", "inner"));
    scene.kongs = BTreeSet::from([("shop".to_owned(), "inner".to_owned())]);
    let plan = scene.plan();
    assert!(plan.named.is_empty() && plan.objects.is_empty());
    assert!(
        text(&plan).contains("GRPCRoute bank/pay"),
        "{}",
        text(&plan)
    );
}

#[test]
fn an_ingress_class_reaches_its_policies_namespaces_only() {
    let ingress = |namespace: &str, class: &str| {
        let mut one = route(RouteKind::Ingress, namespace, "web");
        one.parents = Vec::new();
        one.class = Some(class.to_owned());
        one
    };
    let mut scene = Scene::of("ingress-controllers.konghq.com/kong");
    scene.target = Target::IngressClass {
        name: "kong".to_owned(),
    };
    scene.routes = vec![
        ingress("shop", "kong"),
        ingress("bank", "kong"),
        ingress("shop", "other"),
    ];
    assert_eq!(scene.plan().named.len(), 2);
    scene.confined = Some(BTreeSet::from(["shop".to_owned()]));
    let named = scene.plan().named;
    assert_eq!(
        named.keys().map(|id| &*id.namespace).collect::<Vec<_>>(),
        ["shop"]
    );
}

#[test]
fn kong_is_deployed_on_proof_and_on_demand_only() {
    let mut scene = Scene::of(KONG);
    scene.deploy.enabled = None;
    assert_eq!(why_not(&scene.plan()), Some(Reason::NotDeployed));
    scene.deploy.enabled = Some(true);
    scene.proof = Proof::Missing(vec!["Pod a: KONG_WASM is not \"on\"".to_owned()]);
    let plan = scene.plan();
    assert_eq!(why_not(&plan), Some(Reason::WasmNotProven));
    assert!(text(&plan).contains("KONG_WASM is not"));
    assert!(!plan.hold && plan.named.is_empty());
    // No Pod is ready: nothing is known, and nothing changes.
    scene.proof = Proof::Unknown("no Pod is ready".to_owned());
    assert!(scene.plan().hold);
    scene.proof = Proof::Assumed;
    assert_eq!(why_not(&scene.plan()), None);
}

/// A data plane's Pod, ready, with these members of its container beside name and image.
fn pod(image: &str, container: &Value) -> Value {
    let mut whole = json!({"name": "proxy", "image": image});
    for (key, value) in container.as_object().unwrap() {
        whole[key] = value.clone();
    }
    json!({
        "metadata": {"name": "kong-1"}, "spec": {"containers": [whole]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn able(image: &str) -> Value {
    pod(
        image,
        &json!({
            "env": [{"name": "KONG_WASM", "value": "on"}, {"name": "KONG_WASM_FILTERS_PATH", "value": "/wasm"}],
            "volumeMounts": [{"name": "wasm", "mountPath": "/wasm"}],
        }),
    )
}

fn proof(pods: &[Value]) -> Proof {
    let pods: Vec<_> = pods
        .iter()
        .map(|p| serde_json::from_value(p.clone()).unwrap())
        .collect();
    prove(&pods)
}

#[test]
fn pods_show_that_they_can_load_the_filter() {
    for image in [
        "kong:3.9",
        "docker.io/library/kong:3.9.1-ubuntu",
        "kong/kong-gateway:3.10.0.2",
        "r:5000/kong:3.9",
    ] {
        assert_eq!(proof(&[able(image)]), Proof::Proven, "{image}");
    }
    for image in [
        "kong:3.8",
        "kong:3.11",
        "kong:latest",
        "kong",
        "nginx:3.9",
        "kong:3.90",
        "kong@sha256:00",
    ] {
        let Proof::Missing(what) = proof(&[able("kong:3.9"), able(image)]) else {
            panic!("{image} is taken");
        };
        assert!(what[0].contains(image), "{what:?}");
    }
}

/// One tenant's word must not put at risk what serves all of them.
#[test]
fn only_who_runs_the_controller_vouches_for_an_ingress_class() {
    let policy = |namespace: &str| PolicyId {
        namespace: namespace.to_owned(),
        name: "p".to_owned(),
    };
    let class = Target::IngressClass {
        name: "kong".to_owned(),
    };
    let gateway = Scene::of(KONG).target;
    assert!(vouches(&class, &policy("gaugeway"), "gaugeway"));
    assert!(!vouches(&class, &policy("shop"), "gaugeway"));
    assert!(vouches(&gateway, &policy("shop"), "gaugeway"));
}

#[test]
fn everything_that_is_missing_is_named() {
    let Proof::Missing(what) = proof(&[able("kong:3.8")]) else {
        panic!()
    };
    assert!(what[0].contains("gaugeway render kong"), "{what:?}");
    let bare = pod("kong:3.9", &json!({}));
    let Proof::Missing(what) = proof(&[bare]) else {
        panic!()
    };
    assert_eq!(what.len(), 2, "{what:?}");
    let mut unmounted = able("kong:3.9");
    unmounted["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = json!("/wasm-not");
    let Proof::Missing(what) = proof(&[unmounted]) else {
        panic!()
    };
    assert!(what[0].contains("nothing is mounted"), "{what:?}");
    let mut other = able("kong:3.9");
    let env = other["spec"]["containers"][0]["env"]
        .as_array_mut()
        .unwrap();
    env.push(json!({"name": "KONG_WASM_FILTERS", "value": "bundled"}));
    assert!(matches!(proof(&[other]), Proof::Missing(_)));
}

#[test]
fn pods_that_are_not_ready_prove_nothing() {
    let not_ready = |image: &str| {
        let mut pod = able(image);
        pod["status"]["conditions"][0]["status"] = json!("False");
        pod
    };
    assert!(matches!(proof(&[not_ready("kong:3.9")]), Proof::Unknown(_)));
    assert_eq!(
        proof(&[not_ready("kong:3.9"), able("kong:3.9")]),
        Proof::Proven
    );
    // A roll-out to a Kong that cannot load it would wait for ever for a Pod that is told to.
    let rolling = [not_ready("kong:3.11"), able("kong:3.9")];
    assert!(matches!(proof(&rolling), Proof::Missing(_)));
    let mut over = rolling;
    over[0]["status"]["phase"] = json!("Failed");
    assert_eq!(proof(&over), Proof::Proven);
    let mut ending = able("kong:3.9");
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(matches!(proof(&[ending]), Proof::Unknown(_)));
}

fn applied(value: Option<&str>, edit: Edit) -> Option<String> {
    match edit {
        Edit::None => value.map(str::to_owned),
        Edit::Set(value) => Some(value),
        Edit::Remove => None,
    }
}

#[test]
fn a_name_is_added_once_and_found_wherever_it_stands() {
    let attach = |value| name_plugin(Some(value), "gw", Some("gw"));
    let detach = |value| name_plugin(value, "gw", None);
    assert_eq!(attach("a, gw ,b"), Edit::None);
    assert_eq!(attach(" a"), Edit::Set(" a,gw".to_owned()));
    assert_eq!(attach("gw-1, a"), Edit::Set(" a,gw".to_owned()));
    assert_eq!(detach(Some("a, gw ,b")), Edit::Set("a,b".to_owned()));
    assert_eq!(detach(Some("a, gw-1 ,b")), Edit::Set("a,b".to_owned()));
    assert_eq!(detach(Some(" gw ")), Edit::Remove);
    assert_eq!(detach(Some("gw2")), Edit::None);
    assert_eq!(detach(None), Edit::None);
}

proptest! {
    /// Absent stays apart from empty, and every blank and comma stays.
    #[test]
    fn after_a_detach_the_users_value_is_what_it_was(value in proptest::option::of("[ ,a-d\t]{0,12}")) {
        let attached = applied(value.as_deref(), name_plugin(value.as_deref(), "gw", Some("gw-1")));
        prop_assert!(attached.as_deref().unwrap().split(',').any(|p| p.trim() == "gw-1"));
        let detached = applied(attached.as_deref(), name_plugin(attached.as_deref(), "gw", None));
        prop_assert_eq!(detached, value);
    }

    /// What somebody puts before and after it meanwhile stays as well.
    #[test]
    fn edits_in_between_stay(value in "[ ,a-d]{0,8}", before in "[a-d ]{1,4},", after in ",[a-d ]{1,4}") {
        let attached = applied(Some(&value), name_plugin(Some(&value), "gw", Some("gw"))).unwrap();
        let edited = format!("{before}{attached}{after}");
        let detached = applied(Some(&edited), name_plugin(Some(&edited), "gw", None));
        prop_assert_eq!(detached, Some(format!("{before}{value}{after}")));
    }
}
