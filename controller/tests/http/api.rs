//! The API port: what windows show, idle against unknown, what is refused.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use gaugeway_controller::{
    Controller,
    config::{Cluster, Source},
};
use gaugeway_rig::{
    Client,
    client::{Answer, Request},
};
use gaugeway_wire::{
    CodeClass, Outcome, Policy, RequestClass, Target,
    report::{ReportWriter, SeriesCounts},
    units::{Nanos, Seq, UnixNanos, VmId},
};
use serde_json::Value;

use crate::scene::{MODULE, Scene, VM, encoded, report_call, subscribe, target};

pub(crate) fn now() -> UnixNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap())
}

/// A report over 5 s of `count` requests that took so long each, perhaps none.
pub(crate) fn told(
    (vm, seq): (VmId, u64),
    to: UnixNanos,
    target: &Target,
    (count, took): (u64, Nanos),
) -> Vec<u8> {
    let layout = Policy::default().layout();
    let from = to.minus(Nanos::from_millis(5000));
    let mut writer = ReportWriter::new(Vec::new(), vm, Seq(seq), from, &layout);
    let class = RequestClass {
        outcome: Outcome::Response,
        code: CodeClass::Success,
    };
    let native = gaugeway_wire::histogram::bucket_index(layout.schema, took).unwrap();
    if count > 0 {
        assert!(writer.series(SeriesCounts {
            target: target.fingerprint(),
            route: "",
            requests: [(class, count)].into_iter(),
            native: [(native, count)].into_iter(),
            classic: [(layout.bounds.position(took), count)].into_iter(),
            zero_count: 0,
            sum: Nanos(took.0 * count),
            retries: 0,
            aborted: 0,
            latency_unknown: 0,
            cancelled_wait: Nanos(0),
        }));
    }
    writer.finish(to)
}

const TOOK: Nanos = Nanos::from_millis(3);

/// Tells of the last `reports` times 5 s, each with so many requests.
async fn tell(scene: &Scene, reports: u64, count: u64) {
    let cart = target("shop", "cart");
    let end = now();
    for seq in 1..=reports {
        let age = Nanos::from_millis(5000 * (reports - seq));
        let report = told((VM, seq), end.minus(age), &cart, (count, TOOK));
        let body = report_call(&report, &cart, None);
        assert_eq!(scene.call("/v1/report", body).await.unwrap().status, 200);
    }
}

pub(crate) async fn ask(scene: &Scene, path: &str) -> Answer {
    let client = Client::unpooled(scene.ports.api);
    client.send(Request::get(path)).await.unwrap()
}

async fn json(scene: &Scene, path: &str) -> Value {
    let answer = ask(scene, path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/json");
    serde_json::from_str(&answer.text()).unwrap()
}

#[tokio::test]
async fn a_busy_service_is_shown_with_its_signals() {
    let scene = Scene::start().await;
    tell(&scene, 14, 50).await;
    let cart = json(&scene, "/api/v1/services/shop/cart").await;
    let window = &cart["windows"]["60s"];
    assert_eq!(window["state"], "active", "{cart:#}");
    // 12 reports of 50 requests in 60 s; 11 or 13 when a slot passes between reports and question.
    let rate = window["requestsPerSecond"].as_f64().unwrap();
    assert!((9.0..=11.0).contains(&rate), "{rate}");
    let concurrency = window["concurrency"].as_f64().unwrap();
    assert!((concurrency - rate * 0.003).abs() < 1e-9);
    assert_eq!(window["errorRatio"], 0.0);
    let latency = &window["latencySeconds"];
    assert!((latency["average"].as_f64().unwrap() - 0.003).abs() < 1e-9);
    let p99 = latency["p99"].as_f64().unwrap();
    assert!((0.003 / 1.0906..0.003 * 1.0906).contains(&p99), "{p99}");
    // The gateway has not reported for five minutes.
    let long = &cart["windows"]["5m"];
    assert_eq!(long["state"], "unknown");
    assert!(long["reason"].as_str().unwrap().contains("whole window"));
    assert!(long.get("requestsPerSecond").is_none() && long.get("latencySeconds").is_none());
    let gateway = &cart["gateways"][0];
    assert_eq!(gateway["name"], "shop/edge");
    assert_eq!(gateway["selects"], true);
    assert_eq!(gateway["standing"]["state"], "covers");
    assert_eq!(gateway["requestsPerSecond"], window["requestsPerSecond"]);
    // These targets have no port.
    let backend = &cart["backends"][0];
    assert!(backend.get("port").is_none());
    assert_eq!(backend["requestsPerSecond"], window["requestsPerSecond"]);
    let list = json(&scene, "/api/v1/services?window=30s&namespace=shop").await;
    assert_eq!(list["window"], "30s");
    assert_eq!(list["services"].as_array().unwrap().len(), 1);
    assert_eq!(list["services"][0]["state"], "active");
    let gateways = json(&scene, "/api/v1/gateways?window=5m").await;
    let standing = &gateways["gateways"][0]["standing"];
    assert_eq!(standing["state"], "young", "{gateways:#}");
    assert!(standing["reportingSeconds"].as_f64().unwrap() >= 70.0);
}

#[tokio::test]
async fn an_idle_service_has_zeros() {
    let scene = Scene::start().await;
    tell(&scene, 14, 0).await;
    let cart = json(&scene, "/api/v1/services/shop/cart").await;
    let window = &cart["windows"]["60s"];
    assert_eq!(window["state"], "idle", "{cart:#}");
    for rate in ["requestsPerSecond", "concurrency", "errorRatio"] {
        assert_eq!(window[rate], 0.0);
    }
    for signal in ["average", "p50", "p90", "p95", "p99"] {
        assert_eq!(window["latencySeconds"][signal], 0.0);
    }
}

#[tokio::test]
async fn what_no_gateway_told_of_is_unknown() {
    let scene = Scene::start().await;
    tell(&scene, 14, 0).await;
    let list = json(&scene, "/api/v1/services").await;
    let vault = &list["services"][0];
    assert_eq!(
        (&vault["namespace"], &vault["name"]),
        (&"bank".into(), &"vault".into())
    );
    assert_eq!(vault["state"], "unknown");
    assert_eq!(vault["reason"], "no gateway that routes to it reports");
    assert!(vault.get("requestsPerSecond").is_none());
}

#[tokio::test]
async fn a_backlog_is_counted_and_enters_no_window() {
    let scene = Scene::start().await;
    let cart = target("shop", "cart");
    let late = now().minus(Nanos::from_millis(400_000));
    let body = report_call(&told((VM, 1), late, &cart, (7, TOOK)), &cart, None);
    assert_eq!(scene.call("/v1/report", body).await.unwrap().status, 200);
    assert!((scene.requests("cart").await - 7.0).abs() < 1e-9);
    let labels = [("reason", "old")];
    scene
        .until_metric("gaugeway_unwindowed_reports_total", &labels, 1.0)
        .await;
}

#[tokio::test]
async fn everything_is_explained_from_what_the_controller_holds() {
    let scene = Scene::start().await;
    tell(&scene, 14, 50).await;
    for (path, verdict) in [
        // It reports, and has never asked for the mapping.
        ("service/shop/cart", "notMeasured"),
        ("address/10.0.0.1:8080", "notMeasured"),
        ("address/[2001:db8::1]:8080", "notMeasured"),
        ("gateway/shop/edge", "notMeasured"),
        ("deployment/shop/cart", "notMeasured"),
    ] {
        let explained = json(&scene, &format!("/api/v1/explain/{path}")).await;
        assert_eq!(explained["verdict"], verdict, "{explained:#}");
    }
    let ask = encoded(&subscribe(VM, &["10.0.0.1:8080"]));
    assert_eq!(scene.call("/v1/mapping", ask).await.unwrap().status, 200);
    let cart = json(&scene, "/api/v1/explain/service/shop/cart").await;
    assert_eq!(cart["verdict"], "measured", "{cart:#}");
    let summary = cart["summary"].as_str().unwrap();
    assert!(summary.starts_with("measured, "), "{summary}");
    let address = "/api/v1/explain/address/10.0.0.1:8080?gateway=shop/edge";
    assert_eq!(json(&scene, address).await["verdict"], "measured");
    let elsewhere = "/api/v1/explain/address/10.0.0.1:8080?gateway=bank/edge";
    assert_eq!(json(&scene, elsewhere).await["verdict"], "notMeasured");
}

#[tokio::test]
async fn before_the_source_is_read_nothing_is_said() {
    let scene = Scene::launch(|config| {
        let Source::Manifests(manifests) = &config.source else {
            return;
        };
        let file = manifests.with_file_name("kubeconfig");
        config.source = Source::Kubernetes(unreachable(file));
    })
    .await;
    let explained = json(&scene, "/api/v1/explain/service/shop/cart").await;
    assert_eq!(explained["verdict"], "cannotTell", "{explained:#}");
    let found = explained["steps"][0]["found"].as_str().unwrap();
    assert!(found.contains("has not been read completely"), "{found}");
}

/// A cluster where nothing listens, so nothing is ever read.
fn unreachable(file: PathBuf) -> Cluster {
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "x", "user": {}}],
    });
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    Cluster {
        kubeconfig: Some(file),
        ..Cluster::default()
    }
}

#[tokio::test]
async fn what_there_is_not_is_refused() {
    let scene = Scene::start().await;
    for (path, status) in [
        ("/api/v1/services/shop/nothing", 404),
        ("/api/v1/elsewhere", 404),
        ("/api/v1/services?window=10s", 400),
        ("/api/v1/services?windows=60s", 400),
        ("/api/v1/gateways?namespace=shop", 400),
        ("/api/v1/explain/secret/shop/cart", 404),
        ("/api/v1/explain/service/shop/cart?window=60s", 400),
        ("/api/v1/explain/address/10.0.0.1", 400),
        ("/api/v1/explain/address/10.0.0.1:80?namespace=shop", 400),
    ] {
        assert_eq!(ask(&scene, path).await.status, status, "{path}");
    }
    assert!((scene.rejected("/api/v1", "query").await - 6.0).abs() < 1e-9);
    let description = json(&scene, "/api/v1/openapi.json").await;
    assert_eq!(description["openapi"], "3.0.3");
    let text = description.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            !description["components"]["schemas"][name].is_null(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_api_port_is_refused_beyond_loopback() {
    let scene = Scene::start().await;
    let mut config = scene.config();
    config.filter_modules = &[MODULE];
    config.api_listen = ([0, 0, 0, 0], 0).into();
    let refused = Controller::start(config).await.err().unwrap();
    assert!(refused.to_string().contains("loopback"), "{refused}");
}
