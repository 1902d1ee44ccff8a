//! What a peer of the `apis` port can do before anybody knows who it is.

use std::time::Duration;

use anyhow::ensure;
use gaugeway_rig::{
    client::Request,
    wait::{PATIENCE, until},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{callers::Door, cluster::story_with_faults};

const DISCOVERY: &str = "/apis";

#[tokio::test]
async fn both_versions_of_http_are_spoken() {
    story_with_faults(async |cluster| {
        let door = Door::open(&cluster, |_| {}).await;
        for protocol in ["h2", "http/1.1"] {
            let client = door.client(None).offering(&[protocol]);
            let stream = client.connect().await.unwrap();
            assert_eq!(
                stream.get_ref().1.alpn_protocol(),
                Some(protocol.as_bytes())
            );
            assert_eq!(
                client.send(Request::get(DISCOVERY)).await.unwrap().status,
                401
            );
        }
        door.stage.stop().await;
    })
    .await;
}

#[tokio::test]
async fn plain_text_and_garbage_are_refused_and_counted() {
    story_with_faults(async |cluster| {
        let door = Door::open(&cluster, |_| {}).await;
        let address = door.stage.ports().apis.unwrap();
        let exchange = async |bytes: &[u8]| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut read = Vec::new();
            let _ = stream.read_to_end(&mut read).await;
            String::from_utf8_lossy(&read).into_owned()
        };
        let plain = exchange(b"GET /api/v1/services HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(plain.starts_with("HTTP/1.1 400"), "{plain}");
        assert!(plain.contains("TLS only: call it by https"), "{plain}");
        // A record that announces a handshake and has none.
        exchange(b"\x16\x03\x01\x00\x05hello").await;
        for reason in ["plain_text", "handshake"] {
            let labels = [("path", "other"), ("reason", reason)];
            until(reason, PATIENCE, || async {
                let seen = door
                    .stage
                    .metric("gaugeway_rejected_calls_total", &labels)
                    .await?;
                ensure!(seen == 1.0, "{seen}");
                Ok(())
            })
            .await
            .unwrap();
        }
        door.stage.stop().await;
    })
    .await;
}

/// Ten thousand that say nothing: so many are held as the bound says, the others are closed at once; who is connected is
/// served all the time, and new ones are when the handshakes that never came are given up.
#[tokio::test]
async fn ten_thousand_idle_connections_are_bounded_closed_and_others_served() {
    const BOUND: usize = 64;
    story_with_faults(async |cluster| {
        let door = Door::open(&cluster, |config| {
            config.http.connections = BOUND;
            config.http.handshake_timeout = Duration::from_secs(2);
        })
        .await;
        let address = door.stage.ports().apis.unwrap();
        let mut early = door
            .client(None)
            .offering(&["http/1.1"])
            .connect()
            .await
            .unwrap();
        let mut ask = async || {
            let request = format!("GET {DISCOVERY} HTTP/1.1\r\nhost: x\r\n\r\n");
            early.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"}") {
                assert_ne!(early.read_buf(&mut answer).await.unwrap(), 0);
            }
            assert!(answer.starts_with(b"HTTP/1.1 401"));
        };
        ask().await;
        let mut held = Vec::with_capacity(BOUND);
        let mut closed = 0;
        for _ in 0..10_000 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // What was closed at once is at its end, or reset; what is held says nothing.
            let mut byte = [0];
            let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut byte)).await;
            if read.is_ok() {
                closed += 1;
            } else {
                held.push(stream);
            }
        }
        ask().await;
        let open = [("port", "apis")];
        let open = door
            .stage
            .metric("gaugeway_connections", &open)
            .await
            .unwrap();
        assert!(open <= BOUND as f64, "{open}");
        assert!(closed > 5_000, "{closed}");
        for mut stream in held {
            let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await;
            assert!(
                !matches!(ended.unwrap(), Ok(1..)),
                "nothing is said to who says nothing"
            );
        }
        until("new ones are served", PATIENCE, || async {
            let answer = door.client(None).send(Request::get(DISCOVERY)).await?;
            ensure!(answer.status == 401);
            Ok(())
        })
        .await
        .unwrap();
        ask().await;
        let labels = [("path", "other"), ("reason", "slow_handshake")];
        let slow = door
            .stage
            .metric("gaugeway_rejected_calls_total", &labels)
            .await
            .unwrap();
        assert!(slow >= 1.0);
        door.stage.stop().await;
    })
    .await;
}
