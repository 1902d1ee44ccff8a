//! What the renderer writes, a real Envoy loads. Without an Envoy the checks are skipped loudly.
#![allow(clippy::unwrap_used, reason = "all of this is test code")]

use std::process::Command;

use gaugeway_controller::{
    auth::Keys,
    render::{
        Backend, Bootstrap, Cluster, Code, Filter, HostPort, Match, PathMatch, Route, bootstrap,
        snippet,
    },
};
use gaugeway_rig::tools::ENVOY;
use gaugeway_wire::GatewayName;

/// The least module that Envoy loads: memory, the ABI's version, an allocator. Validation compiles the file.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0\
    \x01\x09\x02\x60\x00\x00\x60\x01\x7f\x01\x7f\
    \x03\x03\x02\x00\x01\
    \x05\x03\x01\x00\x01\
    \x07\x2d\x03\x06memory\x02\x00\x17proxy_abi_version_0_2_1\x00\x00\x06malloc\x00\x01\
    \x0a\x09\x02\x02\x00\x0b\x04\x00\x41\x00\x0b";

fn assert_valid(name: &str, config: &str) {
    if !ENVOY.or_skip().unwrap() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(format!("{name}.yaml"));
    std::fs::write(&file, config).unwrap();
    let output = Command::new(ENVOY.find().unwrap())
        .args(["--mode", "validate", "--disable-hot-restart", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}\n{config}");
    assert!(!stderr.contains("eprecated"), "{name}: {stderr}");
}

fn filter(code: Code, controller: &str) -> Filter {
    let gateway = GatewayName::try_new("demo/edge").unwrap();
    let keys = Keys::parse(&"5a".repeat(32)).unwrap();
    Filter {
        token: Some(keys.token(&gateway)),
        gateway,
        controller: controller.parse().unwrap(),
        controller_ca: None,
        code,
        policy: Some(serde_json::json!({ "schema": 4, "route": true })),
    }
}

fn route(name: &str, matches: Match, backends: &[(&str, u32)]) -> Route {
    Route {
        name: name.to_owned(),
        hostnames: Vec::new(),
        matches,
        backends: backends
            .iter()
            .map(|&(cluster, weight)| Backend {
                cluster: cluster.to_owned(),
                weight,
            })
            .collect(),
        timeout_ms: None,
    }
}

fn full(code: Code) -> Bootstrap {
    let cluster = |name: &str, endpoints: &[&str]| Cluster {
        name: name.to_owned(),
        endpoints: endpoints.iter().map(|e| e.parse().unwrap()).collect(),
    };
    let api = Match {
        path: PathMatch::Prefix("/api/".to_owned()),
        method: Some("POST".to_owned()),
        headers: vec![("x-tenant".to_owned(), "a \"quoted\" one".to_owned())],
    };
    let regex = Match {
        path: PathMatch::Regex("/v[0-9]+/.*".to_owned()),
        ..Match::all()
    };
    let exact = Match {
        path: PathMatch::Exact("/exact".to_owned()),
        ..Match::all()
    };
    Bootstrap {
        filter: filter(code, "127.0.0.1:7080"),
        listen: "127.0.0.1:0".parse().unwrap(),
        admin: Some("127.0.0.1:0".parse().unwrap()),
        access_log: Some("/dev/null".into()),
        routes: vec![
            route("exact", exact, &[]),
            route("split", api, &[("demo/a/http", 75), ("demo/b/http", 25)]),
            Route {
                hostnames: vec!["*.example.com".to_owned(), "example.com".to_owned()],
                timeout_ms: Some(1500),
                ..route("regex", regex, &[("demo/b/http", 1)])
            },
            route("rest", Match::all(), &[("demo/none/http", 1)]),
        ],
        clusters: vec![
            cluster("demo/a/http", &["127.0.0.1:1", "[::1]:2"]),
            cluster("demo/b/http", &["127.0.0.1:3"]),
            cluster("demo/none/http", &[]),
        ],
    }
}

#[test]
fn a_bootstrap_with_a_local_module_loads() {
    let dir = tempfile::tempdir().unwrap();
    let module = dir.path().join("filter \"quoted\".wasm");
    std::fs::write(&module, EMPTY_MODULE).unwrap();
    assert_valid("local", &bootstrap(&full(Code::File(module))));
}

#[test]
fn a_bootstrap_with_a_remote_module_loads() {
    let from: HostPort = "gaugeway.monitoring.svc:7081".parse().unwrap();
    let code = Code::Remote {
        from,
        sha256: "ab".repeat(32),
    };
    assert_valid("remote", &bootstrap(&full(code)));
}

#[test]
fn a_bootstrap_towards_a_port_that_speaks_tls_loads() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca \"quoted\".crt");
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    std::fs::write(&ca, authority.pem()).unwrap();
    for (controller, expected) in [
        (
            "gaugeway.monitoring.svc:7080",
            r#"sni: "gaugeway.monitoring.svc""#,
        ),
        (
            "10.0.0.1:7080",
            r#"{ san_type: IP_ADDRESS, matcher: { exact: "10.0.0.1" } }"#,
        ),
    ] {
        let mut secure = full(Code::Remote {
            from: "127.0.0.1:7081".parse().unwrap(),
            sha256: "ab".repeat(32),
        });
        secure.filter = Filter {
            controller_ca: Some(ca.clone()),
            ..filter(Code::File("unused".into()), controller)
        };
        secure.filter.code = Code::Remote {
            from: "127.0.0.1:7081".parse().unwrap(),
            sha256: "ab".repeat(32),
        };
        let text = bootstrap(&secure);
        assert!(text.contains(expected), "{text}");
        assert_valid("tls", &text);
    }
}

#[test]
fn a_bootstrap_without_routes_loads() {
    let code = Code::Remote {
        from: "127.0.0.1:7081".parse().unwrap(),
        sha256: "ab".repeat(32),
    };
    let mut empty = full(code);
    empty.routes.clear();
    empty.clusters.clear();
    empty.admin = None;
    empty.access_log = None;
    assert_valid("empty", &bootstrap(&empty));
}

#[test]
fn the_snippet_holds_the_filter_and_its_clusters() {
    let code = Code::Remote {
        from: "10.0.0.1:7081".parse().unwrap(),
        sha256: "ab".repeat(32),
    };
    let text = snippet(&filter(code, "gaugeway:7080"));
    for part in [
        "failure_policy: FAIL_OPEN",
        "vm_id: gaugeway",
        r#"\"gateway\":\"demo/edge\""#,
        "name: gaugeway-controller",
        "name: gaugeway-wasm",
        "type: STRICT_DNS",
        "type: STATIC",
        "# 2. In `static_resources.clusters`:",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}
