//! Alerts and dashboards ask for metrics that exist, in expressions that Prometheus reads.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::Result;
use gaugeway_rig::tools::PROMTOOL;
use serde_json::Value;

use crate::helm::chart;

fn alerts() -> String {
    fs::read_to_string(chart().join("files/alerts.yaml")).unwrap()
}

pub(crate) fn dashboards() -> Vec<Value> {
    let files = fs::read_dir(chart().join("files/dashboards")).unwrap();
    let mut dashboards: Vec<Value> = files
        .map(|file| {
            serde_json::from_str(&fs::read_to_string(file.unwrap().path()).unwrap()).unwrap()
        })
        .collect();
    dashboards.sort_by_key(|dashboard| dashboard["uid"].to_string());
    dashboards
}

/// Queries of a dashboard's panels.
pub(crate) fn queries(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().unwrap();
    panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .collect()
}

/// Names of metrics in a text, without what a histogram's series add.
fn metrics(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("gaugeway_"))
        .map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .map(|word| {
            word.strip_suffix("_seconds_sum")
                .map_or(word, |_| word.trim_end_matches("_sum"))
        })
        .collect()
}

#[test]
fn every_metric_asked_for_is_documented() {
    let documented = fs::read_to_string(chart().join("../../docs/metrics.md")).unwrap();
    let known: BTreeSet<&str> = metrics(&documented);
    let alerts = alerts();
    let dashboards = dashboards();
    let asked: BTreeSet<&str> = dashboards
        .iter()
        .flat_map(queries)
        .chain([alerts.as_str()])
        .flat_map(metrics)
        .collect();
    assert!(asked.len() > 10, "{asked:?}");
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not in docs/metrics.md");
}

#[test]
fn prometheus_reads_every_expression() -> Result<()> {
    if !PROMTOOL.or_skip()? {
        return Ok(());
    }
    // A dashboard's query becomes a rule once Grafana's variables are filled in.
    let directory = tempfile::tempdir()?;
    let filled: Vec<Value> = dashboards()
        .iter()
        .flat_map(queries)
        .enumerate()
        .map(|(index, query)| {
            let query = query.replace("$__rate_interval", "1m").replace("$", "");
            serde_json::json!({"record": format!("query:{index}"), "expr": query})
        })
        .collect();
    let groups = serde_json::json!({"groups": [{"name": "dashboards", "rules": filled}]});
    let file = directory.path().join("dashboards.yaml");
    fs::write(&file, groups.to_string())?;
    for file in [chart().join("files/alerts.yaml"), file] {
        let output = Command::new(PROMTOOL.find()?)
            .args(["check", "rules"])
            .arg(&file)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", file.display());
    }
    Ok(())
}

/// The cases name the annotations too, so a text that its labels do not fill in is seen.
#[test]
fn every_alert_fires_when_it_should_and_is_silent_beside() -> Result<()> {
    let cases = fs::read_to_string(chart().join("../../tests/chart/alerts.test.yaml"))?;
    let alerts = alerts();
    let names: Vec<&str> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() > 5, "{names:?}");
    let parsed: Value = serde_saphyr::from_str(&cases)?;
    let groups = parsed["tests"].as_array().unwrap();
    let tests = groups
        .iter()
        .flat_map(|g| g["alert_rule_test"].as_array().unwrap());
    let fires = |test: &&Value| !test["exp_alerts"].as_array().unwrap().is_empty();
    for name in names {
        let (firing, silent): (Vec<&Value>, Vec<&Value>) = tests
            .clone()
            .filter(|test| test["alertname"] == name)
            .partition(fires);
        assert!(!firing.is_empty(), "no firing case of {name}");
        assert!(!silent.is_empty(), "no silent case of {name}");
    }
    if !PROMTOOL.or_skip()? {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("alerts.yaml"), &alerts)?;
    fs::write(directory.path().join("cases.yaml"), &cases)?;
    let output = Command::new(PROMTOOL.find()?)
        .args(["test", "rules", "cases.yaml"])
        .current_dir(directory.path())
        .output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    Ok(())
}
