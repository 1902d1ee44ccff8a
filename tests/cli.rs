//! The command line as people and scripts meet it.
#![allow(clippy::unwrap_used, reason = "all of this is test code")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Result, ensure};
use gaugeway_rig::{
    Client, Controller, ControllerOptions, Envoy, EnvoyOptions, Upstream, client::Request,
    controller::token, tools::ENVOY,
};
use sha2::{Digest as _, Sha256};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn gaugeway(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gaugeway"))
        .args(arguments)
        .env_remove("GAUGEWAY_TOKEN_KEY_FILE")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_command_teaches_by_examples() {
    for command in [
        &["controller"][..],
        &["explain"],
        &["filter"],
        &["token"],
        &["render", "envoy"],
        &["render", "kong"],
    ] {
        let output = gaugeway(&[command, &["--help"]].concat());
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("Examples:"), "{command:?}");
    }
}

#[test]
fn a_wrong_command_line_is_2_and_says_what_it_should_be() {
    let wrong: [(&[&str], &str); 9] = [
        (&[], "Usage:"),
        (&["controller", "--manifests", "m"], "--insecure-no-token"),
        (
            &[
                "controller",
                "--manifests",
                "m",
                "--insecure-no-token",
                "--report-interval",
                "5",
            ],
            "5s, 250ms",
        ),
        (
            &[
                "controller",
                "--manifests",
                "m",
                "--insecure-no-token",
                "--dimensions",
                "pods",
            ],
            "pod, workload",
        ),
        (
            &[
                "controller",
                "--manifests",
                "m",
                "--insecure-no-token",
                "--classic-buckets",
                "2s,1s",
            ],
            "increasing",
        ),
        (
            &[
                "controller",
                "--manifests",
                "m",
                "--insecure-no-token",
                "--max-series",
                "0",
            ],
            "from 1",
        ),
        (
            &[
                "controller",
                "--kubernetes",
                "--insecure-no-token",
                "--namespaces",
                "shop,",
            ],
            "\"\" is no namespace",
        ),
        (&["filter"], "--sha256"),
        (
            &["token", "--gateway", "a b", "--token-key-file", "k"],
            "without spaces",
        ),
    ];
    for (arguments, word) in wrong {
        let output = gaugeway(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(word),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn what_cannot_be_done_is_1_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let short = dir.path().join("short");
    fs::write(&short, "abcd").unwrap();
    let short = short.to_str().unwrap();
    let gone = dir.path().join("gone");
    let gone = gone.to_str().unwrap();
    let failing: [(&[&str], &str); 5] = [
        (
            &["token", "--gateway", "a/b", "--token-key-file", short],
            "32 bytes",
        ),
        (
            &["token", "--gateway", "a/b", "--token-key-file", gone],
            "No such file",
        ),
        (
            &["filter", "--output", &format!("{gone}/file")],
            "cannot write",
        ),
        (
            &[
                "controller",
                "--manifests",
                gone,
                "--insecure-no-token",
                "--log",
                "=!",
            ],
            "--log",
        ),
        (
            &[
                "controller",
                "--manifests",
                gone,
                "--insecure-no-token",
                "--filters-listen",
                "192.0.2.1:1",
            ],
            "--filters-listen",
        ),
    ];
    for (arguments, word) in failing {
        let output = gaugeway(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn the_module_is_the_same_however_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("filter.wasm");
    let piped = gaugeway(&["filter", "--output", "-"]).stdout;
    let written = gaugeway(&["filter", "--output", file.to_str().unwrap()]);
    assert_eq!((written.status.code(), written.stdout.len()), (Some(0), 0));
    assert_eq!(fs::read(&file).unwrap(), piped);
    let sum: String = Sha256::digest(&piped)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(
        stdout(&gaugeway(&["filter", "--sha256"])),
        format!("{sum}\n")
    );
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "it left a file behind"
    );
}

#[test]
fn kongs_module_comes_with_what_kong_reads_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made/for/it");
    let written = gaugeway(&[
        "filter",
        "--host",
        "kong",
        "--output",
        made.to_str().unwrap(),
    ]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let mut names: Vec<_> = fs::read_dir(&made)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["gaugeway.meta.json", "gaugeway.wasm"]);
    let module = fs::read(made.join("gaugeway.wasm")).unwrap();
    assert_eq!(
        gaugeway(&["filter", "--host=kong", "--output=-"]).stdout,
        module
    );
    let sum = stdout(&gaugeway(&["filter", "--host=kong", "--sha256"]));
    assert_ne!(sum, stdout(&gaugeway(&["filter", "--sha256"])));
    let meta = fs::read(made.join("gaugeway.meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    assert_eq!(meta["config_schema"]["type"], "object");

    let envoys = gaugeway(&["filter", "--output", made.to_str().unwrap()]);
    assert_eq!(envoys.status.code(), Some(0), "{}", stderr(&envoys));
    assert_eq!(
        fs::read(made.join("gaugeway.wasm")).unwrap(),
        gaugeway(&["filter", "--output=-"]).stdout
    );
    let single = gaugeway(&["filter", "--host=kong", "--output=gaugeway.wasm"]);
    assert_eq!(single.status.code(), Some(1));
    assert!(stderr(&single).contains("name the directory"));
}

#[test]
fn tokens_are_made_of_keys_that_it_makes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let file_name = file.to_str().unwrap();
    fs::write(&file, KEY).unwrap();
    let arguments = [
        "token",
        "--gateway",
        "demo/edge",
        "--token-key-file",
        file_name,
    ];
    let fixed = gaugeway(&arguments);
    assert_eq!(
        stdout(&fixed),
        "134d7919475260ed0d1e07f112a3a0c93fa30280331a32fda3596a1e81a30856\n"
    );
    let key = gaugeway(&["token", "--new-key"]).stdout;
    assert_eq!(key.len(), 65);
    fs::write(&file, key).unwrap();
    let other = gaugeway(&arguments);
    assert_eq!(other.status.code(), Some(0));
    assert_ne!(other.stdout, fixed.stdout);
}

#[test]
fn routes_that_cannot_be_rendered_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("route.yaml"),
        "kind: HTTPRoute\nmetadata: {name: r, namespace: shop}\nspec:\n  parentRefs: [{name: edge}]\n  rules: [{backendRefs: [{name: gone, port: 80}]}]\n",
    )
    .unwrap();
    let output = gaugeway(&[
        "render",
        "envoy",
        "--gateway",
        "shop/edge",
        "--controller",
        "gaugeway:7080",
        "--wasm-path",
        "/f.wasm",
        "--insecure-no-token",
        "--manifests",
        dir.path().to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert!(
        said.contains("warning: HTTPRoute shop/r/0: there is no Service shop/gone"),
        "{said}"
    );
    assert!(stdout(&output).contains("shop/gone/80"));
}

fn manifests(dir: &Path, upstream: &Upstream) {
    let address = upstream.address();
    fs::create_dir_all(dir).unwrap();
    let objects = format!(
        "kind: Service
apiVersion: v1
metadata: {{name: cart, namespace: shop}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
kind: EndpointSlice
apiVersion: discovery.k8s.io/v1
metadata: {{name: cart-1, namespace: shop, labels: {{kubernetes.io/service-name: cart}}}}
addressType: IPv4
ports: [{{name: http, port: {}}}]
endpoints: [{{addresses: [{}]}}]
---
kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata: {{name: cart, namespace: shop}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{{backendRefs: [{{name: cart, port: 80}}]}}]
",
        address.port(),
        address.ip()
    );
    fs::write(dir.join("shop.yaml"), objects).unwrap();
}

/// The whole way without a file on Envoy's side: routes from manifests, the module from the controller.
#[tokio::test]
async fn a_rendered_envoy_fetches_the_module_and_is_measured() -> Result<()> {
    if !ENVOY.or_skip()? {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let upstream = Upstream::instant().await?;
    let directory = dir.path().join("manifests");
    manifests(&directory, &upstream);
    let options = ControllerOptions {
        kubeconfig: None,
        binary: env!("CARGO_BIN_EXE_gaugeway").into(),
        manifests: directory.clone(),
        keep_state: false,
        arguments: vec!["--report-interval".into(), "100ms".into()],
    };
    let mut controller = Controller::start(dir.path(), options).await?;
    let ports = controller.ports();
    let rendered = gaugeway(&[
        "render",
        "envoy",
        "--gateway=shop/edge",
        "--listen=127.0.0.1:0",
        "--admin=127.0.0.1:0",
        &format!("--token={}", token("shop/edge")),
        &format!("--controller={}", ports.filters),
        &format!("--wasm-from={}", ports.wasm),
        &format!("--manifests={}", directory.display()),
    ]);
    ensure!(rendered.status.success(), "{}", stderr(&rendered));
    let envoy = Envoy::start(dir.path(), &stdout(&rendered), &EnvoyOptions::default()).await?;
    let client = Client::new(envoy.listener("gateway").await?);
    for _ in 0..20 {
        let answer = client.send(Request::get("/")).await?;
        ensure!(answer.status == 200, "{}", answer.status);
    }
    let cart = [
        ("kubernetes_namespace", "shop"),
        ("kubernetes_service", "cart"),
    ];
    controller
        .scraped("20 requests of shop/cart", |page| {
            let seen = page.sum("gaugeway_upstream_requests_total", &cart);
            ensure!(seen.total_cmp(&20.0).is_eq(), "{seen}");
            Ok(())
        })
        .await?;
    let status = controller.terminate(Duration::from_secs(10)).await?;
    assert_eq!(status.code(), Some(0), "{}", controller.log_tail());
    Ok(())
}
