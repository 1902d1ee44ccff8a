//! Queries in the book read, and every metric that a page names is one that there is.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Result, ensure};
use gaugeway_rig::tools::PROMTOOL;
use serde_json::json;

use crate::pages::pages;

/// Queries of all pages: what blank lines part within a block of PromQL.
fn queries() -> Result<Vec<String>> {
    let mut queries = Vec::new();
    for page in pages()? {
        for block in page.blocks("promql") {
            let text = block.lines.join("\n");
            queries.extend(text.split("\n\n").map(str::to_owned));
        }
    }
    Ok(queries)
}

#[test]
fn prometheus_reads_every_query() -> Result<()> {
    let queries = queries()?;
    assert!(queries.len() >= 6, "{queries:?}");
    if !PROMTOOL.or_skip()? {
        return Ok(());
    }
    for query in queries {
        let rule =
            json!({"groups": [{"name": "book", "rules": [{"record": "query", "expr": query}]}]});
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("rules.yaml");
        fs::write(&file, rule.to_string())?;
        let output = Command::new(PROMTOOL.find()?)
            .args(["check", "rules"])
            .arg(&file)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{query}: {said}");
    }
    Ok(())
}

/// What pages name beside: a counter as Datadog's agent calls it, a module of the log filter.
const OTHERS: [&str; 2] = ["gaugeway_upstream_requests", "gaugeway_controller"];

/// Names that begin as our metrics do, as they stand in the reference.
fn metrics(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("gaugeway_") || word.starts_with("kong_upstream_"))
        .map(|word| {
            let parts = ["_seconds_sum", "_seconds_count", "_seconds_bucket"];
            match parts.iter().any(|part| word.ends_with(part)) {
                true => word.rsplit_once('_').map_or(word, |(name, _)| name),
                false => word,
            }
        })
        .collect()
}

#[test]
fn every_metric_that_is_named_exists() -> Result<()> {
    let pages = pages()?;
    let reference = pages.iter().find(|page| page.path == "docs/metrics.md");
    let known = reference
        .map(|page| metrics(&page.text))
        .unwrap_or_default();
    assert!(known.len() > 30, "{known:?}");
    for page in &pages {
        let named = metrics(&page.text);
        let unknown: Vec<_> = named
            .difference(&known)
            .filter(|name| !OTHERS.contains(name) && !name.starts_with("kong_"))
            .collect();
        ensure!(unknown.is_empty(), "{}: {unknown:?}", page.path);
    }
    Ok(())
}
