//! Renders as they were reviewed: a change of what reaches clusters shows in a diff. The rights in them are those that
//! `controller/tests/kubernetes/rights.rs` compares with what the controller uses.
//!
//! Dashboards are left out: a ConfigMap has the very file.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use gaugeway_guest::golden;
use gaugeway_rig::tools::HELM;

use crate::helm::{EVERYTHING, text};

/// Renders, by the name of their file.
const RENDERS: [(&str, &str); 4] = [
    ("default", ""),
    ("everything", EVERYTHING),
    (
        "extensions-of-kong",
        "replicas: 1\nkongMetricsExtensions: true\ndeploy: {enabled: false}\nnetworkPolicy: {enabled: false}\n",
    ),
    (
        "one-in-a-namespace",
        "replicas: 1\nfiltersTLS: {existingSecret: filters-tls}\nnamespaces: [shop]\npersistence: {enabled: true}\nnetworkPolicy: {enabled: false}\n",
    ),
];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/chart/golden")
        .join(format!("{name}.yaml"))
}

/// The documents of a render, but those of one template.
fn without(render: &str, template: &str) -> String {
    let source = format!("# Source: gaugeway/templates/{template}\n");
    let documents = render.split_inclusive("---\n");
    documents
        .filter(|document| !document.starts_with(&source))
        .collect()
}

#[test]
fn renders_are_as_they_were_reviewed() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    for (name, values) in RENDERS {
        let render = without(&text(values)?, "dashboards.yaml");
        golden::check(&file(name), &render).map_err(|difference| anyhow!(difference))?;
    }
    Ok(())
}

#[test]
fn a_template_can_be_left_out() {
    let render = "---\n# Source: gaugeway/templates/a.yaml\na: 1\n---\n# Source: gaugeway/templates/b.yaml\nb: 1\n";
    let left = without(render, "a.yaml");
    assert!(left.contains("b: 1") && !left.contains("a: 1"));
}
