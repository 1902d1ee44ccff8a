//! Workflows give away as little as they can: rights are read only where no job says why it needs more, foreign actions
//! are pinned to a commit, and no secret stands on a command line.

use serde_json::Value;

use crate::files::{File, ending_with};

fn workflows() -> Vec<(File, Value)> {
    let files = ending_with(".yml");
    let workflows = files
        .into_iter()
        .filter(|file| file.path.starts_with(".github/workflows/"));
    workflows
        .map(|file| {
            let read = serde_saphyr::from_str(&file.text);
            let workflow = read.unwrap_or_else(|error| panic!("{}: {error}", file.path));
            (file, workflow)
        })
        .collect()
}

/// Faults of a workflow, each with its job.
fn faults(workflow: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if workflow["permissions"] != serde_json::json!({"contents": "read"}) {
        faults.push("permissions: more than contents: read for every job".to_owned());
    }
    for (name, job) in workflow["jobs"].as_object().into_iter().flatten() {
        let mut fault = |what: &str| faults.push(format!("{name}: {what}"));
        if job["uses"].is_null() && job["timeout-minutes"].is_null() {
            fault("no timeout-minutes");
        }
        if job["uses"].is_null() && job["runs-on"] == "ubuntu-latest" {
            fault("runs on a moving target");
        }
        for step in job["steps"].as_array().into_iter().flatten() {
            if step["uses"].as_str().is_some_and(|uses| !is_pinned(uses)) {
                fault(&format!("{} is not pinned to a commit", step["uses"]));
            }
            if step["run"].as_str().is_some_and(|run| run.contains("${{")) {
                fault("an expression in a script: pass it in env");
            }
        }
    }
    faults
}

fn is_pinned(uses: &str) -> bool {
    let commit = uses.split_once('@').map_or("", |(_, commit)| commit);
    uses.starts_with("./") || (commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()))
}

#[test]
fn workflows_give_away_as_little_as_they_can() {
    let workflows = workflows();
    assert!(workflows.len() >= 2);
    for (file, workflow) in workflows {
        let faults = faults(&workflow);
        assert!(faults.is_empty(), "{}: {faults:?}", file.path);
    }
}

#[test]
fn faults_are_found() {
    let workflow = serde_json::json!({
        "permissions": {"contents": "write"},
        "jobs": {"a": {"runs-on": "ubuntu-latest", "steps": [
            {"uses": "actions/checkout@v4"},
            {"run": "echo ${{ secrets.TOKEN }}"},
        ]}},
    });
    assert_eq!(faults(&workflow).len(), 5);
}
