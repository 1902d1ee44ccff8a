//! What helm prints after an installation: commands that work as they stand there.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::tools::HELM;
use serde_json::Value;

use crate::helm::{EVERYTHING, RELEASE, chart, helm};

/// `helm template` keeps notes to itself: an object that includes them shows them.
const SHOWN: &str = r#"notes: {{ include (print .Template.BasePath "/NOTES.txt") . | quote }}"#;

/// The chart's files, and a template that shows its notes.
fn with_notes_shown(to: &Path) -> Result<()> {
    fs::create_dir(to.join("templates"))?;
    for entry in fs::read_dir(chart())? {
        let path = entry?.path();
        let name = path.file_name().context("no name")?;
        if name != "templates" {
            symlink(&path, to.join(name))?;
        }
    }
    for entry in fs::read_dir(chart().join("templates"))? {
        let path = entry?.path();
        let name = path.file_name().context("no name")?;
        symlink(&path, to.join("templates").join(name))?;
    }
    fs::write(to.join("templates/shown.yaml"), SHOWN)?;
    Ok(())
}

fn notes(values: &str) -> Result<String> {
    let copy = tempfile::tempdir()?;
    with_notes_shown(copy.path())?;
    let chart = copy.path().to_string_lossy();
    let arguments = [
        "template",
        RELEASE[0],
        &chart,
        "--show-only",
        "templates/shown.yaml",
    ];
    let output = helm(&[&arguments, &RELEASE[1..]].concat(), values)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let shown: Value = serde_saphyr::from_str(&String::from_utf8(output.stdout)?)?;
    Ok(shown["notes"].as_str().context("no notes")?.to_owned())
}

/// Commands that begin a line, with the lines that a backslash joins to them.
fn commands(notes: &str, program: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in notes.lines().map(str::trim) {
        let part = line.trim_end_matches('\\');
        if goes_on {
            found.last_mut().unwrap().push_str(part);
        } else if line.split(' ').next() == Some(program) {
            found.push(part.to_owned());
        }
        let taken = goes_on || line.split(' ').next() == Some(program);
        goes_on = taken && line.ends_with('\\');
    }
    found
}

#[test]
fn what_it_says_to_run_runs() -> Result<()> {
    if !HELM.or_skip()? {
        return Ok(());
    }
    for values in ["", EVERYTHING] {
        let notes = notes(values)?;
        let here = tempfile::tempdir()?;
        fs::write(here.path().join("token.key"), "00".repeat(32))?;
        let commands = commands(&notes, "gaugeway");
        assert!(commands.len() >= 3, "{notes}");
        for command in commands {
            // The reader's own names, and a path of the init container.
            let filled = command
                .replace("ROUTES-NAMESPACE", "shop")
                .replace("GATEWAY", "shop/edge")
                .replace("--output /wasm", "--output wasm");
            let output = Command::new(env!("CARGO_BIN_EXE_gaugeway"))
                .args(filled.split_whitespace().skip(1))
                .current_dir(here.path())
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{command}: {said}");
        }
        ensure!(here.path().join("wasm/gaugeway.wasm").exists(), "{notes}");
        // Of this release, not of one that somebody once had.
        ensure!(
            notes.contains("edge-gaugeway-filters.metrics.svc:7080"),
            "{notes}"
        );
    }
    Ok(())
}

#[test]
fn continued_lines_are_one_command() {
    let notes = "Run\n  gaugeway a \\\n    --b c\n  gaugeway d\n  kubectl e\n";
    assert_eq!(
        commands(notes, "gaugeway"),
        ["gaugeway a --b c", "gaugeway d"]
    );
}
