//! What each gateway is to carry. No schema can check most of it: each test names the fact that it holds.

use std::collections::BTreeSet;

use gaugeway_operator::{
    PolicyId, Target,
    deploy::{
        Deploy, Deployment, Edit, Flavour, Installation, Manifest, ManifestKind, Owner, Parent,
        Plan, Proof, Reason, RouteFacts, RouteId, RouteKind, ServicePort, Subject, attach_token,
        detach_token, module_to_name, plan, prove, vouches,
    },
};
use gaugeway_wire::GatewayName;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::schemas::Definitions;

const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io/gatewayclass-controller";
const ISTIO: &str = "istio.io/gateway-controller";
const KONG: &str = "konghq.com/kic-gateway-controller";
const SHA: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// All that a plan is made of, with Gateway `shop/edge`.
struct Scene {
    controller: Option<&'static str>,
    deploy: Deploy,
    detached: bool,
    module: Option<&'static str>,
    gateway: Value,
    extensions: Vec<Value>,
    patch: Value,
    routes: Vec<RouteFacts>,
    kongs: BTreeSet<(String, String)>,
    confined: Option<BTreeSet<String>>,
    proof: Proof,
    target: Target,
    domain: &'static str,
}

impl Scene {
    fn of(controller: &'static str) -> Self {
        Self {
            controller: Some(controller),
            deploy: Deploy {
                enabled: Some(true),
                assume_wasm: false,
            },
            detached: false,
            module: Some(SHA),
            gateway: json!({
                "metadata": {"namespace": "shop", "name": "edge", "labels": {"tier": "front"}},
                "spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
            }),
            extensions: Vec::new(),
            patch: taken("Accepted", "True"),
            routes: vec![
                route(RouteKind::HttpRoute, "shop", "web"),
                route(RouteKind::GrpcRoute, "bank", "pay"),
            ],
            kongs: BTreeSet::new(),
            confined: None,
            proof: Proof::Proven,
            target: Target::Gateway {
                namespace: "shop".to_owned(),
                name: "edge".to_owned(),
            },
            domain: "cluster.local",
        }
    }

    fn plan(&self) -> Plan {
        let home = Installation {
            namespace: "gaugeway".to_owned(),
            filters: ServicePort {
                name: "gaugeway-filters".to_owned(),
                port: 7080,
            },
            wasm: ServicePort {
                name: "gaugeway-wasm".to_owned(),
                port: 7081,
            },
            cluster_domain: self.domain.to_owned(),
        };
        let gateway = self.target.gateway().unwrap();
        let owners = [Owner {
            id: PolicyId {
                namespace: "shop".to_owned(),
                name: "p".to_owned(),
            },
            uid: "1234".to_owned(),
        }];
        let extensions: Vec<&Value> = self.extensions.iter().collect();
        plan(
            &home,
            &Subject {
                gateway: &gateway,
                target: &self.target,
                owners: &owners,
                deploy: self.deploy,
                detached: self.detached,
                controller: self.controller,
                token: Some(SHA),
                secret: "unguessable",
                module: self.module,
                object: &self.gateway,
                extensions: &extensions,
                patch: &self.patch,
                routes: &self.routes,
                kongs: &self.kongs,
                confined: self.confined.as_ref(),
                proof: &self.proof,
            },
        )
    }
}

fn route(kind: RouteKind, namespace: &str, name: &str) -> RouteFacts {
    RouteFacts {
        id: RouteId {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        version: "1".to_owned(),
        labels: std::collections::BTreeMap::new(),
        plugins: None,
        parents: vec![parent("shop", "edge")],
        class: None,
        addresses: BTreeSet::new(),
    }
}

fn parent(namespace: &str, name: &str) -> Parent {
    Parent {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        accepted: true,
    }
}

fn of_kind(plan: &Plan, kind: ManifestKind) -> Vec<&Manifest> {
    plan.objects.iter().filter(|m| m.kind == kind).collect()
}

fn only(plan: &Plan, kind: ManifestKind) -> &Value {
    let [manifest] = of_kind(plan, kind).try_into().unwrap();
    &manifest.object
}

/// The reason why not; `None` when it is deployed.
fn why_not(plan: &Plan) -> Option<Reason> {
    match &plan.deployment {
        Deployment::Not { reason, .. } => Some(*reason),
        _ => None,
    }
}

fn text(plan: &Plan) -> String {
    match &plan.deployment {
        Deployment::Not { text, .. } => text.clone(),
        Deployment::Deployed { partly, .. } => partly.join("; "),
        Deployment::Unmanaged => String::new(),
    }
}

/// A status with one condition.
fn taken(kind: &str, status: &str) -> Value {
    let condition =
        json!({"type": kind, "status": status, "reason": "Disabled", "message": "is off"});
    json!({"kind": "EnvoyPatchPolicy", "metadata": {"name": "x"},
        "status": {"ancestors": [{"conditions": [condition]}]}})
}

fn extension(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

fn target(kind: &str, name: &str) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": kind, "name": name})
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
fn kong_gets_a_plugin_in_each_namespace_of_routes() {
    let plan = Scene::of(KONG).plan();
    let plugins = of_kind(&plan, ManifestKind::KongPlugin);
    let namespaces: Vec<_> = plugins.iter().map(|p| p.namespace.as_str()).collect();
    assert_eq!(namespaces, ["bank", "shop"]);
    assert_eq!(plan.tokens.len(), 2);
    assert!(plan.tokens.values().all(|token| *token == plugins[0].name));
    // Another Gateway's has another name: both may stand in one namespace.
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
    assert!(plan.tokens.is_empty() && plan.objects.is_empty());
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
    assert_eq!(scene.plan().tokens.len(), 2);
    scene.confined = Some(BTreeSet::from(["shop".to_owned()]));
    let tokens = scene.plan().tokens;
    assert_eq!(
        tokens.keys().map(|id| &*id.namespace).collect::<Vec<_>>(),
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
    assert!(!plan.hold && plan.tokens.is_empty());
    // No Pod is ready: nothing is known, and nothing changes.
    scene.proof = Proof::Unknown("no Pod is ready".to_owned());
    assert!(scene.plan().hold);
    scene.proof = Proof::Assumed;
    assert_eq!(why_not(&scene.plan()), None);
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
    assert_eq!(attach_token(Some("a, gw ,b"), "gw"), Edit::None);
    assert_eq!(
        attach_token(Some(" a"), "gw"),
        Edit::Set(" a,gw".to_owned())
    );
    assert_eq!(
        detach_token(Some("a, gw ,b"), "gw"),
        Edit::Set("a,b".to_owned())
    );
    assert_eq!(detach_token(Some(" gw "), "gw"), Edit::Remove);
    assert_eq!(detach_token(Some("gw2"), "gw"), Edit::None);
    assert_eq!(detach_token(None, "gw"), Edit::None);
}

proptest! {
    /// Absent stays apart from empty, and every blank and comma stays.
    #[test]
    fn after_a_detach_the_users_value_is_what_it_was(value in proptest::option::of("[ ,a-d\t]{0,12}")) {
        let attached = applied(value.as_deref(), attach_token(value.as_deref(), "gw"));
        prop_assert!(attached.as_deref().unwrap().split(',').any(|p| p.trim() == "gw"));
        let detached = applied(attached.as_deref(), detach_token(attached.as_deref(), "gw"));
        prop_assert_eq!(detached, value);
    }

    /// What somebody puts before and after it meanwhile stays as well.
    #[test]
    fn edits_in_between_stay(value in "[ ,a-d]{0,8}", before in "[a-d ]{1,4},", after in ",[a-d ]{1,4}") {
        let attached = applied(Some(&value), attach_token(Some(&value), "gw")).unwrap();
        let edited = format!("{before}{attached}{after}");
        let detached = applied(Some(&edited), detach_token(Some(&edited), "gw"));
        prop_assert_eq!(detached, Some(format!("{before}{value}{after}")));
    }

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
