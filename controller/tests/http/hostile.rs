//! Hostile calls get a clear answer, are counted, and change nothing.

use gaugeway_wire::{
    Policy,
    codec::{put_bytes, put_varint},
    limits::REQUEST_BYTES,
    report::ReportWriter,
    units::{Seq, UnixNanos},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::scene::{
    CART, GATEWAY, OTHER, Scene, VM, encoded, exchange, read_to_end, report, report_call,
    subscribe, target,
};

/// What must not change: a Service with one request, and one subscription.
async fn scene_with_something_to_lose() -> Scene {
    let scene = Scene::start().await;
    let cart = target("shop", "cart");
    let body = report_call(&report(VM, 1, &cart, 1), &cart, None);
    assert_eq!(scene.call("/v1/report", body).await.unwrap().status, 200);
    let body = encoded(&subscribe(VM, &[CART]));
    assert_eq!(scene.call("/v1/mapping", body).await.unwrap().status, 200);
    scene
}

async fn assert_unchanged(scene: &Scene) {
    let page = scene.metrics().await;
    assert_eq!(page.sum("gaugeway_upstream_requests_total", &[]), 1.0);
    assert_eq!(page.sum("gaugeway_reports_total", &[]), 1.0);
    assert_eq!(page.sum("gaugeway_mapping_vms", &[]), 1.0);
    assert_eq!(page.sum("gaugeway_mapping_keys", &[]), 1.0);
}

/// Both paths refuse `body` with one of `statuses` and a line with `word`, and count it under one of `reasons`.
async fn assert_refused(body: &[u8], statuses: &[u16], word: &str, reasons: &[&str]) {
    let scene = scene_with_something_to_lose().await;
    for path in ["/v1/mapping", "/v1/report"] {
        let answer = scene.call(path, body.to_vec()).await.unwrap();
        let text = answer.text();
        assert!(statuses.contains(&answer.status), "{path}: {text}");
        assert!(
            text.contains(word) && text.lines().count() == 1,
            "{path}: {text}"
        );
        let mut counted = 0.0;
        for reason in reasons {
            counted += scene.rejected(path, reason).await;
        }
        assert_eq!(counted, 1.0);
    }
    assert_unchanged(&scene).await;
}

/// What is final for a filter: no message (400), or one that breaks a rule (422).
const FINAL: (&[u16], &[&str]) = (&[400, 422], &["undecodable", "illegal"]);

#[tokio::test]
async fn garbage() {
    let body: Vec<u8> = (0..=255_u8)
        .cycle()
        .map(|i| i.wrapping_mul(73) | 0x87)
        .take(5000)
        .collect();
    assert_refused(&body, FINAL.0, "cannot be used", FINAL.1).await;
}

#[tokio::test]
async fn text() {
    assert_refused(b"{\"json\": true}", FINAL.0, "cannot be used", FINAL.1).await;
}

#[tokio::test]
async fn a_truncated_report() {
    let scene = scene_with_something_to_lose().await;
    let cart = target("shop", "cart");
    let whole = report(VM, 2, &cart, 5);
    // Every cut of the report inside a call that is whole, and every cut of the call.
    let call = report_call(&whole, &cart, None);
    let cut_reports = (1..whole.len()).map(|end| report_call(&whole[..end], &cart, None));
    let cut_calls = (1..call.len()).map(|end| call[..end].to_vec());
    let mut refused = 0.0;
    for body in cut_reports.step_by(7).chain(cut_calls.step_by(11)) {
        let answer = scene.call("/v1/report", body).await.unwrap();
        // A cut between two fields is a message; what it lacks is then illegal.
        if answer.status != 200 {
            assert!([400, 422].contains(&answer.status), "{}", answer.text());
            refused += 1.0;
        }
    }
    let counted = scene.rejected("/v1/report", "undecodable").await
        + scene.rejected("/v1/report", "illegal").await;
    assert!(refused > 0.0);
    assert_eq!(counted, refused);
}

#[tokio::test]
async fn a_body_over_the_bound_that_says_so() {
    assert_refused(
        &vec![0; REQUEST_BYTES + 1],
        &[413],
        "at most",
        &["too_large"],
    )
    .await;
}

#[tokio::test]
async fn a_hundred_megabytes_are_refused_before_they_are_read() {
    let scene = scene_with_something_to_lose().await;
    let mut stream = TcpStream::connect(scene.ports.filters).await.unwrap();
    let head = scene.head("/v1/report", "content-length: 104857600\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let send = async {
        let piece = vec![0x0a; 1 << 20];
        for _ in 0..100 {
            if writer.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut answer = vec![0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut reader, &mut answer)
            .await
            .unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    let ((), answer) = tokio::join!(send, read);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(scene.rejected("/v1/report", "too_large").await, 1.0);
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn a_hundred_megabytes_in_chunks_are_refused_at_the_bound() {
    let scene = scene_with_something_to_lose().await;
    let mut bytes = scene
        .head("/v1/mapping", "transfer-encoding: chunked\r\n")
        .into_bytes();
    for _ in 0..100 {
        bytes.extend_from_slice(b"100000\r\n");
        bytes.resize(bytes.len() + (1 << 20), 0);
        bytes.extend_from_slice(b"\r\n");
    }
    let answer = exchange(scene.ports.filters, &bytes).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(scene.rejected("/v1/mapping", "too_large").await, 1.0);
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn no_gateway_and_wrong_tokens() {
    let scene = scene_with_something_to_lose().await;
    let right = scene.token(GATEWAY);
    for token in [
        "",
        "zz",
        &right[..62],
        &right.to_uppercase()[..0],
        &scene.token(OTHER),
    ] {
        let body = encoded(&subscribe(VM, &["10.9.9.9:1"]));
        let answer = scene
            .call_as(GATEWAY, token, "/v1/mapping", body)
            .await
            .unwrap();
        assert_eq!(answer.status, 401, "{token:?}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert!(
            answer.text().contains("gaugeway token"),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains(&right));
    }
    assert_eq!(scene.rejected("/v1/mapping", "token").await, 5.0);
    let answer = scene
        .call_as("not a name", &right, "/v1/report", Vec::new())
        .await
        .unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(scene.rejected("/v1/report", "gateway_header").await, 1.0);
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_read() {
    let scene = scene_with_something_to_lose().await;
    let head = "POST /v1/report HTTP/1.1\r\nhost: x\r\nx-gaugeway-gateway: shop/edge\r\n\
        content-length: 1000\r\n\r\n";
    // Not one byte of the body is sent.
    let answer = exchange(scene.ports.filters, head.as_bytes())
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn versions_paths_and_methods_that_are_not_served() {
    let scene = scene_with_something_to_lose().await;
    let cart = target("shop", "cart");
    for path in [
        "/v2/report",
        "/v1/report/",
        "/v1",
        "/",
        "/metrics",
        "/v1/../v1/report",
    ] {
        let body = report_call(&report(VM, 2, &cart, 5), &cart, None);
        let answer = scene.call(path, body).await.unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer.text().contains("POST /v1/report"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(scene.rejected("other", "unknown_path").await, 6.0);
    let get = "GET /v1/report HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = exchange(scene.ports.filters, get.as_bytes()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(answer.contains("allow: POST"), "{answer}");
    assert_eq!(scene.rejected("other", "method").await, 1.0);
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn another_method_is_told_what_the_port_serves() {
    let scene = scene_with_something_to_lose().await;
    let ports = scene.ports;
    for (port, path, served) in [
        (ports.metrics, "/metrics", "GET /metrics"),
        (ports.wasm, "/v1/filter/x.wasm", "this port serves GET"),
        (ports.api, "/api/v1/services", "GET /api/v1/services"),
    ] {
        let delete = format!("DELETE {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let answer = exchange(port, delete.as_bytes()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(body.contains(served), "{answer}");
    }
    assert_eq!(scene.rejected("other", "method").await, 1.0);
    assert_eq!(scene.rejected("/v1/filter", "method").await, 1.0);
    assert_eq!(scene.rejected("/api/v1", "method").await, 1.0);
    assert_unchanged(&scene).await;
}

/// A million empty series fit the body's bound only as two bytes each; the decoder must not turn them into memory.
#[tokio::test]
async fn a_report_of_as_many_entries_as_fit() {
    let scene = scene_with_something_to_lose().await;
    let layout = Policy::default().layout();
    let writer = ReportWriter::new(Vec::new(), VM, Seq(2), UnixNanos(1), &layout);
    let mut many = writer.finish(UnixNanos(2));
    while many.len() < REQUEST_BYTES - 100 {
        many.extend_from_slice(&[0x3a, 0x00]);
    }
    let mut call = Vec::new();
    put_bytes(&mut call, 1, &many);
    let answer = scene.call("/v1/report", call).await.unwrap();
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(scene.rejected("/v1/report", "illegal").await, 1.0);
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn a_report_that_announces_a_million_entries() {
    // A packed field whose length says more than there is.
    let mut report = vec![0x0a, 16];
    report.extend_from_slice(&VM.0);
    report.push(0x32);
    put_varint(&mut report, 1_000_000);
    let mut call = Vec::new();
    put_bytes(&mut call, 1, &report);
    let scene = scene_with_something_to_lose().await;
    let answer = scene.call("/v1/report", call).await.unwrap();
    assert!([400, 422].contains(&answer.status), "{}", answer.text());
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn a_mapping_request_of_too_many_keys() {
    let scene = scene_with_something_to_lose().await;
    let keys: Vec<String> = (0..5000)
        .map(|i| format!("10.1.{}.{}:80", i / 250, i % 250))
        .collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let answer = scene
        .call("/v1/mapping", encoded(&subscribe(VM, &keys)))
        .await
        .unwrap();
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(scene.rejected("/v1/mapping", "illegal").await, 1.0);
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn another_gateways_vm() {
    let scene = scene_with_something_to_lose().await;
    let vault = target("bank", "vault");
    let body = report_call(&report(VM, 2, &vault, 5), &vault, None);
    let answer = scene
        .call_as(OTHER, &scene.token(OTHER), "/v1/report", body)
        .await
        .unwrap();
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(scene.rejected("/v1/report", "foreign_vm").await, 1.0);
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn what_is_not_http() {
    let scene = scene_with_something_to_lose().await;
    let answer = exchange(
        scene.ports.filters,
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 hello\r\n\r\n",
    )
    .await
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let answer = exchange(scene.ports.filters, long.as_bytes())
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let labels = [("path", "other"), ("reason", "not_http")];
    scene
        .until_metric("gaugeway_rejected_calls_total", &labels, 2.0)
        .await;
    assert_unchanged(&scene).await;
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let scene = scene_with_something_to_lose().await;
    let mut stream = TcpStream::connect(scene.ports.filters).await.unwrap();
    let head = scene.head("/v1/report", "content-length: 100\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"half").await.unwrap();
    stream.shutdown().await.unwrap();
    // Whether an answer comes is the peer's loss: it has closed its half.
    let _ = read_to_end(&mut stream).await;
    let labels = [("path", "/v1/report"), ("reason", "broken_body")];
    scene
        .until_metric("gaugeway_rejected_calls_total", &labels, 1.0)
        .await;
    assert_unchanged(&scene).await;
}
