//! Whose an address is, as the cluster's objects say it.

use serde_json::json;

use crate::{
    cluster::story,
    objects::{deployment, ingress, pod, replica_set, route, service, slice, stateful_set},
    stage::Stage,
};

#[tokio::test]
async fn an_address_is_its_services_pods_and_workloads() {
    story(async |cluster| {
        cluster.define_routes().await;
        let ns = cluster.namespace.clone();
        let edge = format!("{ns}/edge");
        for object in [
            service("cart"),
            slice("cart-1", "cart", &["10.0.0.1=cart-7d9-x"]),
            slice("cart-6", "cart", &["2001:db8::1=cart-7d9-x"]),
            route("HTTPRoute", "web", &["cart"]),
        ] {
            cluster.apply(&object).await;
        }
        let owner = cluster.apply(&deployment("cart")).await;
        let set = replica_set("cart-7d9", &owner, "cart");
        let owner = cluster.apply(&set).await;
        let own = pod("cart-7d9-x", &owner, &json!({"app": "cart"}));
        cluster.apply(&own).await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        let owner = format!("{ns} cart-7d9-x cart http cart Deployment");
        for address in [
            "10.0.0.1:8080",
            "[2001:db8::1]:8080",
            "[::ffff:10.0.0.1]:8080",
        ] {
            stage.until_owners(&edge, address, &[&owner]).await;
        }
        let elsewhere = stage
            .owners(&format!("{ns}/other"), "10.0.0.1:8080")
            .await
            .unwrap();
        assert!(
            elsewhere.is_empty(),
            "a gateway is told only of what it routes to"
        );
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn endpoints_that_are_not_ready_or_terminate_stay_attributable() {
    story(async |cluster| {
        cluster.define_routes().await;
        let ns = cluster.namespace.clone();
        let mut slice = slice("cart-1", "cart", &["10.0.0.1=a"]);
        slice["endpoints"][0]["conditions"] =
            json!({"ready": false, "serving": true, "terminating": true});
        for object in [
            service("cart"),
            slice.clone(),
            route("HTTPRoute", "web", &["cart"]),
        ] {
            cluster.apply(&object).await;
        }
        let stage = Stage::start(&cluster.kubeconfig).await;
        let edge = format!("{ns}/edge");
        let owner = format!("{ns} a cart http");
        stage.until_owners(&edge, "10.0.0.1:8080", &[&owner]).await;
        slice["endpoints"][0]["conditions"] =
            json!({"ready": false, "serving": false, "terminating": true});
        slice["endpoints"][0]["targetRef"]["name"] = json!("b");
        cluster.apply(&slice).await;
        let owner = format!("{ns} b cart http");
        stage.until_owners(&edge, "10.0.0.1:8080", &[&owner]).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn virtual_addresses_are_services_and_external_names_are_nothing() {
    story(async |cluster| {
        cluster.define_routes().await;
        let ns = cluster.namespace.clone();
        let ports = json!([{"name": "http", "port": 80}]);
        let external = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "away"},
            "spec": {"type": "ExternalName", "externalName": "shop.example", "ports": ports},
        });
        let balanced = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"},
            "spec": {"externalIPs": ["203.0.113.7"], "ports": ports},
        });
        for object in [
            external,
            balanced,
            route("HTTPRoute", "web", &["away", "front"]),
        ] {
            cluster.apply(&object).await;
        }
        let stage = Stage::start(&cluster.kubeconfig).await;
        let edge = format!("{ns}/edge");
        let owner = format!("{ns} front http");
        stage.until_owners(&edge, "203.0.113.7:80", &[&owner]).await;
        let cluster_name = format!("cluster:{ns}/away/http");
        let owner = format!("{ns} away http");
        stage.until_owners(&edge, &cluster_name, &[&owner]).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn changes_arrive_while_it_runs() {
    story(async |cluster| {
        cluster.define_routes().await;
        let ns = cluster.namespace.clone();
        let edge = format!("{ns}/edge");
        let stage = Stage::start(&cluster.kubeconfig).await;
        for object in [
            service("blue"),
            service("green"),
            slice("blue-1", "blue", &["10.0.0.1=green-0"]),
            route("HTTPRoute", "web", &["blue", "green"]),
        ] {
            cluster.apply(&object).await;
        }
        let blue = format!("{ns} green-0 blue http");
        stage.until_owners(&edge, "10.0.0.1:8080", &[&blue]).await;
        cluster
            .apply(&slice("green-1", "green", &["10.0.0.1=green-0"]))
            .await;
        let green = format!("{ns} green-0 green http");
        stage
            .until_owners(&edge, "10.0.0.1:8080", &[&blue, &green])
            .await;
        cluster.delete("EndpointSlice", "blue-1").await;
        stage.until_owners(&edge, "10.0.0.1:8080", &[&green]).await;
        let owner = cluster.apply(&stateful_set("green")).await;
        let own = pod("green-0", &owner, &json!({"app": "green"}));
        cluster.apply(&own).await;
        let known = format!("{green} green StatefulSet");
        stage.until_owners(&edge, "10.0.0.1:8080", &[&known]).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn grpc_routes_and_ingresses_reach_services_too() {
    story(async |cluster| {
        cluster.define_routes().await;
        let ns = cluster.namespace.clone();
        let class = format!("class-{ns}");
        for object in [
            service("pay"),
            slice("pay-1", "pay", &["10.0.0.1=a"]),
            route("GRPCRoute", "rpc", &["pay"]),
            ingress("web", &class, "pay"),
        ] {
            cluster.apply(&object).await;
        }
        let stage = Stage::start(&cluster.kubeconfig).await;
        let owner = format!("{ns} a pay http");
        for gateway in [format!("{ns}/edge"), format!("ingressclass:{class}")] {
            stage
                .until_owners(&gateway, "10.0.0.1:8080", &[&owner])
                .await;
        }
        stage.stop().await;
    })
    .await;
}
