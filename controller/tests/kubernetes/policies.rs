//! What policies say comes into force, and their status says what became of them.

use std::time::Duration;

use anyhow::ensure;
use gaugeway_apiserver::{Effect, Fault, Verb};
use gaugeway_controller::config::Source;
use gaugeway_rig::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, story, story_with_faults},
    objects::{gateway, policy, route, service, slice},
    stage::Stage,
};

/// Services `cart` at 10.0.0.1 and `pay` at 10.0.0.2 behind Gateway `edge`.
async fn shop(cluster: &Cluster) {
    cluster.define_routes().await;
    cluster.define_policies().await;
    for object in [
        gateway("edge"),
        service("cart"),
        slice("cart-1", "cart", &["10.0.0.1=a"]),
        service("pay"),
        slice("pay-1", "pay", &["10.0.0.2=b"]),
        route("HTTPRoute", "web", &["cart", "pay"]),
    ] {
        cluster.apply(&object).await;
    }
}

fn only(service: &str) -> Value {
    json!({"dimensions": [], "serviceSelector": {"matchNames": [{"name": service}]}})
}

/// Waits until a policy's conditions have these reasons: `Accepted Programmed`.
async fn until_said(cluster: &Cluster, name: &str, reasons: &str) {
    until(&format!("{name} says {reasons}"), PATIENCE, || async {
        let object = cluster.get("LatencyPolicy", name).await?;
        let conditions = object["status"]["ancestors"][0]["conditions"].clone();
        let reason = |kind: &str| {
            let all = conditions.as_array().into_iter().flatten();
            let mut of = all.filter(|c| c["type"] == kind);
            of.next()
                .and_then(|c| c["reason"].as_str().map(str::to_owned))
        };
        let said = format!(
            "{} {}",
            reason("Accepted").unwrap_or_default(),
            reason("Programmed").unwrap_or_default()
        );
        ensure!(said == reasons, "{said}: {}", object["status"]);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn only_what_a_policy_selects_is_measured_and_its_status_says_so() {
    story(async |cluster| {
        shop(&cluster).await;
        let ns = cluster.namespace.clone();
        let edge = format!("{ns}/edge");
        cluster.apply(&policy("p", "edge", &only("cart"))).await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        until_said(&cluster, "p", "Accepted NoWorkers").await;
        let cart = format!("{ns} cart");
        stage.until_owners(&edge, "10.0.0.1:8080", &[&cart]).await;
        let pay = stage.owners(&edge, "10.0.0.2:8080").await.unwrap();
        assert!(pay.is_empty(), "{pay:?}");
        until_said(&cluster, "p", "Accepted Programmed").await;
        let status = cluster.get("LatencyPolicy", "p").await.unwrap()["status"].clone();
        assert_eq!(status["selectedServices"], 1);
        // Without it everything is measured as the command line says.
        cluster.delete("LatencyPolicy", "p").await;
        let pay = format!("{ns} b pay http");
        stage.until_owners(&edge, "10.0.0.2:8080", &[&pay]).await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn from_the_first_answer_on_policies_are_in_force() {
    story(async |cluster| {
        shop(&cluster).await;
        let edge = format!("{}/edge", cluster.namespace);
        cluster.apply(&policy("p", "edge", &only("cart"))).await;
        // Asked as soon as anything is answered: what the policy does not select was never anybody's.
        let stage = Stage::launch(&cluster.kubeconfig, &[]).await;
        let first = until("an answer", PATIENCE, || {
            stage.owners(&edge, "10.0.0.2:8080")
        })
        .await
        .unwrap();
        assert!(first.is_empty(), "{first:?}");
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_oldest_wins_and_the_next_follows_it() {
    story(async |cluster| {
        shop(&cluster).await;
        let ns = cluster.namespace.clone();
        let edge = format!("{ns}/edge");
        // Of the same second the first by name is the stronger.
        cluster.apply(&policy("a", "edge", &only("cart"))).await;
        let everything = json!({"dimensions": ["pod"]});
        cluster.apply(&policy("b", "edge", &everything)).await;
        cluster.apply(&policy("c", "edge", &only("pay"))).await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        let (cart, pay) = (format!("{ns} cart"), format!("{ns} b pay"));
        stage.until_owners(&edge, "10.0.0.1:8080", &[&cart]).await;
        stage.until_owners(&edge, "10.0.0.2:8080", &[&pay]).await;
        until_said(&cluster, "a", "Accepted Programmed").await;
        until_said(&cluster, "b", "Accepted PartiallyProgrammed").await;
        until_said(&cluster, "c", "Conflicted Overridden").await;
        cluster.delete("LatencyPolicy", "b").await;
        let pay = format!("{ns} pay");
        stage.until_owners(&edge, "10.0.0.2:8080", &[&pay]).await;
        until_said(&cluster, "c", "Accepted Programmed").await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn kongs_metric_is_shown_of_services_whose_policy_wants_it() {
    story(async |cluster| {
        shop(&cluster).await;
        let ns = cluster.namespace.clone();
        let edge = format!("{ns}/edge");
        let mut with = only("cart");
        with["kongCompatible"] = json!(true);
        cluster.apply(&policy("with", "edge", &with)).await;
        cluster
            .apply(&policy("without", "edge", &only("pay")))
            .await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        for service in ["cart", "pay"] {
            stage.report(&edge, &ns, service).await.unwrap();
        }
        let shown = async |service: &str| {
            let labels = [("service", service), ("namespace", &ns)];
            let name = "kong_upstream_latency_ms_count";
            stage.metric(name, &labels).await.unwrap()
        };
        assert!((shown("cart").await - 1.0).abs() < 1e-9);
        assert!(shown("pay").await.abs() < 1e-9);
        cluster.delete("LatencyPolicy", "with").await;
        until("it is shown no more", PATIENCE, || async {
            ensure!(shown("cart").await.abs() < 1e-9);
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_policys_bound_on_series_is_kept_and_said() {
    story(async |cluster| {
        shop(&cluster).await;
        let ns = cluster.namespace.clone();
        let edge = format!("{ns}/edge");
        let bounded = json!({"dimensions": [], "maxSeries": 1});
        cluster.apply(&policy("p", "edge", &bounded)).await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        stage
            .until_owners(&edge, "10.0.0.1:8080", &[&format!("{ns} cart")])
            .await;
        for service in ["cart", "pay"] {
            stage.report(&edge, &ns, service).await.unwrap();
        }
        let counted = async |service: &str| {
            let labels = [("kubernetes_service", service)];
            let name = "gaugeway_upstream_requests_total";
            stage.metric(name, &labels).await.unwrap()
        };
        assert!((counted("cart").await - 1.0).abs() < 1e-9);
        assert!(counted("pay").await.abs() < 1e-9);
        assert!((counted("overflow").await - 1.0).abs() < 1e-9);
        until_said(&cluster, "p", "Accepted PartiallyProgrammed").await;
        // A higher bound lets in what comes next.
        let more = json!({"dimensions": [], "maxSeries": 2});
        cluster.apply(&policy("p", "edge", &more)).await;
        until("the next one counts", PATIENCE, || async {
            stage.report(&edge, &ns, "pay").await?;
            ensure!(counted("pay").await > 0.0);
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_comes_later_is_found() {
    story(async |cluster| {
        shop(&cluster).await;
        cluster.apply(&policy("p", "later", &json!({}))).await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        until_said(&cluster, "p", "TargetNotFound NotAccepted").await;
        cluster.apply(&gateway("later")).await;
        until_said(&cluster, "p", "Accepted NoServices").await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_status_is_written_on_change_only() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        until_said(&cluster, "p", "Accepted NoWorkers").await;
        let written = || {
            let log = cluster.double().requests();
            let of = log
                .iter()
                .filter(|r| r.subresource == "status" && r.name == "p");
            of.filter(|r| r.verb == Verb::Patch).count()
        };
        let before = written();
        for n in 0..10 {
            let mut touched = gateway("edge");
            touched["metadata"]["annotations"] = json!({"touched": n.to_string()});
            cluster.apply(&touched).await;
        }
        // What is written after that has seen them all.
        cluster.apply(&policy("q", "gone", &json!({}))).await;
        until_said(&cluster, "q", "TargetNotFound NotAccepted").await;
        assert_eq!(written(), before);
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_status_is_written_once_per_period_at_most() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let stage = Stage::launch_with(&cluster.kubeconfig, &[], |config| {
            let Source::Kubernetes(cluster) = &mut config.source else {
                panic!()
            };
            cluster.pace.status = Duration::from_secs(3600);
        })
        .await;
        until_said(&cluster, "p", "Accepted NoWorkers").await;
        let edge = format!("{}/edge", cluster.namespace);
        // Something happens that its status would say; that of another policy, written after, is not held up.
        stage.owners(&edge, "10.0.0.1:8080").await.unwrap();
        cluster.apply(&policy("q", "edge", &json!({}))).await;
        until_said(&cluster, "q", "Conflicted Overridden").await;
        until_said(&cluster, "p", "Accepted NoWorkers").await;
        let log = cluster.double().requests();
        let of = |name: &str| {
            let all = log
                .iter()
                .filter(|r| r.subresource == "status" && r.name == name);
            all.filter(|r| r.verb == Verb::Patch).count()
        };
        assert_eq!((of("p"), of("q")), (1, 1));
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_written_is_in_force_all_the_same() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let ns = cluster.namespace.clone();
        let refuse = Fault::on("latencypolicies", Effect::Status(403));
        cluster.double().fault(refuse.verbs(&[Verb::Patch]));
        cluster.apply(&policy("p", "edge", &only("cart"))).await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        let (edge, cart) = (format!("{ns}/edge"), format!("{ns} cart"));
        stage.until_owners(&edge, "10.0.0.1:8080", &[&cart]).await;
        until("the failure is counted", PATIENCE, || async {
            let labels = [("result", "error")];
            let name = "gaugeway_policy_status_writes_total";
            ensure!(stage.metric(name, &labels).await? > 0.0);
            Ok(())
        })
        .await
        .unwrap();
        cluster.double().lift_faults();
        until_said(&cluster, "p", "Accepted Programmed").await;
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn an_invalid_policy_says_why_and_changes_nothing() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let ns = cluster.namespace.clone();
        // The double checks no schema: so do clusters with older definitions.
        let labels = json!({"labels": ["a.b", "a-b"]});
        cluster.apply(&policy("p", "edge", &labels)).await;
        let stage = Stage::start(&cluster.kubeconfig).await;
        until_said(&cluster, "p", "Invalid NotAccepted").await;
        let pay = format!("{ns} b pay http");
        stage
            .until_owners(&format!("{ns}/edge"), "10.0.0.2:8080", &[&pay])
            .await;
        stage.stop().await;
    })
    .await;
}
