//! What is served.

use gaugeway_rig::{Client, client::Request};
use gaugeway_wire::{
    ReportAnswer,
    mapping::MappingAnswer,
    target::names,
    units::{Seq, VmId},
};
use sha2::{Digest as _, Sha256};

use crate::scene::{
    CART, GATEWAY, MODULE, OTHER, OTHER_MODULE, Scene, VM, definition, encoded, exchange, post,
    report, report_call, subscribe, target,
};

#[tokio::test]
async fn a_filter_asks_reports_and_is_seen_in_the_metrics() {
    let scene = Scene::start().await;
    let asked = encoded(&subscribe(VM, &[CART]));
    let answer = scene.call("/v1/mapping", asked).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    let cart = definition(&answer.body).resolve().unwrap();
    assert_eq!(cart.label(names::SERVICE), Some("cart"));

    let body = report_call(&report(VM, 1, &cart, 42), &cart, None);
    for _ in 0..2 {
        // The second time it is the same report: acknowledged, not counted.
        let answer = scene.call("/v1/report", body.clone()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = ReportAnswer::decode(&answer.body).unwrap();
        assert_eq!((answer.seq, answer.rejected_series), (Seq(1), 0));
        assert_eq!(answer.undefined, []);
    }
    let page = scene.metrics().await;
    let cart = [
        ("kubernetes_namespace", "shop"),
        ("kubernetes_service", "cart"),
    ];
    assert_eq!(page.sum("gaugeway_upstream_requests_total", &cart), 42.0);
    assert_eq!(
        page.sum("gaugeway_upstream_latency_seconds_count", &cart),
        42.0
    );
    let gateway = [("gateway", GATEWAY)];
    assert_eq!(page.sum("gaugeway_reports_total", &gateway), 1.0);
    assert_eq!(page.sum("gaugeway_duplicate_reports_total", &gateway), 1.0);
}

#[tokio::test]
async fn the_mapping_can_ride_on_a_report() {
    let scene = Scene::start().await;
    let cart = target("shop", "cart");
    let mapping = subscribe(VM, &[CART]);
    let body = report_call(&report(VM, 1, &cart, 1), &cart, Some(&mapping));
    let answer = scene.call("/v1/report", body).await.unwrap();
    let answer = ReportAnswer::decode(&answer.body).unwrap();
    let mapping = MappingAnswer::decode(answer.mapping.unwrap()).unwrap();
    assert_eq!(mapping.entries().count(), 1);
}

#[tokio::test]
async fn http_2_without_tls_is_served_too() {
    let scene = Scene::start().await;
    let body = encoded(&subscribe(VM, &[CART]));
    let request = post(GATEWAY, &scene.token(GATEWAY), "/v1/mapping", body);
    let answer = Client::h2c(scene.ports.filters)
        .send(request)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    definition(&answer.body);
}

#[tokio::test]
async fn one_gateways_token_cannot_report_for_anothers_services() {
    let scene = Scene::start().await;
    let cart = target("shop", "cart");
    let vm = VmId([9; 16]);
    let body = report_call(&report(vm, 1, &cart, 1000), &cart, None);
    let answer = scene
        .call_as(OTHER, &scene.token(OTHER), "/v1/report", body)
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = ReportAnswer::decode(&answer.body).unwrap();
    assert_eq!(answer.rejected_series, 1);
    assert_eq!(scene.requests("cart").await, 0.0);
    let rejected = scene.metrics().await;
    let other = [("gateway", OTHER)];
    assert_eq!(rejected.sum("gaugeway_rejected_series_total", &other), 1.0);
}

#[tokio::test]
async fn each_module_is_served_by_its_sum_forever() {
    let scene = Scene::start().await;
    let client = Client::new(scene.ports.wasm);
    let path_of = |module: &[u8]| {
        let sum: String = Sha256::digest(module)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        format!("/v1/filter/{sum}.wasm")
    };
    let path = path_of(MODULE);
    let other = client
        .send(Request::get(&path_of(OTHER_MODULE)))
        .await
        .unwrap();
    assert_eq!((other.status, &*other.body), (200, OTHER_MODULE));
    let answer = client.send(Request::get(&path)).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (200, MODULE));
    assert_eq!(answer.headers["content-type"], "application/wasm");
    assert_eq!(
        answer.headers["cache-control"],
        "public, max-age=31536000, immutable"
    );
    let etag = answer.headers["etag"].to_str().unwrap().to_owned();
    let held = Request::get(&path).header("if-none-match", &etag);
    let answer = client.send(held).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (304, 0));

    let head = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = exchange(scene.ports.wasm, head.as_bytes()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains(&format!("content-length: {}\r\n", MODULE.len())),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");

    let old = format!("/v1/filter/{}.wasm", "0".repeat(64));
    let answer = client.send(Request::get(&old)).await.unwrap();
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains(&path), "{}", answer.text());
    assert_eq!(scene.rejected("/v1/filter", "unknown_module").await, 1.0);
}

#[tokio::test]
async fn the_metrics_port_says_what_is_here_and_how_it_is() {
    let scene = Scene::start().await;
    let client = Client::new(scene.ports.metrics);
    let index = client.send(Request::get("/")).await.unwrap();
    assert!(index.text().contains("/metrics"), "{}", index.text());
    let health = client.send(Request::get("/healthz")).await.unwrap();
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
    let ready = client.send(Request::get("/readyz")).await.unwrap();
    assert!(ready.text().contains("memory only"), "{}", ready.text());
    let none = client.send(Request::get("/metric")).await.unwrap();
    assert_eq!(none.status, 404);
    assert!(none.text().contains("GET /metrics"), "{}", none.text());
    let page = client.send(Request::get("/metrics")).await.unwrap();
    assert_eq!(
        page.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
}
