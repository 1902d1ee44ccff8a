//! Dashboards are what Grafana loads: the structure it expects, panels that do not lie upon each other, variables that
//! exist and are used. That their questions have answers is shown with a real Prometheus (`tests/e2e/prometheus.rs`).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rules::{dashboards, queries};

fn integer(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// The width of Grafana's grid.
const COLUMNS: u64 = 24;

/// Cells of the grid that a panel covers.
fn cells(panel: &Value) -> Vec<(u64, u64)> {
    let [x, y, width, height] = ["x", "y", "w", "h"].map(|name| integer(&panel["gridPos"][name]));
    assert!(width > 0 && height > 0 && x + width <= COLUMNS, "{panel}");
    (x..x + width)
        .flat_map(|column| (y..y + height).map(move |row| (column, row)))
        .collect()
}

/// Words after a `$`, with or without braces, but Grafana's own.
fn variables(text: &str) -> BTreeSet<&str> {
    text.split('$')
        .skip(1)
        .map(|rest| rest.trim_start_matches('{'))
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next()
        })
        .filter(|name| !name.is_empty() && !name.starts_with("__"))
        .collect()
}

#[test]
fn each_has_the_structure_that_grafana_loads() {
    let mut uids = BTreeSet::new();
    let dashboards = dashboards();
    for dashboard in &dashboards {
        let uid = dashboard["uid"].as_str().unwrap();
        assert!(uids.insert(uid) && uid.len() <= 40, "{uid}");
        assert!(dashboard["id"].is_null(), "{uid}: an id is its server's");
        assert!(!dashboard["title"].as_str().unwrap().is_empty());
        assert!(integer(&dashboard["schemaVersion"]) >= 36, "{uid}");
        for time in ["from", "to"] {
            assert!(dashboard["time"][time].as_str().unwrap().starts_with("now"));
        }
        let mut ids = BTreeSet::new();
        let mut covered = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(integer(&panel["id"])), "{uid}: {panel}");
            assert_eq!(panel["type"], "timeseries", "{uid}: {panel}");
            assert!(!panel["title"].as_str().unwrap().is_empty());
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string());
            for cell in cells(panel) {
                assert!(covered.insert(cell), "{uid}: panels overlap at {cell:?}");
            }
            let mut references = BTreeSet::new();
            for target in panel["targets"].as_array().unwrap() {
                assert!(references.insert(target["refId"].as_str().unwrap()));
                assert!(!target["legendFormat"].as_str().unwrap().is_empty());
                assert_eq!(target["datasource"]["uid"], "${datasource}");
            }
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
        }
    }
    assert!(uids.len() >= 2);
}

#[test]
fn variables_exist_and_are_used_by_every_panel() {
    for dashboard in &dashboards() {
        let listed = dashboard["templating"]["list"].as_array().unwrap();
        let defined: BTreeSet<&str> = listed
            .iter()
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        assert!(variables(&dashboard.to_string()).is_subset(&defined));
        // Choosing a Service that some panel ignores would show two truths on one page.
        let mut chosen = defined.clone();
        assert!(chosen.remove("datasource"), "no choice of Prometheus");
        for query in queries(dashboard) {
            assert_eq!(variables(query), chosen, "{query}");
        }
    }
}

#[test]
fn labels_in_a_legend_are_in_its_query() {
    for dashboard in &dashboards() {
        let panels = dashboard["panels"].as_array().unwrap();
        for target in panels.iter().flat_map(|p| p["targets"].as_array().unwrap()) {
            let (query, legend) = (&target["expr"], target["legendFormat"].as_str().unwrap());
            for part in legend.split("{{").skip(1) {
                let label = part.split("}}").next().unwrap();
                // Of the scrape itself.
                let known = label == "instance" || query.as_str().unwrap().contains(label);
                assert!(known, "{legend}: {query}");
            }
        }
    }
}

#[test]
fn variables_are_found_in_every_form() {
    let text = "a{x=~\"$one\",y=\"${two}\"}[$__rate_interval]";
    assert_eq!(variables(text), BTreeSet::from(["one", "two"]));
}
