//! The chart grants what the controller asks for, and nothing else.

use std::{collections::BTreeSet, fs, path::Path};

use gaugeway_apiserver::{Logged, Verb};
use gaugeway_rig::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, story_with_faults},
    deploying::{ENVOY_GATEWAY, ISTIO, gateway_of, start_in, start_with, until_gone, until_there},
    dropin::{define_kong, own, reads_extensions, until_state},
    kong::{
        kong, kongs_class, kongs_operator, on, proxy, until_ingress_named, until_named,
        until_no_policy,
    },
    kong_objects::extension,
    objects::{gateway, policy, service},
    replicas::keeper,
    serving,
    stage::Stage,
};

/// Verb, group, resource with its subresource.
type Right = (String, String, String);

/// What the chart's Roles and ClusterRoles grant, by its reviewed renders: `tests/chart/golden.rs` holds them to what the
/// chart renders. Names of objects do not matter to what is counted here.
fn granted() -> BTreeSet<Right> {
    let renders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/chart/golden");
    let mut rights = BTreeSet::new();
    for file in fs::read_dir(renders).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let rules = objects
            .iter()
            .filter(|o| o["kind"] == "Role" || o["kind"] == "ClusterRole")
            .flat_map(|role| role["rules"].as_array().unwrap());
        rules.for_each(|rule| rights.extend(of_rule(rule)));
    }
    rights
}

fn of_rule(rule: &Value) -> Vec<Right> {
    let words = |name: &str| -> Vec<String> {
        let all = rule[name].as_array().unwrap().iter();
        all.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for group in words("apiGroups") {
        for resource in words("resources") {
            for verb in words("verbs") {
                rights.push((verb, group.clone(), resource.clone()));
            }
        }
    }
    rights
}

/// What was asked after so many requests.
fn used(cluster: &Cluster, set_up: usize) -> BTreeSet<Right> {
    cluster
        .double()
        .requests()
        .split_off(set_up)
        .into_iter()
        // What there is may be asked by whoever can log in.
        .filter(|r| r.verb != Verb::Discover)
        .map(right)
        .collect()
}

fn right(asked: Logged) -> Right {
    let resource = match asked.subresource.as_str() {
        "" => asked.resource,
        part => format!("{}/{part}", asked.resource),
    };
    (asked.verb.as_str().to_owned(), asked.group, resource)
}

#[tokio::test]
async fn every_right_that_is_used_is_granted_and_every_grant_is_used() {
    story_with_faults(async |cluster| {
        cluster.define_routes().await;
        cluster.define_policies().await;
        cluster.apply(&gateway("edge")).await;
        cluster.apply(&service("cart")).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let set_up = cluster.double().requests().len();
        let expected = granted();
        let stage = keeper(&cluster, "a").await;
        until("every right is used", PATIENCE, || async {
            let used = used(&cluster, set_up);
            let missing: Vec<_> = used.difference(&expected).collect();
            assert!(missing.is_empty(), "used and not granted: {missing:?}");
            let idle = expected
                .difference(&used)
                .filter(|r| !is_for_deploying(r) && !is_for_apis(r) && !is_for_extensions(r));
            let idle: Vec<_> = idle.collect();
            anyhow::ensure!(idle.is_empty(), "granted and not used: {idle:?}");
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

/// Whether only a controller that reads the extensions of Kong's operator has use for it.
fn is_for_extensions((verb, group, resource): &Right) -> bool {
    match group.as_str() {
        "gateway-operator.konghq.com" => resource != "dataplanes",
        "gateway.networking.k8s.io" => resource == "gatewayclasses" && verb == "watch",
        _ => false,
    }
}

/// From an extension that comes to data planes that were looked at.
#[tokio::test]
async fn what_extensions_need_is_granted_and_every_grant_is_used() {
    story_with_faults(async |cluster| {
        kongs_operator(&cluster).await;
        define_kong(&cluster, "v2beta1").await;
        cluster.apply(&proxy("kong:3.11")).await;
        cluster.apply(&extension("e", &["cart"], true)).await;
        own(&cluster, "v2beta1", "edge", &["e"]).await;
        let set_up = cluster.double().requests().len();
        let stage = Stage::launch_with(&cluster.kubeconfig, &[], reads_extensions).await;
        stage.ready().await;
        until_state(&stage, "no_wasm").await;
        let granted = granted();
        let used = used(&cluster, set_up);
        let missing: Vec<_> = used.difference(&granted).collect();
        assert!(missing.is_empty(), "used and not granted: {missing:?}");
        let idle = granted.difference(&used).filter(|r| is_for_extensions(r));
        let idle: Vec<_> = idle.collect();
        assert!(idle.is_empty(), "granted and not used: {idle:?}");
        let planes = (
            "list".to_owned(),
            "gateway-operator.konghq.com".to_owned(),
            "dataplanes".to_owned(),
        );
        assert!(used.contains(&planes));
        stage.stop().await;
    })
    .await;
}

/// Whether only a controller that deploys into Kong has use for it.
fn is_for_kong(right: &Right) -> bool {
    let (verb, group, resource) = right;
    if is_for_extensions(right) {
        return false;
    }
    match (group.as_str(), resource.as_str()) {
        ("configuration.konghq.com" | "gateway-operator.konghq.com", _) => true,
        (_, "grpcroutes" | "ingresses") => verb == "patch",
        _ => false,
    }
}

/// Whether only a controller that deploys has use for it.
fn is_for_deploying(right: &Right) -> bool {
    let (verb, group, resource) = right;
    if is_for_kong(right) {
        return true;
    }
    if is_for_extensions(right) {
        return false;
    }
    let watched = ["list", "watch"].contains(&verb.as_str());
    match (group.as_str(), resource.as_str()) {
        ("gateway.envoyproxy.io" | "extensions.istio.io", _) => true,
        ("gateway.networking.k8s.io", "gatewayclasses") => true,
        ("gateway.networking.k8s.io", _) | ("gaugeway.dev", "latencypolicies") => !watched,
        _ => false,
    }
}

/// Kinds that are written for gateways of Envoy Gateway and Istio.
async fn define_what_is_written(cluster: &Cluster) {
    let envoy = "gateway.envoyproxy.io";
    for (group, kind, plural) in [
        (envoy, "EnvoyExtensionPolicy", "envoyextensionpolicies"),
        (envoy, "EnvoyPatchPolicy", "envoypatchpolicies"),
        ("extensions.istio.io", "WasmPlugin", "wasmplugins"),
    ] {
        cluster.define_kind(group, "v1alpha1", kind, plural).await;
    }
}

/// With a Gateway of each kind, in a namespace that is not the controller's, from the first apply to the last delete.
#[tokio::test]
async fn what_deploying_needs_is_granted_and_every_grant_is_used() {
    story_with_faults(async |cluster| {
        define_what_is_written(&cluster).await;
        gateway_of(&cluster, ISTIO).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let set_up = cluster.double().requests().len();
        let stage = start_in(&cluster, "gaugeway").await;
        until_there(&cluster, "WasmPlugin").await;
        // The class changes hands: what was there goes, what the other needs comes.
        let class = |controller: &str| json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": cluster.namespace}, "spec": {"controllerName": controller},
        });
        cluster.apply(&class(ENVOY_GATEWAY)).await;
        until_gone(&cluster, "WasmPlugin").await;
        until_there(&cluster, "EnvoyExtensionPolicy").await;
        // No listener takes a route of ours any more.
        let listeners = json!([{"name": "http", "port": 80, "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": "Selector"}}}]);
        cluster.apply(&json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "edge"},
            "spec": {"listeners": listeners},
        })).await;
        until_there(&cluster, "EnvoyPatchPolicy").await;
        until_gone(&cluster, "HTTPRoute").await;
        cluster.delete("LatencyPolicy", "p").await;
        until_gone(&cluster, "EnvoyPatchPolicy").await;
        let granted = granted();
        until("every right is used", PATIENCE, || async {
            let mut used = used(&cluster, set_up);
            // An apply that creates needs both; the double says patch.
            let applied = used.iter().filter(|(verb, group, _)| verb == "patch" && group != "gaugeway.dev");
            let created: Vec<Right> = applied.map(|(_, g, r)| ("create".to_owned(), g.clone(), r.clone())).collect();
            used.extend(created);
            // What the test itself writes.
            let own = |r: &str| ["gatewayclasses", "gateways", "endpointslices", "latencypolicies"].contains(&r);
            let missing: Vec<_> = used.difference(&granted).filter(|(_, _, r)| !own(r)).collect();
            assert!(missing.is_empty(), "used and not granted: {missing:?}");
            let idle = granted.difference(&used);
            let idle: Vec<_> = idle.filter(|r| is_for_deploying(r) && !is_for_kong(r)).collect();
            anyhow::ensure!(idle.is_empty(), "granted and not used: {idle:?}");
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

/// Place (the controller's own namespace, or one that it watches), and what is granted there.
type Placed = (&'static str, Right);

const OWN: &str = "own";
const WATCHED: &str = "watched";

/// What the chart grants where it is told of namespaces.
fn granted_in_namespaces() -> BTreeSet<Placed> {
    let golden = "../tests/chart/golden/one-in-a-namespace.yaml";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(golden)).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let is = |kind: &'static str| move |o: &&Value| o["kind"] == kind;
    assert_eq!(objects.iter().filter(is("ClusterRole")).count(), 0);
    assert_eq!(objects.iter().filter(is("ClusterRoleBinding")).count(), 0);
    let mut rights = BTreeSet::new();
    for role in objects.iter().filter(is("Role")) {
        let place = match role["metadata"]["namespace"].as_str() {
            Some("shop") => WATCHED,
            _ => OWN,
        };
        let rules = role["rules"].as_array().unwrap().iter();
        rights.extend(rules.flat_map(of_rule).map(|right| (place, right)));
    }
    rights
}

/// Of some namespaces only: nothing is asked of any other, nor of the cluster, and each namespace grants what is asked there.
#[tokio::test]
async fn in_namespaces_only_roles_grant_what_is_used_where_it_is_used() {
    story_with_faults(async |cluster| {
        define_what_is_written(&cluster).await;
        let ns = &cluster.namespace;
        let in_namespace = |controller: &'static str| {
            start_with(&cluster, "gaugeway", move |cluster, deploying| {
                cluster.namespaces = vec![ns.clone()];
                deploying.classes = [(ns.clone(), controller.to_owned())].into();
                deploying.kong = false;
            })
        };
        gateway_of(&cluster, ISTIO).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let set_up = cluster.double().requests().len();
        let stage = in_namespace(ISTIO).await;
        until_there(&cluster, "WasmPlugin").await;
        cluster.delete("LatencyPolicy", "p").await;
        until_gone(&cluster, "WasmPlugin").await;
        stage.stop().await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = in_namespace(ENVOY_GATEWAY).await;
        until_there(&cluster, "EnvoyExtensionPolicy").await;
        // No listener takes a route of ours any more.
        let listeners = json!([{"name": "http", "port": 80, "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": "Selector"}}}]);
        cluster
            .apply(&json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                "metadata": {"name": "edge"}, "spec": {"listeners": listeners},
            }))
            .await;
        until_there(&cluster, "EnvoyPatchPolicy").await;
        until_gone(&cluster, "HTTPRoute").await;
        cluster.delete("LatencyPolicy", "p").await;
        until_gone(&cluster, "EnvoyPatchPolicy").await;
        let granted = granted_in_namespaces();
        until(
            "every right is used where it is granted",
            PATIENCE,
            || async {
                let mut used = BTreeSet::new();
                for (place, right) in used_in(&cluster, set_up) {
                    // An apply that creates needs both; the double says patch.
                    if right.0 == "patch" && right.1 != "gaugeway.dev" {
                        let (_, group, resource) = right.clone();
                        used.insert((place, ("create".to_owned(), group, resource)));
                    }
                    used.insert((place, right));
                }
                // What the test itself writes and looks at.
                let own = ["gateways", "endpointslices", "latencypolicies"];
                let by_test = |(verb, _, resource): &Right| {
                    !["list", "watch"].contains(&verb.as_str()) && own.contains(&&**resource)
                };
                let missing: Vec<_> = used
                    .difference(&granted)
                    .filter(|(_, right)| !by_test(right))
                    .collect();
                assert!(missing.is_empty(), "used and not granted: {missing:?}");
                // The key's Secret is no matter of namespaces.
                let idle = granted.difference(&used);
                let idle: Vec<_> = idle.filter(|(_, (.., r))| r != "secrets").collect();
                anyhow::ensure!(idle.is_empty(), "granted and not used: {idle:?}");
                Ok(())
            },
        )
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

/// What was asked after so many requests, and where; what has no namespace stands as itself.
fn used_in(cluster: &Cluster, set_up: usize) -> Vec<Placed> {
    let asked = cluster.double().requests().split_off(set_up);
    let asked = asked.into_iter().filter(|r| r.verb != Verb::Discover);
    asked
        .map(|r| {
            let place = match r.namespace.as_str() {
                "gaugeway" => OWN,
                ns if ns == cluster.namespace => WATCHED,
                _ => "elsewhere",
            };
            (place, right(r))
        })
        .collect()
}

/// Both of Kong's Gateways and its Ingresses, from the first apply to the last delete.
#[tokio::test]
async fn what_deploying_into_kong_needs_is_granted_and_every_grant_is_used() {
    story_with_faults(async |cluster| {
        kong(&cluster).await;
        kongs_class(&cluster).await;
        cluster.apply(&on()).await;
        let set_up = cluster.double().requests().len();
        let stage = start_in(&cluster, "gaugeway").await;
        until_named(&cluster, true).await;
        until_ingress_named(&cluster, true).await;
        for name in ["p", "of-class"] {
            cluster.delete("LatencyPolicy", name).await;
        }
        until_no_policy(&cluster).await;
        until_named(&cluster, false).await;
        kongs_operator(&cluster).await;
        cluster.apply(&on()).await;
        until_named(&cluster, true).await;
        let granted = granted();
        until("every right is used", PATIENCE, || async {
            let mut used = used(&cluster, set_up);
            let plugins = (
                "configuration.konghq.com".to_owned(),
                "kongplugins".to_owned(),
            );
            // An apply that creates needs both; the double says patch.
            used.insert(("create".to_owned(), plugins.0, plugins.1));
            // What the test itself writes and looks at.
            let own = [
                "gatewayclasses",
                "gateways",
                "endpointslices",
                "latencypolicies",
                "services",
                "dataplanes",
                "customresourcedefinitions",
            ];
            let by_test = |(verb, _, resource): &Right| match verb.as_str() {
                "list" | "watch" => false,
                "get" => {
                    ["grpcroutes", "ingresses"].contains(&&**resource) || own.contains(&&**resource)
                }
                _ => own.contains(&&**resource),
            };
            let missing: Vec<_> = used.difference(&granted).filter(|r| !by_test(r)).collect();
            assert!(missing.is_empty(), "used and not granted: {missing:?}");
            let idle: Vec<_> = granted
                .difference(&used)
                .filter(|r| is_for_kong(r))
                .collect();
            anyhow::ensure!(idle.is_empty(), "granted and not used: {idle:?}");
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

/// Whether only a controller with an `apis` port has use for it.
fn is_for_apis((verb, group, resource): &Right) -> bool {
    match (group.as_str(), resource.as_str()) {
        ("apiregistration.k8s.io", _) => true,
        ("", "secrets") => ["get", "update"].contains(&verb.as_str()),
        _ => false,
    }
}

/// What ClusterRole `system:auth-delegator` and Role `extension-apiserver-authentication-reader` grant, which every cluster
/// has and the chart binds.
fn bound() -> BTreeSet<Right> {
    let right = |verb: &str, group: &str, resource: &str| {
        (verb.to_owned(), group.to_owned(), resource.to_owned())
    };
    BTreeSet::from([
        right("create", "authentication.k8s.io", "tokenreviews"),
        right("create", "authorization.k8s.io", "subjectaccessreviews"),
        right("list", "", "configmaps"),
        right("watch", "", "configmaps"),
    ])
}

/// From a certificate that has ended over a registration to its end by another server's, with a caller.
#[tokio::test]
async fn what_the_apis_port_needs_is_granted_and_every_grant_is_used() {
    story_with_faults(async |cluster| {
        let set_up = cluster.double().requests().len();
        serving::a_whole_life(&cluster).await;
        let (granted, bound) = (granted(), bound());
        let used = used(&cluster, set_up);
        // What the test itself writes and looks at.
        let by_test = |(verb, _, resource): &Right| match resource.as_str() {
            "apiservices" => verb == "patch",
            "secrets" => verb == "patch",
            _ => false,
        };
        let missing = used
            .difference(&granted)
            .filter(|r| !bound.contains(*r) && !by_test(r));
        let missing: Vec<_> = missing.collect();
        assert!(missing.is_empty(), "used and not granted: {missing:?}");
        let all = granted.iter().filter(|r| is_for_apis(r)).chain(&bound);
        let idle: Vec<_> = all.filter(|r| !used.contains(*r)).collect();
        assert!(idle.is_empty(), "granted and not used: {idle:?}");
    })
    .await;
}
