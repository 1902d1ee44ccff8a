//! `gaugeway render kong`: golden, and what it writes is YAML whose configurations the filter reads and its schema has.
#![allow(clippy::unwrap_used, reason = "all of this is test code")]

use std::{path::Path, process::Command};

use gaugeway_filter_core::config::{Config, Gateway};
use gaugeway_wire::Nanos;
use serde_json::Value;

const TOKEN: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const COMMON: [&str; 16] = [
    "render",
    "kong",
    "--gateway",
    "prod/kong",
    "--controller",
    "gaugeway.monitoring:7080",
    "--token",
    TOKEN,
    "--namespace",
    "pay",
    "--namespace",
    "shop",
    "--service",
    "shop/cart=cart-api",
    "--timeout",
    "2s",
];

fn render(form: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gaugeway"))
        .args(COMMON)
        .args(["--form", form])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn documents(form: &str) -> Vec<Value> {
    let text = render(form);
    let documents = text.split("\n---\n");
    documents
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

fn configuration(value: &Value) -> Config {
    Config::parse(value.to_string().as_bytes(), Gateway::Kong).unwrap()
}

#[test]
fn forms_are_golden() {
    for form in [
        "guide",
        "kong-conf",
        "environment",
        "declarative",
        "objects",
    ] {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render");
        let file = golden.join(format!("kong-{form}.txt"));
        gaugeway_guest::golden::check(&file, &render(form)).unwrap();
    }
}

#[test]
fn a_chain_is_attached_to_the_service_that_leads_there() {
    let [config] = &documents("declarative")[..] else {
        panic!("one document");
    };
    let [chain] = &config["filter_chains"].as_array().unwrap()[..] else {
        panic!("{config}");
    };
    assert_eq!(chain["service"], "cart-api");
    let filter = &chain["filters"][0];
    assert_eq!(filter["name"], "gaugeway");
    let config = configuration(&filter["config"]);
    assert_eq!(config.gateway.as_str(), "prod/kong");
    assert_eq!(config.cluster, "gaugeway.monitoring:7080");
    assert_eq!(config.token, TOKEN);
    assert_eq!(config.identity.cluster().unwrap(), "shop/cart");
    assert_eq!(config.timeout, Nanos::from_millis(2_000));
}

#[test]
fn objects_are_plugins_with_their_tokens_in_secrets() {
    let mut told = Vec::new();
    for mut object in documents("objects") {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        let place = format!(
            "{}/{}",
            text(&metadata["namespace"]),
            text(&metadata["name"])
        );
        match object["kind"].as_str() {
            Some("Secret") => {
                // Kong's ingress controller reads the value as JSON.
                let value: String =
                    serde_json::from_str(&text(&object["stringData"]["token"])).unwrap();
                assert_eq!(value, TOKEN);
                told.push(format!("Secret {place}"));
            }
            Some("KongPlugin") => {
                assert_eq!(object["plugin"], "gaugeway");
                let patch = &object["configPatches"][0];
                assert_eq!(patch["path"], "/token");
                assert_eq!(patch["valueFrom"]["secretKeyRef"]["name"], "gaugeway-token");
                let identity = configuration(&object["config"].take()).identity;
                let Value::String(_) = object["apiVersion"] else {
                    panic!("{object}");
                };
                told.push(format!(
                    "{place} {}/{}",
                    identity.namespace, identity.service
                ));
            }
            _ => panic!("{object}"),
        }
    }
    assert_eq!(
        told,
        [
            "Secret pay/gaugeway-token",
            "Secret shop/gaugeway-token",
            "pay/gaugeway pay/",
            "shop/gaugeway shop/",
            "shop/gaugeway-cart shop/cart",
        ]
    );
}

#[test]
fn something_must_be_measured() {
    let output = Command::new(env!("CARGO_BIN_EXE_gaugeway"))
        .args(&COMMON[..8])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("--namespace"), "{told}");
}
