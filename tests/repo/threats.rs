//! SECURITY.md's table of threats names tests: each of them must exist, and each line has one.

use std::collections::BTreeSet;

use crate::files;

/// The last column of the table of threats.
fn shown_by(security: &str) -> impl Iterator<Item = &str> {
    let lines = security.lines();
    let table = lines.skip_while(|line| !line.ends_with("| shown by |"));
    let rows = table.skip(2).take_while(|line| line.starts_with("| "));
    rows.filter_map(|line| line.trim_end_matches(['|', ' ']).rsplit('|').next())
}

/// Names in backquotes.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether a source has a test of this name: a function that an attribute marks as one.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let functions = lines.iter().enumerate();
    let mut found = functions.filter(|(_, line)| line.contains(&head));
    found.any(|(at, _)| {
        let above = lines[..at].iter().rev();
        let mut attributes =
            above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_test_that_security_names_exists() {
    let security = std::fs::read_to_string(files::root().join("SECURITY.md")).unwrap();
    let cells: Vec<&str> = shown_by(&security).collect();
    assert!(cells.len() > 20, "the table was not read: {cells:?}");
    for cell in &cells {
        let is_open = cell.trim() == "–";
        assert!(is_open || named(cell).count() > 0, "no test in {cell:?}");
    }
    let sources = files::ending_with(".rs");
    let missing: BTreeSet<&str> = cells
        .into_iter()
        .flat_map(named)
        .filter(|name| !sources.iter().any(|file| has_test(&file.text, name)))
        .collect();
    assert!(
        missing.is_empty(),
        "SECURITY.md names tests that do not exist: {missing:?}"
    );
}

#[test]
fn only_what_runs_as_a_test_is_one() {
    let source = "fn a_helper() {}\n#[tokio::test]\n// Why.\nasync fn a_test() {\n    b_test();\n}";
    assert!(has_test(source, "a_test"));
    assert!(!has_test(source, "a_helper") && !has_test(source, "b_test"));
}
