//! Scrapes: each format and encoding, and scrapers that do not read.

use std::io::Read as _;

use flate2::read::GzDecoder;
use gaugeway_aggregate::client_model::MetricFamily;
use gaugeway_controller::Config;
use gaugeway_rig::{Client, Exposition, client::Request};
use gaugeway_wire::{Label, Target, TargetKind, target::names};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::scene::{Scene, VM, report, report_call, soon, target};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
/// Enough series of plain text to fill what the system buffers of a connection.
const MANY: u64 = 1200;

fn with_kong(config: &mut Config) {
    config.kong_metric = true;
    config.series.max = 10_000;
}

/// A controller that has counted 42 requests.
async fn counted() -> Scene {
    let scene = Scene::start_with(with_kong).await;
    let cart = target("shop", "cart");
    let body = report_call(&report(VM, 1, &cart, 42), &cart, None);
    assert_eq!(scene.call("/v1/report", body).await.unwrap().status, 200);
    scene
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

#[tokio::test]
async fn a_scraper_gets_the_format_that_it_asks_for() {
    let scene = counted().await;
    let client = Client::new(scene.ports.metrics);
    let ask = async |accept: &str, encoding: &str| {
        let request = Request::get("/metrics")
            .header("accept", accept)
            .header("accept-encoding", encoding);
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["vary"], "accept, accept-encoding");
        let gzip = answer.headers.get("content-encoding").map(|v| v == "gzip");
        assert_eq!(gzip, (encoding == "gzip").then_some(true));
        let kind = answer.headers["content-type"].to_str().unwrap().to_owned();
        let body = match gzip {
            Some(_) => unpacked(&answer.body),
            None => answer.body.to_vec(),
        };
        (kind, body)
    };
    for encoding in ["gzip", "identity"] {
        let (kind, body) = ask("text/plain", encoding).await;
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        let page = Exposition::parse(&String::from_utf8(body).unwrap()).unwrap();
        assert_eq!(page.sum("gaugeway_upstream_requests_total", &[]), 42.0);
        assert_eq!(page.sum("kong_upstream_latency_ms_count", &[]), 42.0);
        assert_eq!(page.sum("gaugeway_reports_total", &[]), 1.0);

        let (kind, body) = ask(OPEN_METRICS, encoding).await;
        assert!(kind.starts_with(OPEN_METRICS), "{kind}");
        let text = String::from_utf8(body).unwrap();
        assert!(text.ends_with("\n# EOF\n"));
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.contains("gaugeway_upstream_requests_created{"));

        let (kind, body) = ask(PROTOBUF, encoding).await;
        assert_eq!(kind, PROTOBUF);
        let (mut rest, mut names) = (body.as_slice(), Vec::new());
        while !rest.is_empty() {
            names.push(
                MetricFamily::decode_length_delimited(&mut rest)
                    .unwrap()
                    .name,
            );
        }
        for name in [
            "gaugeway_reports_total",
            "gaugeway_upstream_latency_seconds",
            "gaugeway_upstream_requests_total",
            "kong_upstream_latency_ms",
        ] {
            let found = names.iter().filter(|found| *found == name).count();
            assert_eq!(found, 1, "{name} is one message");
        }
    }
}

fn pod(n: u64) -> Target {
    let label = |name: &str, value: &str| Label {
        name: name.to_owned().into(),
        value: value.to_owned(),
    };
    let labels = vec![
        label(names::NAMESPACE, "shop"),
        label(names::POD, &format!("cart-{n}-{}", "x".repeat(60))),
        label(names::SERVICE, "cart"),
    ];
    Target::try_new(TargetKind::Kubernetes, labels).unwrap()
}

#[tokio::test]
async fn a_scraper_that_does_not_read_holds_up_nobody_and_reads_one_moment() {
    let scene = Scene::start_with(with_kong).await;
    for n in 0..MANY {
        let body = report_call(&report(VM, n + 1, &pod(n), 1), &pod(n), None);
        assert_eq!(scene.call("/v1/report", body).await.unwrap().status, 200);
    }
    let before = scene.requests("cart").await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(asked(&scene).await);
    }
    // All of them stall: nothing more fits into their connections.
    for n in 0..20 {
        let body = report_call(&report(VM, MANY + n + 1, &pod(n), 1), &pod(n), None);
        let answer = soon(scene.call("/v1/report", body)).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    assert!((soon(scene.requests("cart")).await - before - 20.0).abs() < 0.1);
    for mut stream in slow {
        let mut text = Vec::new();
        soon(stream.read_to_end(&mut text)).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let page = Exposition::parse(body).unwrap();
        let read = page.sum("gaugeway_upstream_requests_total", &[]);
        assert!((read - before).abs() < 0.1, "{read} instead of {before}");
    }
}

/// Asks for plain text with little room for the answer; returns when the answer has begun.
async fn asked(scene: &Scene) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let mut stream = socket.connect(scene.ports.metrics).await.unwrap();
    let head = b"GET /metrics HTTP/1.0\r\nhost: x\r\nuser-agent: slow\r\n\r\n";
    stream.write_all(head).await.unwrap();
    soon(stream.readable()).await.unwrap();
    stream
}
