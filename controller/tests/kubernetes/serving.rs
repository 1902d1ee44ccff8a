//! The certificate that the controller makes for its `apis` port, and its registration with the API server.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gaugeway_controller::{
    config::{self, Answers, Apis, Certificate, Home, Made, Source},
    detach::detach_all,
};
use gaugeway_rig::{
    Authority, Pair, ReservedPort, SecureClient,
    client::Request,
    wait::{PATIENCE, until},
};
use k8s_openapi::{
    ByteString,
    api::{authentication::v1::TokenRequest, core::v1::ServiceAccount},
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, story, story_with_faults},
    explaining::explained,
    objects::service,
    stage::Stage,
};

pub(crate) const VERSIONS: [&str; 2] = [
    "v1beta1.custom.metrics.k8s.io",
    "v1beta2.custom.metrics.k8s.io",
];
const SECRET: &str = "gaugeway-apis-certificate";
pub(crate) const SERVICE: &str = "gaugeway-apis";

fn host(cluster: &Cluster) -> String {
    format!("{SERVICE}.{}.svc", cluster.namespace)
}

pub(crate) fn change(cluster: &Cluster) -> impl FnOnce(&mut gaugeway_controller::Config) {
    let namespace = cluster.namespace.clone();
    move |config| {
        if let Source::Kubernetes(cluster) = &mut config.source {
            cluster.own_namespace = Some(namespace.clone());
        }
        config.apis = Some(Apis {
            listen: ([127, 0, 0, 1], 0).into(),
            certificate: Certificate::Made(Made {
                secret: SECRET.to_owned(),
                home: Home {
                    namespace,
                    service: SERVICE.to_owned(),
                    port: 443,
                },
                cluster_domain: "cluster.local".to_owned(),
                metrics_api: true,
                every: Duration::from_millis(20),
            }),
            answers: Answers::default(),
        });
    }
}

async fn start(cluster: &Cluster) -> Stage {
    Stage::launch_with(&cluster.kubeconfig, &[], change(cluster)).await
}

fn text(of: &Value) -> Result<String> {
    let bytes: ByteString = serde_json::from_value(of.clone()).context("no bytes")?;
    Ok(String::from_utf8(bytes.0)?)
}

/// The bundle that both APIServices have.
async fn published(cluster: &Cluster) -> Result<String> {
    let mut bundles = Vec::new();
    for name in VERSIONS {
        let of = cluster.get("APIService", name).await?;
        ensure!(of["spec"]["service"]["name"] == SERVICE, "{of}");
        bundles.push(text(&of["spec"]["caBundle"])?);
    }
    ensure!(bundles[0] == bundles[1]);
    Ok(bundles.remove(0))
}

/// The port shows a certificate that verifies against a bundle.
async fn verifies(cluster: &Cluster, stage: &Stage, bundle: &str) -> Result<()> {
    let address = stage.ports().apis.unwrap();
    let client = SecureClient::try_new(address, &host(cluster), bundle, None)?;
    let answer = client.send(Request::get("/apis")).await?;
    ensure!(answer.status == 401, "{}", answer.text());
    Ok(())
}

async fn until_registered(cluster: &Cluster, stages: &[&Stage]) -> String {
    until(
        "both versions are registered, and verify",
        PATIENCE,
        || async {
            let bundle = published(cluster).await?;
            for stage in stages {
                verifies(cluster, stage, &bundle).await?;
            }
            Ok(bundle)
        },
    )
    .await
    .unwrap()
}

/// Until an authority is published no more; returns what is.
async fn until_replaced(cluster: &Cluster, ended: &Authority) -> String {
    until("the ended authority is gone", PATIENCE, || async {
        let bundle = published(cluster).await?;
        ensure!(!bundle.contains(ended.pem().trim()));
        Ok(bundle)
    })
    .await
    .unwrap()
}

async fn until_state(stage: &Stage, state: &str) {
    until(state, PATIENCE, || async {
        let shown = stage
            .metric("gaugeway_metrics_api", &[("state", state)])
            .await?;
        ensure!(shown == 1.0);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn replicas_share_one_certificate_that_verifies_against_what_is_registered() {
    story_with_faults(async |cluster| {
        let (a, b) = tokio::join!(start(&cluster), start(&cluster));
        let bundle = until_registered(&cluster, &[&a, &b]).await;
        let secret = cluster.get("Secret", SECRET).await.unwrap();
        assert_eq!(text(&secret["data"]["ca.crt"]).unwrap(), bundle);
        // Removed, it comes back as it was; what is registered goes on being right.
        cluster.delete("Secret", SECRET).await;
        until("it is back", PATIENCE, || async {
            let back = cluster.get("Secret", SECRET).await?;
            ensure!(back["data"] == secret["data"]);
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(published(&cluster).await.unwrap(), bundle);
        a.stop().await;
        b.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_registration_of_another_server_is_left_alone_and_ours_is_both_or_none() {
    story_with_faults(async |cluster| {
        let other = cluster
            .apply(&json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": VERSIONS[1]},
                "spec": {
                    "group": "custom.metrics.k8s.io", "version": "v1beta2", "groupPriorityMinimum": 100, "versionPriority": 100,
                    "service": {"namespace": "monitoring", "name": "prometheus-adapter"},
                },
            }))
            .await;
        let stage = start(&cluster).await;
        until_state(&stage, "foreign").await;
        until("whoever asks is told who answers autoscalers", PATIENCE, || async {
            let told = explained(&stage, "service/shop/cart").await?;
            let last = told["steps"].as_array().and_then(|steps| steps.last()).cloned().unwrap_or_default();
            ensure!(last["name"] == "metrics API" && last["state"] == "note", "{told:#}");
            ensure!(last["found"].to_string().contains("monitoring/prometheus-adapter"), "{told:#}");
            Ok(())
        })
        .await
        .unwrap();
        assert!(cluster.get("APIService", VERSIONS[0]).await.is_err(), "both or none");
        let after = cluster.get("APIService", VERSIONS[1]).await.unwrap();
        assert_eq!(after["metadata"]["resourceVersion"], other["metadata"]["resourceVersion"]);
        cluster.delete("APIService", VERSIONS[1]).await;
        until_registered(&cluster, &[&stage]).await;
        until_state(&stage, "registered").await;
        // Taken by another later: ours goes.
        let taken = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": VERSIONS[0]},
            "spec": {"service": {"namespace": "monitoring", "name": "prometheus-adapter"}},
        });
        cluster.apply(&taken).await;
        until_state(&stage, "foreign").await;
        until("ours is taken back", PATIENCE, || async {
            ensure!(cluster.get("APIService", VERSIONS[1]).await.is_err());
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn of_a_registration_nothing_but_its_bundle_is_changed() {
    story_with_faults(async |cluster| {
        let stage = start(&cluster).await;
        let bundle = until_registered(&cluster, &[&stage]).await;
        for name in VERSIONS {
            let changed = json!({
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": {"name": name, "labels": {"people": "did"}},
                "spec": {"caBundle": "eA==", "versionPriority": 7},
            });
            cluster.apply(&changed).await;
        }
        assert_eq!(until_registered(&cluster, &[&stage]).await, bundle);
        let after = cluster.get("APIService", VERSIONS[0]).await.unwrap();
        assert_eq!(after["spec"]["versionPriority"], 7);
        assert_eq!(after["metadata"]["labels"]["people"], "did");
        stage.stop().await;
    })
    .await;
}

fn secret(current: (&Pair, &Authority), next: Option<(&Pair, &Authority)>) -> Value {
    let bytes = |text: String| json!(ByteString(text.into_bytes()));
    let chain =
        |(pair, authority): (&Pair, &Authority)| bytes(pair.certificate.clone() + &authority.pem());
    let mut bundle = current.1.pem();
    let mut data = json!({"tls.crt": chain(current), "tls.key": bytes(current.0.key.clone())});
    if let Some(next) = next {
        data["next.crt"] = chain(next);
        data["next.key"] = bytes(next.0.key.clone());
        bundle += &next.1.pem();
    }
    data["ca.crt"] = bytes(bundle);
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": data})
}

/// Of long ago: its successor was made long ago, and is in use as soon as both authorities are published.
#[tokio::test]
async fn a_certificate_is_rotated_without_a_restart_while_both_authorities_are_published() {
    story_with_faults(async |cluster| {
        let full = format!("{}.cluster.local", host(&cluster));
        let names = [&*host(&cluster), &full, "localhost"];
        let (old, new) = (
            Authority::new("old").unwrap(),
            Authority::new("new").unwrap(),
        );
        let (old_pair, new_pair) = (old.server(&names).unwrap(), new.server(&names).unwrap());
        cluster
            .apply(&secret((&old_pair, &old), Some((&new_pair, &new))))
            .await;
        let stage = start(&cluster).await;
        let bundle = until_registered(&cluster, &[&stage]).await;
        let successor = new.pem();
        until("the successor is shown", PATIENCE, || {
            verifies(&cluster, &stage, &successor)
        })
        .await
        .unwrap();
        for authority in [&old, &new] {
            assert!(bundle.contains(authority.pem().trim()));
        }
        let now = published(&cluster).await.unwrap();
        assert!(
            now.contains(old.pem().trim()),
            "a replica may still show the old one"
        );
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_replaced() {
    story_with_faults(async |cluster| {
        let ended = Authority::until("ended", 2020).unwrap();
        let pair = ended.server(&[&host(&cluster)]).unwrap();
        cluster.apply(&secret((&pair, &ended), None)).await;
        let stage = start(&cluster).await;
        until_registered(&cluster, &[&stage]).await;
        let bundle = until_replaced(&cluster, &ended).await;
        verifies(&cluster, &stage, &bundle).await.unwrap();
        stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn detaching_takes_the_registration_away_until_a_controller_starts_anew() {
    story_with_faults(async |cluster| {
        cluster.define_policies().await;
        let (stage, other) = tokio::join!(start(&cluster), start(&cluster));
        until_registered(&cluster, &[&stage, &other]).await;
        let of = config::Cluster {
            kubeconfig: Some(cluster.kubeconfig.clone()),
            own_namespace: Some(cluster.namespace.clone()),
            ..config::Cluster::default()
        };
        detach_all(&of, PATIENCE, |_| {}).await.unwrap();
        for name in VERSIONS {
            assert!(cluster.get("APIService", name).await.is_err(), "{name}");
        }
        // Nor does one take it for missing that did not take it away, but would lead if the other ended first.
        until_state(&stage, "detached").await;
        until_state(&other, "detached").await;
        stage.stop().await;
        other.stop().await;
        // Who starts one again wants it again.
        let stage = start(&cluster).await;
        until_registered(&cluster, &[&stage]).await;
        until_state(&stage, "registered").await;
        stage.stop().await;
    })
    .await;
}

/// Everything that the controller does for its `apis` port.
pub(crate) async fn a_whole_life(cluster: &Cluster) {
    let ended = Authority::until("ended", 2020).unwrap();
    let pair = ended.server(&[&host(cluster)]).unwrap();
    cluster.apply(&secret((&pair, &ended), None)).await;
    let stage = start(cluster).await;
    until_registered(cluster, &[&stage]).await;
    let bundle = until_replaced(cluster, &ended).await;
    let address = stage.ports().apis.unwrap();
    let client = SecureClient::try_new(address, &host(cluster), &bundle, None).unwrap();
    cluster
        .double()
        .know_token("good", json!({"username": "jane"}));
    let ask = Request::get("/apis").header("authorization", "Bearer good");
    assert_eq!(client.send(ask).await.unwrap().status, 403);
    let taken = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": VERSIONS[0]},
        "spec": {"service": {"namespace": "monitoring", "name": "prometheus-adapter"}},
    });
    cluster.apply(&taken).await;
    until_state(&stage, "foreign").await;
    stage.stop().await;
}

/// The aggregation layer of a real API server, from its front proxy's certificate to the answer; and a ServiceAccount's
/// token, which it reviews.
#[tokio::test]
async fn a_real_api_server_asks_the_controller_for_its_users() {
    story(async |cluster| {
        if cluster.is_double() {
            eprintln!("SKIPPED: the double passes nothing on; see GAUGEWAY_TEST_KUBECONFIG");
            return;
        }
        cluster.apply(&service("cart")).await;
        let port = ReservedPort::new().unwrap();
        // Its only Pods are this process.
        cluster
            .apply(&json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE},
                "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port.port()}]},
            }))
            .await;
        let stage = Stage::launch_with(&cluster.kubeconfig, &[], |config| {
            change(&cluster)(config);
            let apis = config.apis.as_mut().unwrap();
            apis.listen = ([127, 0, 0, 1], port.port()).into();
            if let Certificate::Made(made) = &mut apis.certificate {
                made.home.port = port.port();
            }
        })
        .await;
        stage.ready().await;
        let bundle = until_registered(&cluster, &[&stage]).await;
        let get = async |path: &str| {
            let request = hyper::Request::get(path).body(Vec::new()).unwrap();
            cluster.client.request::<Value>(request).await
        };
        until("the API server passes questions on", PATIENCE, || async {
            for version in ["v1beta1", "v1beta2"] {
                let list = get(&format!("/apis/custom.metrics.k8s.io/{version}")).await?;
                ensure!(list["kind"] == "APIResourceList", "{list}");
            }
            Ok(())
        })
        .await
        .unwrap();
        let ns = &cluster.namespace;
        let metric = "gaugeway_upstream_concurrency";
        let path = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{ns}/services/cart/{metric}");
        let unknown = get(&path).await.unwrap_err().to_string();
        assert!(unknown.contains("no gateway routes to it"), "{unknown}");
        let role = "rbac.authorization.k8s.io";
        cluster.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "keda"}})).await;
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), ns);
        let review = TokenRequest::default();
        let token = accounts.create_token_request("keda", &PostParams::default(), &review).await;
        let token = token.unwrap().status.unwrap().token.unwrap();
        let address = stage.ports().apis.unwrap();
        let client = SecureClient::try_new(address, &host(&cluster), &bundle, None).unwrap();
        let ask = async || {
            let request = Request::get(&format!("/api/v1/services/{ns}/cart"));
            let request = request.header("authorization", &format!("Bearer {token}"));
            client.send(request).await.unwrap()
        };
        let denied = ask().await;
        assert_eq!(denied.status, 403, "{}", denied.text());
        cluster
            .apply(&json!({
                "apiVersion": format!("{role}/v1"), "kind": "Role", "metadata": {"name": "signals"},
                "rules": [{"apiGroups": ["signals.gaugeway.dev"], "resources": ["services"], "verbs": ["get", "list"]}],
            }))
            .await;
        cluster
            .apply(&json!({
                "apiVersion": format!("{role}/v1"), "kind": "RoleBinding", "metadata": {"name": "signals"},
                "roleRef": {"apiGroup": role, "kind": "Role", "name": "signals"},
                "subjects": [{"kind": "ServiceAccount", "name": "keda", "namespace": ns}],
            }))
            .await;
        until("the Role is in force", PATIENCE, || async {
            let answer = ask().await;
            ensure!(answer.status == 200, "{}", answer.text());
            Ok(())
        })
        .await
        .unwrap();
        let of = config::Cluster {
            kubeconfig: Some(cluster.kubeconfig.clone()),
            own_namespace: Some(cluster.namespace.clone()),
            ..config::Cluster::default()
        };
        detach_all(&of, PATIENCE, |_| {}).await.unwrap();
        stage.stop().await;
    })
    .await;
}
