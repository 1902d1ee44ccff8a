//! Bounds of time and number: a slow or greedy peer holds nothing for long.

use std::time::Duration;

use gaugeway_controller::config::HttpLimits;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::scene::{CART, Scene, VM, encoded, exchange, read_to_end, soon, subscribe};

const SHORT: Duration = Duration::from_millis(50);

async fn scene(limits: HttpLimits) -> Scene {
    Scene::start_with(|config| config.http = limits).await
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let scene = scene(HttpLimits {
        body_timeout: SHORT,
        ..HttpLimits::default()
    })
    .await;
    let mut stream = TcpStream::connect(scene.ports.filters).await.unwrap();
    let head = scene.head("/v1/report", "content-length: 10\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"\n").await.unwrap();
    let answer = read_to_end(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("did not come within"), "{answer}");
    assert_eq!(scene.rejected("/v1/report", "slow_body").await, 1.0);
}

#[tokio::test]
async fn slow_heads_are_given_up_at_every_stage() {
    let scene = scene(HttpLimits {
        header_timeout: SHORT,
        ..HttpLimits::default()
    })
    .await;
    // Nothing, the beginning of either version, half of a head.
    for part in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "POST /v1/report HTTP/1.1\r\nhost: x\r\n",
    ] {
        let mut stream = TcpStream::connect(scene.ports.filters).await.unwrap();
        stream.write_all(part.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await.unwrap_or_default();
        assert_eq!(answer, "", "{part:?}");
    }
    let labels = [("path", "other"), ("reason", "slow_head")];
    scene
        .until_metric("gaugeway_rejected_calls_total", &labels, 4.0)
        .await;
}

#[tokio::test]
async fn connections_past_the_bound_are_closed_and_the_others_live() {
    let scene = scene(HttpLimits {
        connections: 1,
        ..HttpLimits::default()
    })
    .await;
    let held = TcpStream::connect(scene.ports.filters).await.unwrap();
    scene
        .until_metric("gaugeway_connections", &[("port", "filters")], 1.0)
        .await;
    let head = scene.head("/v1/report", "content-length: 0\r\n");
    let refused = exchange(scene.ports.filters, head.as_bytes())
        .await
        .unwrap_or_default();
    assert_eq!(refused, "");
    assert_eq!(scene.rejected("other", "connections").await, 1.0);
    drop(held);
    scene
        .until_metric("gaugeway_connections", &[("port", "filters")], 0.0)
        .await;
    let body = encoded(&subscribe(VM, &[CART]));
    assert_eq!(scene.call("/v1/mapping", body).await.unwrap().status, 200);
}

#[tokio::test]
async fn calls_past_the_bound_come_back_later_and_held_polls_do_not_count() {
    let scene = scene(HttpLimits {
        calls: 1,
        ..HttpLimits::default()
    })
    .await;
    // A poll without news is held.
    let poll = encoded(&subscribe(VM, &[]));
    let first = scene.call("/v1/mapping", poll).await.unwrap();
    assert_eq!(first.status, 200, "the policy is news");
    let mut busy = TcpStream::connect(scene.ports.filters).await.unwrap();
    let head = scene.head("/v1/report", "content-length: 10\r\n");
    busy.write_all(head.as_bytes()).await.unwrap();
    let answer = soon(async {
        loop {
            // The slot is taken once the head was read.
            let answer = scene.call("/v1/report", Vec::new()).await.unwrap();
            if answer.status == 503 {
                return answer;
            }
        }
    })
    .await;
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(scene.rejected("/v1/report", "busy").await, 1.0);
}
