//! What each gateway is to carry. No schema can check most of it: each test names the fact that it holds.

use std::collections::BTreeSet;

use gaugeway_operator::{
    PolicyId, Target,
    deploy::{Flavour, ManifestKind, Plan, Reason, RouteKind, module_to_name},
};
use gaugeway_wire::GatewayName;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    scene::{
        ENVOY_GATEWAY, ISTIO, KONG, SHA, Scene, of_kind, only, route, taken, target, text, why_not,
    },
    schemas::Definitions,
};

fn extension(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

/// Every plan that makes objects.
fn plans() -> Vec<Plan> {
    let mut patched = Scene::of(ENVOY_GATEWAY);
    patched.gateway["spec"]["listeners"][0]["allowedRoutes"] =
        json!({"namespaces": {"from": "Selector", "selector": {}}});
    let mut ingress = Scene::of("ingress-controllers.konghq.com/kong");
    ingress.target = Target::IngressClass {
        name: "kong".to_owned(),
    };
    let mut one = route(RouteKind::Ingress, "shop", "web");
    one.class = Some("kong".to_owned());
    ingress.routes = vec![one];
    let all = [
        Scene::of(ENVOY_GATEWAY),
        patched,
        Scene::of(ISTIO),
        Scene::of(KONG),
        ingress,
    ];
    all.iter().map(Scene::plan).collect()
}

#[test]
fn what_is_written_is_what_the_definitions_take() {
    let definitions = Definitions::read();
    let (mut kinds, mut checked) = (BTreeSet::new(), BTreeSet::new());
    for manifest in plans().iter().flat_map(|plan| &plan.objects) {
        kinds.insert(manifest.kind);
        if definitions.check(manifest) {
            checked.insert(manifest.kind);
        }
    }
    assert_eq!(kinds.len(), ManifestKind::ALL.len(), "{kinds:?}");
    // Those of the repository itself, everywhere.
    for kind in [
        ManifestKind::EnvoyExtensionPolicy,
        ManifestKind::EnvoyPatchPolicy,
        ManifestKind::WasmPlugin,
        ManifestKind::KongPlugin,
    ] {
        assert!(checked.contains(&kind), "{kind:?}");
    }
}

/// A member that the definition does not have would be dropped by an API server without a word.
#[test]
fn the_definitions_refuse_what_they_do_not_know() {
    let plan = Scene::of(ISTIO).plan();
    let mut manifest = plan.objects[0].clone();
    manifest.object["spec"]["failStrategie"] = json!("FAIL_OPEN");
    let definitions = Definitions::read();
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        definitions.check(&manifest)
    }));
    assert!(refused.is_err());
}

/// Server-side apply takes a null for a value, and what is left out for nothing.
#[test]
fn no_member_is_null() {
    fn nulls(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.iter().any(nulls),
            Value::Object(members) => members.values().any(nulls),
            _ => false,
        }
    }
    for plan in plans() {
        assert!(plan.objects.iter().all(|m| !nulls(&m.object)));
    }
}

/// peers.md: a failed fetch with `failOpen: false` is 500 on every route; anything but `FAIL_OPEN` lets Istio's agent
/// deny everything.
#[test]
fn the_filter_always_fails_open() {
    for plan in plans() {
        for manifest in &plan.objects {
            let spec = &manifest.object["spec"];
            match manifest.kind {
                ManifestKind::EnvoyExtensionPolicy => assert_eq!(spec["wasm"][0]["failOpen"], true),
                ManifestKind::WasmPlugin => assert_eq!(spec["failStrategy"], "FAIL_OPEN"),
                _ => {}
            }
        }
    }
}

/// peers.md: Kong's ingress controller drops a whole Kong service when its Services differ in a `konghq.com/*`
/// annotation. There is no kind of ours that could carry one to a Service, and none that is written has one.
#[test]
fn no_annotation_of_kong_is_ever_written_to_a_service() {
    for plan in plans() {
        assert!(
            plan.objects
                .iter()
                .all(|m| !m.object.to_string().contains("konghq.com/plugins"))
        );
        assert!(plan.objects.iter().all(|m| m.object["kind"] != "Service"));
    }
    for kind in [
        RouteKind::HttpRoute,
        RouteKind::GrpcRoute,
        RouteKind::Ingress,
    ] {
        assert_ne!(kind.plural(), "services");
    }
}

/// peers.md: Envoy Gateway's control plane and Istio's agent fetch the address and check the sum.
#[test]
fn the_modules_sum_stands_in_its_address_and_beside_it() {
    let plan = Scene::of(ENVOY_GATEWAY).plan();
    let http = &only(&plan, ManifestKind::EnvoyExtensionPolicy)["spec"]["wasm"][0]["code"]["http"];
    let plan = Scene::of(ISTIO).plan();
    let plugin = &only(&plan, ManifestKind::WasmPlugin)["spec"];
    for code in [http, plugin] {
        let url = format!("http://gaugeway-wasm.gaugeway.svc:7081/v1/filter/{SHA}.wasm");
        assert_eq!(code["url"], url.as_str());
        assert_eq!(code["sha256"], SHA);
    }
}

#[test]
fn a_module_that_not_every_replica_serves_changes_nothing() {
    assert_eq!(module_to_name("new", true, Some("old")), Some("new"));
    assert_eq!(module_to_name("new", false, Some("old")), Some("old"));
    assert_eq!(module_to_name("new", false, None), None);
    for controller in [ENVOY_GATEWAY, ISTIO] {
        let mut scene = Scene::of(controller);
        scene.module = None;
        let plan = scene.plan();
        assert!(plan.hold && plan.objects.is_empty(), "{controller}");
    }
}

/// peers.md: Envoy Gateway names a cluster `httproute/<ns>/<name>/rule/<n>`.
#[test]
fn envoy_gateway_gets_its_cluster_by_a_route_that_nobody_can_guess() {
    let plan = Scene::of(ENVOY_GATEWAY).plan();
    let route = only(&plan, ManifestKind::HttpRoute);
    let rule = &route["spec"]["rules"][0];
    assert_eq!(rule["matches"][0]["headers"][0]["type"], "Exact");
    assert_eq!(rule["matches"][0]["headers"][0]["value"], "unguessable");
    let name = route["metadata"]["name"].as_str().unwrap();
    let policy = only(&plan, ManifestKind::EnvoyExtensionPolicy);
    let cluster = &policy["spec"]["wasm"][0]["config"]["cluster"];
    assert_eq!(*cluster, format!("httproute/shop/{name}/rule/0"));
    let grant = &of_kind(&plan, ManifestKind::ReferenceGrant)[0];
    assert_eq!(grant.namespace, "gaugeway");
    assert_eq!(grant.object["spec"]["from"][0]["namespace"], "shop");
    // What is elsewhere belongs to no policy there: labels and a finalizer find it again.
    assert!(grant.object["metadata"]["ownerReferences"].is_null());
    assert_eq!(policy["metadata"]["ownerReferences"][0]["uid"], "1234");
    let owner = PolicyId {
        namespace: "shop".to_owned(),
        name: "p".to_owned(),
    };
    assert!(plan.outlives(&owner));
    assert!(!Scene::of(ISTIO).plan().outlives(&owner));
}

#[test]
fn a_gateway_that_takes_no_route_of_ours_gets_a_patch() {
    for allowed in [
        json!({"namespaces": {"from": "Selector"}}),
        json!({"kinds": [{"kind": "GRPCRoute"}]}),
    ] {
        let mut scene = Scene::of(ENVOY_GATEWAY);
        scene.gateway["spec"]["listeners"][0]["allowedRoutes"] = allowed;
        let plan = scene.plan();
        assert!(of_kind(&plan, ManifestKind::HttpRoute).is_empty());
        assert_eq!(of_kind(&plan, ManifestKind::EnvoyPatchPolicy).len(), 1);
        let policy = only(&plan, ManifestKind::EnvoyExtensionPolicy);
        assert_eq!(
            policy["spec"]["wasm"][0]["config"]["cluster"],
            "gaugeway-controller"
        );
    }
}

/// peers.md: `EnvoyPatchPolicy` is off by default. Its own status is the only thing that says so: the patch stays, so
/// that switching it on is seen, and the filter that would have nobody to call waits.
#[test]
fn a_patch_that_is_not_taken_keeps_the_filter_away() {
    for (patch, reason, word) in [
        (Value::Null, Reason::NotDeployed, "has not said"),
        (taken("Accepted", "False"), Reason::Refused, "is off"),
        (
            taken("Programmed", "True"),
            Reason::NotDeployed,
            "has not said",
        ),
    ] {
        let mut scene = Scene::of(ENVOY_GATEWAY);
        scene.gateway["spec"]["listeners"][0]["allowedRoutes"] =
            json!({"namespaces": {"from": "Selector"}});
        scene.patch = patch;
        let plan = scene.plan();
        assert_eq!(why_not(&plan), Some(reason));
        assert!(text(&plan).contains(word) && text(&plan).contains("enableEnvoyPatchPolicy"));
        let kinds: Vec<_> = plan.objects.iter().map(|m| m.kind).collect();
        assert_eq!(kinds, [ManifestKind::EnvoyPatchPolicy]);
        assert!(!plan.hold);
    }
}

/// peers.md: one policy per target, and a route's overrides the Gateway's.
#[test]
fn another_policy_on_the_gateway_wins_and_one_on_a_route_is_named() {
    let on_gateway = [
        json!({"targetRefs": [target("Gateway", "edge")]}),
        json!({"targetRef": target("Gateway", "edge")}),
        json!({"targetSelectors": [{"kind": "Gateway", "matchLabels": {"tier": "front"}}]}),
    ];
    for spec in on_gateway {
        let mut scene = Scene::of(ENVOY_GATEWAY);
        scene.extensions = vec![extension("theirs", &spec)];
        let plan = scene.plan();
        assert_eq!(why_not(&plan), Some(Reason::PolicyInTheWay), "{spec}");
        assert!(text(&plan).contains("shop/theirs"));
        assert!(plan.objects.is_empty() && !plan.hold);
    }
    let mut scene = Scene::of(ENVOY_GATEWAY);
    let merging =
        json!({"targetRefs": [target("HTTPRoute", "web")], "mergeType": "StrategicMerge"});
    scene.extensions = vec![
        extension(
            "elsewhere",
            &json!({"targetRefs": [target("Gateway", "other")]}),
        ),
        extension("merging", &merging),
    ];
    assert_eq!(text(&scene.plan()), "");
    scene.extensions.push(extension(
        "theirs",
        &json!({"targetRefs": [target("HTTPRoute", "web")]}),
    ));
    let said = text(&scene.plan());
    assert!(said.contains("HTTPRoute shop/web (shop/theirs)"), "{said}");
    // Our own is no other's.
    let ours = only(
        &Scene::of(ENVOY_GATEWAY).plan(),
        ManifestKind::EnvoyExtensionPolicy,
    )
    .clone();
    scene.extensions = vec![ours];
    assert_eq!(why_not(&scene.plan()), None);
}

/// peers.md: `outbound|PORT||svc.ns.svc.<domain>`.
#[test]
fn istios_cluster_follows_the_clusters_domain() {
    let mut scene = Scene::of(ISTIO);
    scene.domain = "corp.example";
    let plan = scene.plan();
    let plugin = only(&plan, ManifestKind::WasmPlugin);
    let cluster = "outbound|7080||gaugeway-filters.gaugeway.svc.corp.example";
    assert_eq!(plugin["spec"]["pluginConfig"]["cluster"], cluster);
    assert_eq!(plugin["spec"]["phase"], "STATS");
    assert_eq!(
        plugin["spec"]["targetRefs"],
        json!([target("Gateway", "edge")])
    );
}

#[test]
fn other_classes_are_told_what_to_paste() {
    for controller in [
        "istio.io/mesh-controller",
        "k8s.io/ingress-nginx",
        "example.com/x",
    ] {
        let plan = Scene::of(controller).plan();
        assert_eq!(why_not(&plan), Some(Reason::Unsupported));
        assert!(text(&plan).contains("gaugeway render"), "{controller}");
    }
    let mut gone = Scene::of(ISTIO);
    gone.controller = None;
    // A class that cannot be read takes nothing away.
    assert!(gone.plan().hold);
    let mut off = Scene::of(ISTIO);
    off.deploy.enabled = Some(false);
    assert_eq!(why_not(&off.plan()), Some(Reason::NotDeployed));
    off.detached = true;
    assert_eq!(why_not(&off.plan()), Some(Reason::Detached));
    assert!(Flavour::Istio.default_on() && !Flavour::Kong.default_on());
}

proptest! {
    /// Names of gateways never meet, whatever their parts.
    #[test]
    fn two_gateways_never_share_an_object(a in "[a-c-]{1,3}/[a-c-]{1,3}", b in "[a-c-]{1,3}/[a-c-]{1,3}") {
        prop_assume!(a != b);
        let name = |gateway: &str| {
            let (namespace, name) = gateway.split_once('/').unwrap();
            let mut scene = Scene::of(ISTIO);
            scene.target = Target::Gateway { namespace: namespace.to_owned(), name: name.to_owned() };
            scene.plan().objects[0].name.clone()
        };
        prop_assume!(GatewayName::try_new(&a).is_ok() && GatewayName::try_new(&b).is_ok());
        prop_assert_ne!(name(&a), name(&b));
    }
}
