//! Two replicas of which one leads by a Lease.

use std::time::Duration;

use anyhow::{Result, ensure};
use gaugeway_apiserver::{Effect, Fault, Verb};
use gaugeway_controller::{
    Config,
    auth::{Keys, new_key},
    config::{CertificateFiles, Election, SecretKey, Timing, Tokens},
};
use gaugeway_rig::{
    Authority, Client, SecureClient,
    client::{Answer, Request},
    wait::{PATIENCE, until},
};
use gaugeway_wire::{GatewayName, VmId};
use k8s_openapi::api::core::v1::Secret;
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, story, story_with_faults},
    objects::{route, service, slice},
    stage::Stage,
};

/// Short, so that a story about a Lease that runs out takes seconds.
const TIMING: Timing = Timing {
    lease: Duration::from_secs(2),
    deadline: Duration::from_millis(1200),
    retry: Duration::from_millis(200),
};
const VM: VmId = VmId([7; 16]);

/// Ready.
async fn replica(cluster: &Cluster, identity: &str) -> Stage {
    let stage = launch(cluster, identity, |_| {}).await;
    stage.ready().await;
    stage
}

async fn launch(cluster: &Cluster, identity: &str, change: impl FnOnce(&mut Config)) -> Stage {
    let election = Election {
        identity: identity.to_owned(),
        namespace: cluster.namespace.clone(),
        lease: "gaugeway".to_owned(),
        advertise: [127, 0, 0, 1].into(),
        timing: TIMING,
    };
    Stage::launch_with(&cluster.kubeconfig, &[], |config| {
        config.election = Some(election);
        change(config);
    })
    .await
}

/// One with everything that the chart turns on by default; ready.
pub(crate) async fn keeper(cluster: &Cluster, identity: &str) -> Stage {
    let stage = launch(cluster, identity, |config| with_secret(cluster, config)).await;
    stage.ready().await;
    stage
}

/// The token key is in a Secret.
fn with_secret(cluster: &Cluster, config: &mut Config) {
    config.tokens = Tokens::Secret(SecretKey {
        namespace: cluster.namespace.clone(),
        name: "keys".to_owned(),
        key: "token.key".to_owned(),
    });
}

/// What the Secret holds.
async fn key_text(cluster: &Cluster) -> String {
    let secret = cluster.get("Secret", "keys").await.unwrap();
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let data = secret.data.unwrap().remove("token.key").unwrap();
    String::from_utf8(data.0).unwrap()
}

/// A status of a call with the token under a key.
async fn with_token(cluster: &Cluster, to: &Stage, key: &str) -> u16 {
    let gateway = format!("{}/edge", cluster.namespace);
    let token = Keys::parse(key)
        .unwrap()
        .token(&GatewayName::try_new(&gateway).unwrap());
    let call = Request::post("/v1/report", Vec::new())
        .header("x-gaugeway-gateway", &gateway)
        .header("authorization", &format!("Bearer {}", token.as_str()));
    let answer = Client::unpooled(to.ports().filters).send(call).await;
    answer.unwrap().status
}

async fn between_replicas_a_gateways_token_opens_nothing(cluster: &Cluster, to: &Stage, key: &str) {
    let name = GatewayName::try_new(&format!("{}/edge", cluster.namespace)).unwrap();
    let token = Keys::parse(key).unwrap().token(&name);
    let inner = Client::unpooled(to.ports().filters);
    for given in [token.as_str(), ""] {
        let call = Request::get("/v1/replica/api/v1/gateways").header("x-gaugeway-replica", given);
        assert_eq!(inner.send(call).await.unwrap().status, 401);
    }
}

#[tokio::test]
async fn replicas_make_one_key_and_follow_it() {
    story(async |cluster| {
        shop(&cluster).await;
        let start = |identity| launch(&cluster, identity, |config| with_secret(&cluster, config));
        let (a, b) = futures::join!(start("a"), start("b"));
        a.ready().await;
        b.ready().await;
        let key = key_text(&cluster).await;
        until(
            "both take the key's token, also passed on",
            PATIENCE,
            || async {
                for replica in [&a, &b] {
                    let status = with_token(&cluster, replica, &key).await;
                    ensure!(status == 200, "{status}");
                }
                Ok(())
            },
        )
        .await
        .unwrap();
        let other = new_key().unwrap();
        for replica in [&a, &b] {
            assert_eq!(with_token(&cluster, replica, &other).await, 401);
        }
        between_replicas_a_gateways_token_opens_nothing(&cluster, &a, &key).await;
        // A rotation: the new one first.
        let both = format!("{other}\n{key}\n");
        cluster
            .apply(&serde_json::json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
                "stringData": {"token.key": both},
            }))
            .await;
        until("the new key is in force", PATIENCE, || async {
            for replica in [&a, &b] {
                let status = with_token(&cluster, replica, &other).await;
                ensure!(status == 200, "{status}");
            }
            Ok(())
        })
        .await
        .unwrap();
        // Removed: what is in force stays, and no key comes that nobody has tokens of.
        cluster.delete("Secret", "keys").await;
        until_metric(&a, "gaugeway_token_key_reads_total", 3.0).await;
        assert_eq!(with_token(&cluster, &a, &other).await, 200);
        assert!(cluster.get("Secret", "keys").await.is_err());
        a.stop().await;
        b.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_key_is_followed_when_its_watch_was_dropped_and_refused_for_a_while() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let a = launch(&cluster, "a", |config| with_secret(&cluster, config)).await;
        a.ready().await;
        let (double, key) = (cluster.double(), key_text(&cluster).await);
        double.fault(Fault::on("secrets", Effect::Status(403)));
        double.drop_watches();
        until_metric(&a, "gaugeway_token_key_reads_total", 2.0).await;
        assert_eq!(
            with_token(&cluster, &a, &key).await,
            200,
            "it stays in force"
        );
        double.lift_faults();
        let other = new_key().unwrap();
        cluster
            .apply(&serde_json::json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
                "stringData": {"token.key": other},
            }))
            .await;
        until("the new key is in force", PATIENCE, || async {
            let status = with_token(&cluster, &a, &other).await;
            ensure!(status == 200, "{status}");
            Ok(())
        })
        .await
        .unwrap();
        a.stop().await;
    })
    .await;
}

/// Replicas share one certificate: it is by this that they know each other.
#[tokio::test]
async fn by_tls_calls_are_passed_on_to_who_has_the_same_certificate() {
    story(async |cluster| {
        shop(&cluster).await;
        let authority = Authority::new("filters-ca").unwrap();
        let name = "gaugeway-filters.gaugeway.svc";
        let dirs = [(), ()].map(|()| tempfile::tempdir().unwrap());
        let [ours, other] = [(), ()].map(|()| authority.server(&[name]).unwrap());
        ours.write(dirs[0].path()).unwrap();
        other.write(dirs[1].path()).unwrap();
        let start = async |identity, dir: &TempDir| {
            let replica = launch(&cluster, identity, |config| {
                config.key_poll = Duration::from_millis(10);
                config.filters_tls = Some(CertificateFiles {
                    certificate: dir.path().join("tls.crt"),
                    key: dir.path().join("tls.key"),
                });
            })
            .await;
            replica.ready().await;
            replica
        };
        let leader = start("a", &dirs[0]).await;
        until_metric(&leader, "gaugeway_leader", 1.0).await;
        let standby = start("b", &dirs[1]).await;
        let (to, roots) = (standby.ports().filters, authority.pem());
        let client = SecureClient::try_new(to, name, &roots, None).unwrap();
        let gateway = format!("{}/edge", cluster.namespace);
        let call = || {
            let empty = Request::post("/v1/report", Vec::new());
            client.send(empty.header("x-gaugeway-gateway", &gateway))
        };
        let until_status = async |expected: u16| {
            until("a status", PATIENCE, || async {
                let status = call().await?.status;
                ensure!(status == expected, "{status}");
                Ok(())
            })
            .await
            .unwrap();
        };
        until_status(503).await;
        ours.write(dirs[1].path()).unwrap();
        until_status(200).await;
        standby.stop().await;
        leader.stop().await;
    })
    .await;
}

/// Service `cart` behind Gateway `edge`.
async fn shop(cluster: &Cluster) {
    cluster.define_routes().await;
    for object in [
        service("cart"),
        slice("cart-1", "cart", &["10.0.0.1=a"]),
        route("HTTPRoute", "web", &["cart"]),
    ] {
        cluster.apply(&object).await;
    }
}

/// One request of `cart`, as report number `seq` of the one worker VM.
async fn report(cluster: &Cluster, to: &Stage, seq: u64) -> Result<Answer> {
    let namespace = &cluster.namespace;
    let gateway = format!("{namespace}/edge");
    to.report_as(VM, seq, &gateway, namespace, "cart").await
}

/// Sends it until it is acknowledged.
async fn acknowledged(cluster: &Cluster, to: &Stage, seq: u64) {
    until("the report is acknowledged", PATIENCE, || async {
        let answer = report(cluster, to, seq).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok(())
    })
    .await
    .unwrap();
}

/// Waits until it shows so many requests of `cart` (a series is shown at 0 once).
async fn until_requests(stage: &Stage, expected: u32) {
    let name = "gaugeway_upstream_requests_total";
    until(name, PATIENCE, || async {
        let seen = stage
            .metric(name, &[("kubernetes_service", "cart")])
            .await?;
        // A sum of nothing is -0.
        ensure!(
            (seen - f64::from(expected)).abs() < 0.5,
            "{seen} of {expected}"
        );
        Ok(())
    })
    .await
    .unwrap();
}

async fn until_metric(stage: &Stage, name: &str, value: f64) {
    until(name, PATIENCE, || async {
        let seen = stage.metric(name, &[]).await?;
        ensure!((seen - value).abs() < 0.5, "{seen}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Waits until so many connections to its filters port are open.
async fn until_connections(stage: &Stage, expected: f64) {
    until("connections", PATIENCE, || async {
        let labels = [("port", "filters")];
        let seen = stage.metric("gaugeway_connections", &labels).await?;
        ensure!((seen - expected).abs() < 0.5, "{seen}");
        Ok(())
    })
    .await
    .unwrap();
}

const METRICS_API: &str = "/apis/custom.metrics.k8s.io/v1beta2";

/// What an autoscaler is answered that asks a replica for a value.
async fn value(cluster: &Cluster, replica: &Stage) -> Answer {
    let metric = "gaugeway_upstream_concurrency";
    let path = format!(
        "{METRICS_API}/namespaces/{}/services/cart/{metric}",
        cluster.namespace
    );
    let client = Client::unpooled(replica.ports().api);
    client.send(Request::get(&path)).await.unwrap()
}

/// An API that does not say what it serves keeps namespaces from being deleted.
async fn assert_discovered(replica: &Stage) {
    let client = Client::unpooled(replica.ports().api);
    let served = client.send(Request::get(METRICS_API)).await.unwrap();
    assert_eq!(served.status, 200, "{}", served.text());
}

#[tokio::test]
async fn one_leads_the_other_passes_on_and_takes_over_when_it_goes() {
    story(async |cluster| {
        shop(&cluster).await;
        let a = replica(&cluster, "a").await;
        until_metric(&a, "gaugeway_leader", 1.0).await;
        let b = replica(&cluster, "b").await;
        let lease = cluster.get("Lease", "gaugeway").await.unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "a", "{lease}");
        // Both take reports, and mapping calls; one counts.
        acknowledged(&cluster, &a, 1).await;
        acknowledged(&cluster, &b, 2).await;
        let edge = format!("{}/edge", cluster.namespace);
        let owner = format!("{} a cart http", cluster.namespace);
        b.until_owners(&edge, "10.0.0.1:8080", &[&owner]).await;
        until_requests(&a, 2).await;
        until_requests(&b, 0).await;
        until_metric(&b, "gaugeway_leader", 0.0).await;
        let (_, said) = b.readiness().await.unwrap();
        assert!(said.contains("stands by; a leads"), "{said}");
        let asked = Client::unpooled(b.ports().api);
        let windows = asked.send(Request::get("/api/v1/gateways")).await.unwrap();
        assert_eq!(windows.status, 200, "{}", windows.text());
        assert!(windows.text().contains(&edge), "{}", windows.text());
        // A value too: the leader says why there is none. What is served, a replica says itself.
        let value = value(&cluster, &b).await;
        assert_eq!(value.status, 404, "{}", value.text());
        assert!(
            value
                .text()
                .contains("no gateway that routes to it reports"),
            "{}",
            value.text()
        );
        assert_discovered(&b).await;
        // Without waiting for the Lease to run out.
        a.stop().await;
        acknowledged(&cluster, &b, 3).await;
        until_requests(&b, 1).await;
        until_metric(&b, "gaugeway_leader", 1.0).await;
        let lease = cluster.get("Lease", "gaugeway").await.unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "b", "{lease}");
        assert_eq!(lease["spec"]["leaseTransitions"], 1, "{lease}");
        b.stop().await;
    })
    .await;
}

#[tokio::test]
async fn without_an_api_server_reports_are_refused_and_nothing_is_lost() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let a = replica(&cluster, "a").await;
        acknowledged(&cluster, &a, 1).await;
        cluster.double().go_away();
        until_metric(&a, "gaugeway_stale", 1.0).await;
        let refused = report(&cluster, &a, 2).await.unwrap();
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.headers["retry-after"], "1");
        assert_eq!(refused.headers["connection"], "close");
        let scraper = Client::unpooled(a.ports().metrics);
        let page = scraper.send(Request::get("/metrics")).await.unwrap();
        assert_eq!(page.headers["x-gaugeway-stale"], "1");
        until_requests(&a, 1).await;
        // To an autoscaler it is unknown: it leaves the size as it is.
        let value = value(&cluster, &a).await;
        assert_eq!(value.status, 404, "{}", value.text());
        assert!(
            value.text().contains("another may lead"),
            "{}",
            value.text()
        );
        assert_discovered(&a).await;
        cluster.double().come_back();
        acknowledged(&cluster, &a, 2).await;
        until_requests(&a, 2).await;
        until_metric(&a, "gaugeway_stale", 0.0).await;
        a.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_another_replaced_ends_and_says_so() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let a = replica(&cluster, "a").await;
        acknowledged(&cluster, &a, 1).await;
        // Somebody takes it by force.
        cluster
            .apply(&serde_json::json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "gaugeway"},
                "spec": {"holderIdentity": "z", "leaseTransitions": 1, "leaseDurationSeconds": 3600},
            }))
            .await;
        let ended = a.ended().await.unwrap_err().to_string();
        assert!(ended.contains("held by z"), "{ended}");
    })
    .await;
}

#[tokio::test]
async fn nobody_leads_without_a_right_to_the_lease() {
    story_with_faults(async |cluster| {
        shop(&cluster).await;
        let forbidden = Fault::on("leases", Effect::Status(403)).verbs(&[Verb::Create]);
        cluster.double().fault(forbidden);
        let a = replica(&cluster, "a").await;
        until("nobody leads", PATIENCE, || async {
            let (status, said) = a.readiness().await?;
            // Ready means synced, never leader.
            ensure!(status == 200 && said.contains("nobody leads"), "{said}");
            Ok(())
        })
        .await
        .unwrap();
        let refused = report(&cluster, &a, 1).await.unwrap();
        assert_eq!(refused.status, 503);
        assert!(
            refused.text().contains("no replica leads"),
            "{}",
            refused.text()
        );
        let value = value(&cluster, &a).await;
        assert_eq!(value.status, 503, "{}", value.text());
        assert_eq!(value.headers["retry-after"], "1");
        assert_eq!(value.headers["connection"], "close");
        let status: serde_json::Value = serde_json::from_str(&value.text()).unwrap();
        assert_eq!(status["kind"], "Status", "{status}");
        assert_discovered(&a).await;
        // An HTTP/2 caller is sent away too, not only answered: its pool would stay with this replica.
        let pooled = Client::h2c(a.ports().filters);
        let gateway = format!("{}/edge", cluster.namespace);
        let call =
            || Request::post("/v1/report", Vec::new()).header("x-gaugeway-gateway", &gateway);
        assert_eq!(pooled.send(call()).await.unwrap().status, 503);
        until_connections(&a, 0.0).await;
        cluster.double().lift_faults();
        acknowledged(&cluster, &a, 1).await;
        assert_eq!(pooled.send(call()).await.unwrap().status, 200);
        until_connections(&a, 1.0).await;
        a.stop().await;
    })
    .await;
}
