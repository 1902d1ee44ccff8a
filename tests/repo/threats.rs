//! SECURITY.md's table of threats names tests: each of them must exist.

use std::collections::BTreeSet;

use crate::files;

/// Names in backquotes in the table's last column.
fn named(security: &str) -> Vec<&str> {
    security
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(|line| line.trim_end_matches(['|', ' ']).rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_test_that_security_names_exists() {
    let security = std::fs::read_to_string(files::root().join("SECURITY.md")).unwrap();
    let named: Vec<&str> = named(&security)
        .into_iter()
        .filter(|name| name.contains('_'))
        .collect();
    assert!(named.len() > 20, "the table was not read: {named:?}");
    let sources = files::ending_with(".rs");
    let missing: BTreeSet<&str> = named
        .into_iter()
        .filter(|name| {
            !sources
                .iter()
                .any(|file| file.text.contains(&format!("fn {name}(")))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "SECURITY.md names tests that do not exist: {missing:?}"
    );
}
