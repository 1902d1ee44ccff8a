//! The filters port: any bytes on a connection.
//!
//! The law: whatever they are, the connection ends, an answer begins like one, and the next caller is served.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::OnceLock,
    time::Duration,
};

use gaugeway_controller::{
    Config, Controller,
    auth::Keys,
    config::{HttpLimits, RecordingPolicy, SeriesLimits, Source, Tokens},
};
use gaugeway_wire::GatewayName;

use crate::seeds;

const GATEWAY: &str = "shop/edge";
/// For the answer to what needs one; bytes that need none cost it.
const THINKING: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(30);

fn key() -> String {
    "5a".repeat(32)
}

/// Where the one controller listens, which lives as long as the process.
fn server() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let dir = tempfile::tempdir().unwrap();
                fs::write(dir.path().join("key"), key()).unwrap();
                let controller = Controller::start(config(dir.path())).await.unwrap();
                tell.send(controller.ports().filters).unwrap();
                controller.serve(std::future::pending()).await.unwrap();
            });
        });
        told.recv_timeout(PATIENCE).unwrap()
    })
}

fn config(dir: &std::path::Path) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        source: Source::Manifests(dir.to_owned()),
        filters_listen: any,
        filters_tls: None,
        wasm_listen: any,
        metrics_listen: any,
        api_listen: any,
        apis: None,
        state_dir: None,
        tokens: Tokens::KeyFile(dir.join("key")),
        key_poll: Duration::from_secs(3600),
        recording: RecordingPolicy::default(),
        series: SeriesLimits {
            max: 1000,
            expiry: Duration::from_secs(300),
        },
        filter_modules: &[],
        kong_metric: false,
        version: "0.0.0",
        election: None,
        final_scrape: Duration::ZERO,
        http: HttpLimits::default(),
    }
}

pub(crate) fn front(bytes: &[u8]) -> bool {
    let answer = exchange(bytes);
    // Of the version that was asked in.
    let is_http1 = answer.starts_with(b"HTTP/1.");
    // HTTP/2 begins with a frame of settings.
    let is_http2 = answer.get(3) == Some(&4) && bytes.starts_with(b"PRI * HTTP/2.0");
    assert!(answer.is_empty() || is_http1 || is_http2, "{answer:02x?}");
    let mut next = TcpStream::connect(server()).unwrap();
    next.set_read_timeout(Some(PATIENCE)).unwrap();
    next.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut served = Vec::new();
    next.read_to_end(&mut served).unwrap();
    assert!(served.starts_with(b"HTTP/1.1 404 "), "{served:02x?}");
    true
}

/// Sends; reads until the other side has ended, too, which must be soon once this one has.
fn exchange(bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server()).unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    // Whoever ends too early is gone for the server, and not answered.
    stream.set_read_timeout(Some(THINKING)).unwrap();
    let _ = stream.read_to_end(&mut answer);
    let _ = stream.shutdown(Shutdown::Write);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!late, "the connection stays open");
    }
    answer
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let gateway = GatewayName::try_new(GATEWAY).unwrap();
    let token = Keys::parse(&key()).unwrap().token(&gateway);
    let token = token.as_str();
    let call = |path: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nx-gaugeway-gateway: {GATEWAY}\r\n\
             authorization: Bearer {token}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    vec![
        call("/v1/mapping", &seeds::mapping_request()[0]),
        call("/v1/report", &seeds::report_call()[0]),
        b"POST /v1/report HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
    ]
}
