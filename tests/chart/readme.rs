//! The chart's README: its table is made from the comments in `values.yaml`.
//!
//! In that file `# --` begins the description of the value below it, and `#` goes on with it; a value is a member that
//! has one.

use std::{fmt::Write as _, fs};

use gaugeway_guest::golden::BLESS;
use serde_json::Value;

use crate::helm::chart;

const BEGIN: &str =
    "<!-- Made from values.yaml by a test; GAUGEWAY_BLESS=1 cargo test --test chart readme -->\n";

/// Values that have a meaning, in the order of the file.
fn described(values: &str) -> Vec<String> {
    let table = table(values);
    let rows = table.lines().skip(2);
    rows.filter_map(|row| row.split('`').nth(1))
        .map(str::to_owned)
        .collect()
}

fn table(values: &str) -> String {
    let mut table = String::from("| value | default | meaning |\n|---|---|---|\n");
    let mut path: Vec<&str> = Vec::new();
    let mut meaning: Option<String> = None;
    for line in values.lines() {
        let text = line.trim_start();
        let depth = (line.len() - text.len()) / 2;
        if let Some(begin) = text.strip_prefix("# -- ") {
            meaning = Some(begin.to_owned());
        } else if let Some(more) = text.strip_prefix("# ") {
            if let Some(meaning) = &mut meaning {
                meaning.push(' ');
                meaning.push_str(more);
            }
        } else if let Some((name, value)) = text.split_once(':') {
            path.truncate(depth);
            path.push(name);
            if let Some(meaning) = meaning.take() {
                let value = value.trim();
                let value = if value.is_empty() {
                    "see values.yaml"
                } else {
                    value
                };
                let name = path.join(".");
                let _ = writeln!(table, "| `{name}` | `{value}` | {meaning} |");
            }
        }
    }
    table
}

#[test]
fn the_readme_lists_every_value() {
    let values = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let table = table(&values);
    let file = chart().join("README.md");
    let readme = fs::read_to_string(&file).unwrap();
    let (before, kept) = readme.split_once(BEGIN).unwrap();
    if std::env::var_os(BLESS).is_some() {
        fs::write(&file, format!("{before}{BEGIN}{table}")).unwrap();
        return;
    }
    assert_eq!(kept, table, "run again with {BLESS}=1");
}

/// Values that a schema names, each down to where it goes no deeper; and that nothing else is taken beside them.
fn checked(schema: &Value, path: &str, into: &mut Vec<String>) {
    let Some(members) = schema["properties"].as_object() else {
        into.push(path.to_owned());
        return;
    };
    assert_eq!(
        schema["additionalProperties"], false,
        "{path} is not strict"
    );
    for (name, member) in members {
        let dot = if path.is_empty() { "" } else { "." };
        checked(member, &format!("{path}{dot}{name}"), into);
    }
}

#[test]
fn every_value_has_a_meaning_and_a_check() {
    let values = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let schema = fs::read(chart().join("values.schema.json")).unwrap();
    let mut checked_values = Vec::new();
    checked(
        &serde_json::from_slice(&schema).unwrap(),
        "",
        &mut checked_values,
    );
    // What helm itself gives to a subchart.
    checked_values.retain(|name| name != "global");
    let mut described = described(&values);
    described.sort();
    checked_values.sort();
    assert_eq!(described, checked_values);
}
