//! Generated documents are what the code generates.
#![allow(clippy::unwrap_used, reason = "all of this is test code")]

use std::{fs, path::Path, process::Command};

#[test]
fn generated_documents_are_fresh() {
    let fresh = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_gaugeway"))
        .args(["docs", "--output"])
        .arg(fresh.path())
        .status()
        .unwrap();
    assert!(status.success());
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for entry in fs::read_dir(fresh.path()).unwrap() {
        let name = entry.unwrap().file_name();
        let generated = fs::read_to_string(fresh.path().join(&name)).unwrap();
        let kept = fs::read_to_string(docs.join(&name)).unwrap_or_default();
        assert!(
            generated == kept,
            "docs/{} is not fresh; run: cargo run -- docs --output docs",
            name.to_string_lossy()
        );
    }
}

#[test]
fn the_charts_definitions_are_fresh() {
    let printed = Command::new(env!("CARGO_BIN_EXE_gaugeway"))
        .arg("crds")
        .output()
        .unwrap();
    assert!(printed.status.success());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/gaugeway/crds/gaugeway.yaml");
    let kept = fs::read_to_string(kept).unwrap_or_default();
    assert!(
        String::from_utf8(printed.stdout).unwrap() == kept,
        "not fresh; run: cargo run -- crds --output charts/gaugeway/crds/gaugeway.yaml"
    );
}
