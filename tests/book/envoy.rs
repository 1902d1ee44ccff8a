//! What the book says to Envoy itself, a real Envoy takes: parts of its bootstrap, and clusters in Envoy Gateway's patches.

use std::process::Command;

use anyhow::{Result, ensure};
use gaugeway_rig::tools::ENVOY;
use serde_json::{Value, json};

use crate::pages::pages;

/// Bootstraps made of the documents of a page.
fn bootstraps(document: &Value) -> Vec<Value> {
    if document["stats_config"].is_object() {
        return vec![document.clone()];
    }
    let patches = document["spec"]["jsonPatches"].as_array();
    let clusters = patches.into_iter().flatten().filter(|patch| {
        patch["type"]
            .as_str()
            .is_some_and(|kind| kind.ends_with(".Cluster"))
    });
    clusters
        .map(|patch| json!({"static_resources": {"clusters": [patch["operation"]["value"]]}}))
        .collect()
}

#[test]
fn envoy_takes_what_it_is_told() -> Result<()> {
    if !ENVOY.or_skip()? {
        return Ok(());
    }
    let mut taken = 0;
    for page in pages()? {
        for block in page.blocks("yaml") {
            let documents: Vec<Value> = serde_saphyr::from_multiple(&block.lines.join("\n"))?;
            for bootstrap in documents.iter().flat_map(bootstraps) {
                let output = Command::new(ENVOY.find()?)
                    .args(["--mode", "validate", "--config-yaml"])
                    .arg(bootstrap.to_string())
                    .output()?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(
                    output.status.success(),
                    "{}:{}: {said}",
                    page.path,
                    block.line
                );
                taken += 1;
            }
        }
    }
    ensure!(taken >= 2, "only {taken} were found");
    Ok(())
}
