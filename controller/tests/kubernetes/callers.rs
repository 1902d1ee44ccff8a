//! Who may call the `apis` port: by the API server's front proxy, by bearer token, within what the API server allows.

use std::{fs, time::Duration};

use anyhow::ensure;
use gaugeway_apiserver::{Effect, Fault, Verb};
use gaugeway_controller::config::{Answers, Apis, Certificate, CertificateFiles};
use gaugeway_rig::{
    Authority, Client, Pair, SecureClient,
    client::{Answer, Request},
    wait::{PATIENCE, until},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, story_with_faults},
    objects::service,
    stage::Stage,
};

pub(crate) const HOST: &str = "gaugeway-apis.gaugeway.svc";
const PROXY: &str = "front-proxy-client";
const DISCOVERY: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const SERVICES: &str = "/api/v1/services";

/// A controller with its certificate, in a cluster whose front proxy is known by an authority.
pub(crate) struct Door {
    pub(crate) stage: Stage,
    server: Authority,
    pub(crate) proxy: Authority,
    files: TempDir,
}

impl Door {
    pub(crate) async fn open(
        cluster: &Cluster,
        change: impl FnOnce(&mut gaugeway_controller::Config),
    ) -> Self {
        cluster.apply(&service("cart")).await;
        let (server, proxy) = (
            Authority::new("server-ca").unwrap(),
            Authority::new("front-proxy-ca").unwrap(),
        );
        trust(cluster, &[&proxy]).await;
        let files = tempfile::tempdir().unwrap();
        server.server(&[HOST]).unwrap().write(files.path()).unwrap();
        let apis = Apis {
            listen: ([127, 0, 0, 1], 0).into(),
            certificate: Certificate::Files(CertificateFiles {
                certificate: files.path().join("tls.crt"),
                key: files.path().join("tls.key"),
            }),
            answers: Answers::default(),
        };
        let stage = Stage::launch_with(&cluster.kubeconfig, &[], |config| {
            config.apis = Some(apis);
            config.key_poll = Duration::from_millis(10);
            change(config);
        })
        .await;
        stage.ready().await;
        until("the front proxy is known", PATIENCE, || async {
            let known = stage.metric("gaugeway_front_proxy_known", &[]).await?;
            ensure!(known == 1.0);
            Ok(())
        })
        .await
        .unwrap();
        Self {
            stage,
            server,
            proxy,
            files,
        }
    }

    pub(crate) fn client(&self, own: Option<&Pair>) -> SecureClient {
        let own = own.map(|pair| (&*pair.certificate, &*pair.key));
        let address = self.stage.ports().apis.unwrap();
        SecureClient::try_new(address, HOST, &self.server.pem(), own).unwrap()
    }

    /// As the API server passes a user's question on.
    async fn proxied(&self, own: Option<&Pair>, user: &str, path: &str) -> Answer {
        let request = Request::get(path).header("x-remote-user", user);
        let request = request.header("x-remote-group", "system:authenticated");
        self.client(own).send(request).await.unwrap()
    }

    async fn with_token(&self, token: &str, path: &str) -> Answer {
        let request = Request::get(path).header("authorization", &format!("Bearer {token}"));
        self.client(None).send(request).await.unwrap()
    }
}

/// What a kube-apiserver writes of its front proxy.
async fn trust(cluster: &Cluster, authorities: &[&Authority]) {
    let pems: String = authorities
        .iter()
        .map(|authority| authority.pem())
        .collect();
    let names = json!([PROXY]).to_string();
    cluster
        .apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": {
                "requestheader-client-ca-file": pems, "requestheader-allowed-names": names,
                "requestheader-username-headers": r#"["X-Remote-User"]"#,
                "requestheader-group-headers": r#"["X-Remote-Group"]"#,
                "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
            },
        }))
        .await;
}

fn everything() -> Value {
    json!({})
}

/// It is a `Status`, and says so much.
fn assert_refused(answer: &Answer, code: u16, text: &str) {
    let status: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (answer.status, &status["kind"]),
        (code, &json!("Status")),
        "{status}"
    );
    assert_eq!(status["code"], json!(code));
    let message = status["message"].as_str().unwrap();
    assert!(message.contains(text), "{message}");
}

#[tokio::test]
async fn the_front_proxy_is_believed_and_nobody_else_who_names_a_user() {
    story_with_faults(async |cluster| {
        let door = Door::open(&cluster, |_| {}).await;
        cluster.double().grant("jane", everything());
        let proxy = door.proxy.client(PROXY).unwrap();
        for path in [DISCOVERY, SERVICES, "/apis"] {
            let answer = door.proxied(Some(&proxy), "jane", path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        let stranger = Authority::new("front-proxy-ca")
            .unwrap()
            .client(PROXY)
            .unwrap();
        let misnamed = door.proxy.client("kube-apiserver-kubelet-client").unwrap();
        let expired = door.proxy.expired_client(PROXY).unwrap();
        for (own, why) in [
            (None, "who calls?"),
            (Some(&stranger), "is not the front proxy's"),
            (Some(&misnamed), "requestheader-allowed-names"),
            (Some(&expired), "is not the front proxy's"),
        ] {
            for path in [
                DISCOVERY,
                SERVICES,
                "/api/v1/openapi.json",
                "/healthz",
                "/nothing",
            ] {
                let answer = door.proxied(own, "jane", path).await;
                assert_refused(&answer, 401, why);
                assert_eq!(answer.headers["www-authenticate"], "Bearer");
            }
        }
        // A certificate alone names nobody.
        let nobody = door
            .client(Some(&proxy))
            .send(Request::get(SERVICES))
            .await
            .unwrap();
        assert_refused(&nobody, 401, "who calls?");
        door.stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_the_api_server_does_not_allow_is_forbidden_and_said_in_its_words() {
    story_with_faults(async |cluster| {
        let door = Door::open(&cluster, |_| {}).await;
        let proxy = door.proxy.client(PROXY).unwrap();
        let ns = &*cluster.namespace;
        let metric = format!("{DISCOVERY}/namespaces/{ns}/services/cart/gaugeway_upstream_requests_per_second");
        for (path, text) in [
            (DISCOVERY, format!("User \"jane\" cannot get path \"{DISCOVERY}\"")),
            ("/healthz", "User \"jane\" cannot get path \"/healthz\"".to_owned()),
            (&metric, format!("User \"jane\" cannot get resource \"services/gaugeway_upstream_requests_per_second\" in API \
                group \"custom.metrics.k8s.io\" in the namespace {ns:?}")),
            (SERVICES, "cannot list resource \"services\" in API group \"signals.gaugeway.dev\" at the cluster scope".to_owned()),
        ] {
            assert_refused(&door.proxied(Some(&proxy), "jane", path).await, 403, &text);
        }
        // Of one namespace, and of one metric, and nothing beside it.
        let own = json!({"group": "signals.gaugeway.dev", "resource": "services", "namespace": ns});
        cluster.double().grant("tenant", own);
        let metrics = json!({"group": "custom.metrics.k8s.io", "namespace": ns, "resource": "services"});
        cluster.double().grant("tenant", metrics);
        for (path, status) in [
            (format!("{SERVICES}?namespace={ns}"), 200),
            (format!("{SERVICES}/{ns}/cart"), 200),
            (SERVICES.to_owned(), 403),
            (format!("{SERVICES}?namespace={ns}&namespace=bank"), 403),
            (format!("{SERVICES}/bank/vault"), 403),
            (format!("{SERVICES}/{ns}%2F..%2Fbank/vault"), 400),
            ("/api/v1/gateways".to_owned(), 403),
            (metric.clone(), 404),
            (metric.replace(ns, "bank"), 403),
        ] {
            let answer = door.proxied(Some(&proxy), "tenant", &path).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
        door.stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_bearer_token_is_whose_the_api_server_says() {
    story_with_faults(async |cluster| {
        let door = Door::open(&cluster, |_| {}).await;
        let double = cluster.double();
        let user = "system:serviceaccount:keda:keda-operator";
        double.know_token(
            "good",
            json!({"username": user, "groups": ["system:authenticated"]}),
        );
        double.know_token("poor", json!({"username": "poor"}));
        double.grant(user, everything());
        double.grant("admin", everything());
        assert_eq!(door.with_token("good", SERVICES).await.status, 200);
        assert_refused(
            &door.with_token("forged", SERVICES).await,
            401,
            "does not know the bearer token",
        );
        assert_refused(
            &door.with_token("poor", SERVICES).await,
            403,
            "User \"poor\"",
        );
        // Headers of a front proxy are nothing without its certificate.
        let forged = Request::get(SERVICES).header("authorization", "Bearer poor");
        let forged = forged
            .header("x-remote-user", "admin")
            .header("x-remote-group", "system:masters");
        assert_refused(
            &door.client(None).send(forged).await.unwrap(),
            403,
            "User \"poor\"",
        );
        // What was said is not asked again.
        let reviews = || {
            double
                .requests()
                .iter()
                .filter(|r| r.resource == "tokenreviews")
                .count()
        };
        let before = reviews();
        assert_eq!(door.with_token("good", SERVICES).await.status, 200);
        assert_eq!(door.with_token("forged", SERVICES).await.status, 401);
        assert_eq!(reviews(), before);
        door.stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_same_question_is_asked_once_at_a_time() {
    story_with_faults(async |cluster| {
        let door = Door::open(&cluster, |_| {}).await;
        let double = cluster.double();
        double.know_token("good", json!({"username": "jane"}));
        double.grant("jane", everything());
        for resource in ["tokenreviews", "subjectaccessreviews"] {
            double.fault(Fault::on(
                resource,
                Effect::Latency(Duration::from_millis(200)),
            ));
        }
        let calls = (0..32).map(|_| door.with_token("good", SERVICES));
        for answer in futures::future::join_all(calls).await {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let asked = double.requests();
        for resource in ["tokenreviews", "subjectaccessreviews"] {
            let asked = asked
                .iter()
                .filter(|r| r.resource == resource && r.verb == Verb::Create);
            assert_eq!(asked.count(), 1, "{resource}");
        }
        door.stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_said_stands_for_its_time_whether_the_api_server_is_there_or_not() {
    story_with_faults(async |cluster| {
        let door = Door::open(&cluster, |config| {
            config.apis.as_mut().unwrap().answers.ttl = Duration::from_millis(500);
        })
        .await;
        let double = cluster.double();
        double.know_token("good", json!({"username": "jane"}));
        double.grant("jane", everything());
        double.fault(Fault::on("tokenreviews", Effect::Status(500)).after(1));
        assert_eq!(door.with_token("good", SERVICES).await.status, 200);
        assert_eq!(
            door.with_token("good", SERVICES).await.status,
            200,
            "remembered"
        );
        let answers = async |expected: u16| {
            until("the answer changes", PATIENCE, || async {
                let answer = door.with_token("good", SERVICES).await;
                ensure!(
                    answer.status == expected,
                    "{}: {}",
                    answer.status,
                    answer.text()
                );
                Ok(answer)
            })
            .await
            .unwrap()
        };
        let away = answers(503).await;
        assert_refused(&away, 503, "cannot be asked who you are");
        assert_eq!(away.headers["retry-after"], "1");
        double.lift_faults();
        answers(200).await;
        double.revoke("jane");
        answers(403).await;
        double.forget_token("good");
        answers(401).await;
        door.stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_front_proxys_authority_rotates_without_a_restart() {
    story_with_faults(async |cluster| {
        let door = Door::open(&cluster, |_| {}).await;
        cluster.double().grant("jane", everything());
        let next = Authority::new("front-proxy-ca").unwrap();
        let (old_pair, new_pair) = (
            door.proxy.client(PROXY).unwrap(),
            next.client(PROXY).unwrap(),
        );
        let becomes = async |pair: &Pair, expected: u16| {
            until("the trust follows", PATIENCE, || async {
                let answer = door.proxied(Some(pair), "jane", DISCOVERY).await;
                ensure!(answer.status == expected, "{}", answer.text());
                Ok(())
            })
            .await
            .unwrap();
        };
        becomes(&old_pair, 200).await;
        becomes(&new_pair, 401).await;
        trust(&cluster, &[&door.proxy, &next]).await;
        becomes(&new_pair, 200).await;
        becomes(&old_pair, 200).await;
        trust(&cluster, &[&next]).await;
        becomes(&old_pair, 401).await;
        becomes(&new_pair, 200).await;
        door.stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_ports_certificate_is_exchanged_without_a_restart() {
    story_with_faults(async |cluster| {
        let mut door = Door::open(&cluster, |_| {}).await;
        let next = Authority::new("next-ca").unwrap();
        let pair = next.server(&[HOST]).unwrap();
        // A certificate without its key is no certificate: the old one stays.
        fs::write(door.files.path().join("tls.crt"), &pair.certificate).unwrap();
        let errors = [("port", "apis"), ("result", "error")];
        until("the mismatch is seen", PATIENCE, || async {
            let errors = door
                .stage
                .metric("gaugeway_certificate_reads_total", &errors)
                .await?;
            ensure!(errors == 1.0);
            Ok(())
        })
        .await
        .unwrap();
        door.client(None).connect().await.unwrap();
        pair.write(door.files.path()).unwrap();
        let old = door.client(None);
        door.server = next;
        let new = door.client(None);
        until("the new one is shown", PATIENCE, || async {
            ensure!(old.connect().await.is_err());
            new.connect().await.map(drop)
        })
        .await
        .unwrap();
        door.stage.stop().await;
    })
    .await;
}

/// A page of somebody else's whose name points to this machine.
#[tokio::test]
async fn the_loopback_port_answers_to_names_of_this_machine_only() {
    story_with_faults(async |cluster| {
        let stage = Stage::start(&cluster.kubeconfig).await;
        let client = Client::unpooled(stage.ports().api);
        let ask = async |host: &str| {
            let request = Request::get(SERVICES).header("host", host);
            client.send(request).await.unwrap()
        };
        for host in ["localhost:7083", "127.0.0.1", "[::1]:7083"] {
            assert_eq!(ask(host).await.status, 200, "{host}");
        }
        for host in ["evil.example", "evil.example:7083", "10.0.0.1"] {
            let answer = ask(host).await;
            assert_eq!(answer.status, 421, "{host}");
            assert!(answer.text().contains("localhost"), "{}", answer.text());
        }
        stage.stop().await;
    })
    .await;
}
