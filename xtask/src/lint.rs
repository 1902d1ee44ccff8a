//! What is checked without running anything of ours.
//!
//! All checks run, also after one has failed: one run tells everything that is wrong.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::run::{self, NATIVE_WORKSPACE, Seconds, Step, cargo};
use crate::tools::{Need, Tools};

/// Format, clippy, documentation, dependencies.
pub(crate) fn lint() -> Result<()> {
    let tools = Tools::set_up(&[Need::WasmTargets, Need::CargoDeny])?;
    let mut checks = Checks::default();
    checks.run("format", cargo(["fmt", "--all", "--check"]));
    checks.run(
        "clippy",
        clippy(&[&NATIVE_WORKSPACE[..], &["--all-targets"]].concat()),
    );
    checks.run(
        "clippy of the filter for wasm",
        clippy(&["-p", "gaugeway-filter", "--target", "wasm32-wasip1"]),
    );
    checks.run(
        "format of the bench's filters",
        in_bench_filters(cargo(["fmt", "--all", "--check"])),
    );
    let wasm = ["--target", "wasm32-wasip1"];
    checks.run(
        "clippy of the bench's filters",
        in_bench_filters(clippy(&wasm)),
    );
    checks.run("documentation", documentation());
    checks.run(
        "dependencies",
        deny(tools.cargo_deny()?, &["bans", "licenses", "sources"]),
    );
    advisories(&mut checks, tools.cargo_deny()?)?;
    checks.summary()
}

fn clippy(what: &[&str]) -> Command {
    let mut command = cargo(["clippy"]);
    command
        .args(run::locked())
        .args(what)
        .args(["--", "-D", "warnings"]);
    command
}

/// Their workspace is their own.
fn in_bench_filters(mut command: Command) -> Command {
    command.current_dir(crate::bench::filters());
    command
}

fn documentation() -> Command {
    let mut command = cargo(["doc", "--no-deps"]);
    command
        .args(run::locked())
        .args(NATIVE_WORKSPACE)
        .env("RUSTDOCFLAGS", "-D warnings");
    command
}

fn deny(cargo_deny: &std::path::Path, checks: &[&str]) -> Command {
    let mut command = run::command(cargo_deny);
    command
        .args(["--workspace", "--log-level", "error", "check"])
        .args(checks);
    command
}

/// Known vulnerabilities, as far as their database can be had: it lives on a host that not every network reaches.
fn advisories(checks: &mut Checks, cargo_deny: &std::path::Path) -> Result<()> {
    let fetched =
        run::output(run::command(cargo_deny).args(["--log-level", "off", "fetch", "db"]))?;
    if fetched.is_some_and(|output| output.status.success()) {
        checks.run(
            "advisories",
            deny(cargo_deny, &["--disable-fetch", "advisories"]),
        );
    } else {
        checks.skip(
            "advisories",
            "the advisory database (github.com/rustsec/advisory-db) cannot be reached",
        );
    }
    Ok(())
}

#[derive(Default)]
struct Checks {
    rows: Vec<(&'static str, Outcome)>,
}

enum Outcome {
    Passed(Duration),
    Failed(String),
    NotChecked(&'static str),
}

impl Checks {
    fn run(&mut self, name: &'static str, mut command: Command) {
        let step = Step::start(name);
        let outcome = match run::run(&mut command) {
            Ok(()) => Outcome::Passed(step.done()),
            Err(error) => {
                eprintln!("    {name}: FAILED");
                Outcome::Failed(format!("{error:#}"))
            }
        };
        self.rows.push((name, outcome));
    }

    fn skip(&mut self, name: &'static str, why: &'static str) {
        eprintln!("==> {name}\n    {name}: NOT CHECKED: {why}");
        self.rows.push((name, Outcome::NotChecked(why)));
    }

    fn summary(&self) -> Result<()> {
        eprintln!("==> lint summary");
        for (name, outcome) in &self.rows {
            match outcome {
                Outcome::Passed(took) => eprintln!("    ok           {name} ({})", Seconds(*took)),
                Outcome::Failed(error) => eprintln!("    FAILED       {name}: {error}"),
                Outcome::NotChecked(why) => eprintln!("    NOT CHECKED  {name}: {why}"),
            }
        }
        let failed = self
            .rows
            .iter()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)))
            .count();
        if failed > 0 {
            bail!("{failed} of {} checks failed", self.rows.len());
        }
        Ok(())
    }
}
