//! The chart's README: its table is made from the comments in `values.yaml`.
//!
//! In that file `# --` begins the description of the value below it, and `#` goes on with it; a value is a member that
//! has one.

use std::{fmt::Write as _, fs};

use gaugeway_guest::golden::BLESS;

use crate::helm::chart;

const BEGIN: &str =
    "<!-- Made from values.yaml by a test; GAUGEWAY_BLESS=1 cargo test --test chart readme -->\n";

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

#[test]
fn every_value_has_a_meaning() {
    let values = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let lines: Vec<&str> = values.lines().collect();
    for pair in lines.windows(2) {
        let (above, line) = (pair[0].trim_start(), pair[1].trim_start());
        let is_value = line.split_once(": ").is_some() && !line.starts_with('#');
        if is_value && !above.starts_with('#') {
            // A member of a value that is described as a whole.
            assert!(pair[1].starts_with("    "), "no `# --` above: {line}");
        }
    }
}
