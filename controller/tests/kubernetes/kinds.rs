//! Which kinds, where, and how much of them.

use std::collections::BTreeSet;

use anyhow::ensure;
use gaugeway_apiserver::Verb;
use gaugeway_rig::wait::{PATIENCE, until};
use serde_json::json;

use crate::{
    cluster::{story, story_with_faults},
    objects::{pod, route, service, slice, stateful_set},
    stage::Stage,
};

async fn until_watch(stage: &Stage, kind: &str, state: &str) {
    until(&format!("{kind} is {state}"), PATIENCE, || async {
        let labels = [("kind", kind), ("state", state)];
        ensure!(stage.metric("gaugeway_source_watches", &labels).await? == 1.0);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_kind_that_comes_later_is_picked_up_and_one_that_goes_is_empty() {
    story_with_faults(async |cluster| {
        let ns = &cluster.namespace;
        cluster.apply(&service("cart")).await;
        cluster
            .apply(&slice("cart-1", "cart", &["10.0.0.1=a"]))
            .await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        until_watch(&stage, "HTTPRoute", "absent").await;
        let edge = format!("{ns}/edge");
        stage.until_owners(&edge, "10.0.0.1:8080", &[]).await;
        cluster.define_routes().await;
        cluster.apply(&route("HTTPRoute", "web", &["cart"])).await;
        let owner = format!("{ns} a cart http");
        stage.until_owners(&edge, "10.0.0.1:8080", &[&owner]).await;
        until_watch(&stage, "HTTPRoute", "watching").await;
        cluster
            .delete(
                "CustomResourceDefinition",
                "httproutes.gateway.networking.k8s.io",
            )
            .await;
        until_watch(&stage, "HTTPRoute", "absent").await;
        until("no route is held", PATIENCE, || async {
            let held = stage
                .metric("gaugeway_source_objects", &[("kind", "HTTPRoute")])
                .await?;
            ensure!(held == 0.0);
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn some_namespaces_only() {
    story(async |cluster| {
        cluster.define_routes().await;
        let ns = cluster.namespace.clone();
        let other = format!("{ns}-other");
        cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}))
            .await;
        for (place, address) in [(&ns, "10.0.0.1=a"), (&other, "10.0.0.2=b")] {
            for mut object in [
                service("cart"),
                slice("cart-1", "cart", &[address]),
                route("HTTPRoute", "web", &["cart"]),
            ] {
                object["metadata"]["namespace"] = json!(place);
                cluster.apply(&object).await;
            }
        }
        let stage = Stage::launch(&cluster.kubeconfig, &[&ns]).await;
        stage.ready().await;
        let owner = format!("{ns} a cart http");
        stage
            .until_owners(&format!("{ns}/edge"), "10.0.0.1:8080", &[&owner])
            .await;
        let far = stage
            .owners(&format!("{other}/edge"), "10.0.0.2:8080")
            .await
            .unwrap();
        assert!(far.is_empty());
        stage.stop().await;
        if cluster.is_double() {
            let requests = cluster.double().requests();
            let elsewhere = requests
                .iter()
                .find(|r| matches!(r.verb, Verb::List | Verb::Watch) && r.namespace != ns);
            assert_eq!(elsewhere, None);
        }
        cluster.delete("Namespace", &other).await;
    })
    .await;
}

#[tokio::test]
async fn two_namespaces_are_one_index() {
    story(async |cluster| {
        cluster.define_routes().await;
        let ns = cluster.namespace.clone();
        let other = format!("{ns}-other");
        cluster
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}))
            .await;
        let mut far = route("HTTPRoute", "web", &["cart"]);
        far["spec"]["parentRefs"][0]["namespace"] = json!(other);
        for object in [
            service("cart"),
            slice("cart-1", "cart", &["10.0.0.1=a"]),
            far,
        ] {
            cluster.apply(&object).await;
        }
        let stage = Stage::launch(&cluster.kubeconfig, &[&ns, &other]).await;
        stage.ready().await;
        let owner = format!("{ns} a cart http");
        stage
            .until_owners(&format!("{other}/edge"), "10.0.0.1:8080", &[&owner])
            .await;
        stage.stop().await;
        cluster.delete("Namespace", &other).await;
    })
    .await;
}

#[tokio::test]
async fn of_pods_and_replica_sets_only_metadata_is_asked_for_and_all_verbs_are_known() {
    story_with_faults(async |cluster| {
        cluster.define_routes().await;
        let owner = cluster.apply(&stateful_set("cart")).await;
        let labels = json!({"app": "cart"});
        cluster.apply(&pod("a", &owner, &labels)).await;
        let before = cluster.double().requests().len();
        let stage = Stage::start(&cluster.kubeconfig).await;
        for kind in ["Pod", "ReplicaSet", "HTTPRoute"] {
            until_watch(&stage, kind, "watching").await;
        }
        stage.stop().await;
        let requests = cluster.double().requests().split_off(before);
        let of = |verb: Verb| -> BTreeSet<_> {
            let some = requests.iter().filter(|r| r.verb == verb);
            some.map(|r| (r.resource.as_str(), r.metadata_only))
                .collect()
        };
        let expected = BTreeSet::from([
            ("services", false),
            ("endpointslices", false),
            ("pods", true),
            ("replicasets", true),
            ("httproutes", false),
            ("grpcroutes", false),
            ("referencegrants", false),
            ("ingressclasses", false),
            ("ingresses", false),
        ]);
        assert_eq!(of(Verb::List), expected);
        assert!(of(Verb::Watch).is_subset(&expected));
        let used: BTreeSet<_> = requests.iter().map(|r| r.verb).collect();
        assert_eq!(
            used,
            BTreeSet::from([Verb::Discover, Verb::List, Verb::Watch])
        );
    })
    .await;
}

#[tokio::test]
async fn a_list_of_many_pages_is_complete() {
    story_with_faults(async |cluster| {
        cluster.define_routes().await;
        for n in 0..620 {
            cluster.apply(&service(&format!("s{n}"))).await;
        }
        let stage = Stage::start(&cluster.kubeconfig).await;
        let held = stage
            .metric("gaugeway_source_objects", &[("kind", "Service")])
            .await
            .unwrap();
        assert_eq!(held, 620.0);
        stage.stop().await;
    })
    .await;
}
