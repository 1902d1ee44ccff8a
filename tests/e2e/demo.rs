//! `gaugeway demo`: what a newcomer sees first.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    process::{Process, Signal},
    tools::ENVOY,
    wait::{PATIENCE, until},
};
use serde_json::Value;
use tokio::process::Command;

use crate::stage::gaugeway;

fn demo(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(gaugeway());
    command.arg("demo").args(arguments).env("TMPDIR", dir);
    command
}

#[tokio::test]
async fn the_demo_measures_right_and_says_so() -> Result<()> {
    if !ENVOY.or_skip()? {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let output = demo(dir.path(), &["--json", "--duration", "5"])
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    let result: Value = serde_json::from_slice(&output.stdout).with_context(|| said.to_string())?;
    ensure!(output.status.success(), "{result}\n{said}");
    assert_eq!(
        (&result["passed"], &result["failed"]),
        (&true.into(), &0.into())
    );
    assert_eq!(result["sent"], result["counted"]);
    let services = result["services"].as_array().context("no services")?;
    assert_eq!(services.len(), 3);
    ensure!(
        fs::read_dir(dir.path())?.next().is_none(),
        "it left files behind"
    );
    Ok(())
}

#[tokio::test]
async fn an_interrupt_ends_every_process_of_the_demo() -> Result<()> {
    if !ENVOY.or_skip()? {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("log");
    let temporary = dir.path().join("tmp");
    fs::create_dir(&temporary)?;
    let mut command = demo(&temporary, &["--keep", "--duration", "1"]);
    command.stdout(Stdio::null());
    let mut process = Process::spawn("demo", command, &log)?;
    let demo = process.id().context("it ended at once")?;
    until("the demo to be kept running", PATIENCE, || async {
        let log = fs::read_to_string(&log)?;
        ensure!(log.contains("Still running"), "{log}");
        Ok(())
    })
    .await?;
    let children = children(demo)?;
    ensure!(
        children.len() == 2,
        "Envoy and the controller, not {children:?}"
    );
    process.signal(Signal::INT)?;
    process.wait(Duration::from_secs(15)).await?;
    until("its processes to end", PATIENCE, || async {
        let left: Vec<_> = children.iter().filter(|pid| lives(**pid)).collect();
        ensure!(left.is_empty(), "{left:?} still run");
        Ok(())
    })
    .await?;
    ensure!(
        fs::read_dir(&temporary)?.next().is_none(),
        "it left files behind"
    );
    Ok(())
}

#[tokio::test]
async fn an_envoy_that_ends_at_once_is_noticed_and_its_log_shown_once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let envoy = dir.path().join("envoy");
    fs::write(&envoy, "#!/bin/sh\necho no such flag >&2\nexit 3\n")?;
    fs::set_permissions(&envoy, fs::Permissions::from_mode(0o755))?;
    let mut command = demo(dir.path(), &[]);
    let output = command.env(ENVOY.variable, &envoy).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "{said}");
    ensure!(said.contains("envoy ended with exit status: 3"), "{said}");
    assert_eq!(said.matches("no such flag").count(), 1, "{said}");
    Ok(())
}

/// Children of a process, whichever of its threads started them.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{parent}/task"))? {
        let children = fs::read_to_string(thread?.path().join("children"))?;
        for pid in children.split_whitespace() {
            found.push(pid.parse()?);
        }
    }
    Ok(found)
}

/// Whether a process runs. One that ended and was not waited for does not.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}
