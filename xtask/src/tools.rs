//! The tools that the repository needs besides cargo, and where they come from.
//!
//! For each: an explicit choice in the environment wins, then what is on `PATH`, then `.tools/`, else it is fetched
//! there. A tool is put in place by one rename after it was checked, so an interrupted fetch leaves nothing half done.

mod built;
mod cargo_deny;
mod envoy;
mod helm;
mod mdbook;
pub(crate) mod musl;
mod prometheus;
mod rust_targets;
mod schemas;
mod wasm_tests;
mod wheel;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use anyhow::{Context as _, Result, bail};

use crate::run;

/// A tool to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Rust's standard library for wasm.
    WasmTargets,
    /// What a static program needs.
    Musl,
    Envoy,
    /// The oldest Envoy that the filter is tested on.
    OldestEnvoy,
    /// prometheus and promtool.
    Prometheus,
    Helm,
    /// Of Kubernetes' built-in kinds.
    Schemas,
    Mdbook,
    /// Node and what runs wasm tests under it.
    WasmTests,
    CargoDeny,
}

/// Where the tools asked for are.
#[derive(Default)]
pub(crate) struct Tools {
    envoy: Option<PathBuf>,
    oldest_envoy: Option<PathBuf>,
    prometheus: Option<prometheus::Binaries>,
    helm: Option<PathBuf>,
    schemas: Option<PathBuf>,
    mdbook: Option<PathBuf>,
    wasm_tests: Option<PathBuf>,
    cargo_deny: Option<PathBuf>,
}

impl Tools {
    /// Finds or fetches each of `needs`. Reports everything that could not be had, not only the first.
    pub(crate) fn set_up(needs: &[Need]) -> Result<Self> {
        let mut tools = Self::default();
        let mut missing = Vec::new();
        for need in needs {
            if let Err(error) = tools.add(*need) {
                missing.push(format!("{error:#}"));
            }
        }
        if !missing.is_empty() {
            bail!("set-up is not complete:\n  - {}", missing.join("\n  - "));
        }
        Ok(tools)
    }

    fn add(&mut self, need: Need) -> Result<()> {
        match need {
            Need::WasmTargets => rust_targets::set_up("wasm targets", &rust_targets::WASM),
            Need::Musl => musl::set_up(),
            Need::Envoy => envoy::set_up().map(|found| self.envoy = Some(found)),
            Need::OldestEnvoy => {
                envoy::set_up_oldest().map(|found| self.oldest_envoy = Some(found))
            }
            Need::Prometheus => prometheus::set_up().map(|found| self.prometheus = Some(found)),
            Need::Helm => helm::set_up().map(|found| self.helm = Some(found)),
            Need::Schemas => schemas::set_up().map(|found| self.schemas = Some(found)),
            Need::Mdbook => mdbook::set_up().map(|found| self.mdbook = Some(found)),
            Need::WasmTests => wasm_tests::set_up().map(|found| self.wasm_tests = Some(found)),
            Need::CargoDeny => cargo_deny::set_up().map(|found| self.cargo_deny = Some(found)),
        }
    }

    /// What programs started by us find them by.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut variables = Vec::new();
        variables.extend(self.envoy.clone().map(|path| (envoy::VARIABLE, path)));
        if let Some(binaries) = &self.prometheus {
            variables.push((prometheus::PROMETHEUS, binaries.prometheus.clone()));
            variables.push((prometheus::PROMTOOL, binaries.promtool.clone()));
        }
        variables.extend(self.helm.clone().map(|path| (helm::VARIABLE, path)));
        variables.extend(self.schemas.clone().map(|path| (schemas::VARIABLE, path)));
        variables.extend(self.mdbook.clone().map(|path| (mdbook::VARIABLE, path)));
        let runner = self.wasm_tests.clone();
        variables.extend(runner.map(|path| (wasm_tests::VARIABLE, path)));
        variables
    }

    /// The environment for what is to run on the oldest Envoy.
    pub(crate) fn environment_of_oldest(&self) -> Vec<(&'static str, PathBuf)> {
        let mut variables = self.environment();
        variables.retain(|(name, _)| *name != envoy::VARIABLE);
        variables.extend(
            self.oldest_envoy
                .clone()
                .map(|path| (envoy::VARIABLE, path)),
        );
        variables
    }

    pub(crate) fn mdbook(&self) -> Result<&Path> {
        self.mdbook.as_deref().context("mdbook was not set up")
    }

    pub(crate) fn cargo_deny(&self) -> Result<&Path> {
        self.cargo_deny
            .as_deref()
            .context("cargo-deny was not set up")
    }
}

/// What is in `variable`, which must then be an executable file.
fn chosen(variable: &str) -> Result<Option<PathBuf>> {
    let Some(value) = env::var_os(variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(value);
    if !run::is_executable(&path) {
        bail!(
            "{variable}={} is not an executable file: correct it, or unset it",
            path.display()
        );
    }
    path.canonicalize()
        .with_context(|| format!("cannot resolve {variable}={}", path.display()))
        .map(Some)
}

/// `.tools/NAME`.
fn place(name: &str) -> PathBuf {
    run::root().join(".tools").join(name)
}

/// A directory in `.tools/` to fetch into, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn try_new() -> Result<Self> {
        let path = place(&format!("scratch-{}", process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Moves `from`, which is inside, to its place.
    fn install(&self, from: &Path, to: &Path) -> Result<()> {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
        }
        fs::rename(from, to)
            .with_context(|| format!("cannot move what was fetched to {}", to.display()))
    }

    /// The only file inside whose name ends with `suffix`.
    fn only(&self, suffix: &str) -> Result<PathBuf> {
        let listing =
            fs::read_dir(&self.0).with_context(|| format!("cannot list {}", self.0.display()))?;
        let mut found: Vec<PathBuf> = listing
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with(suffix))
            .collect();
        match (found.pop(), found.is_empty()) {
            (Some(path), true) => Ok(path),
            _ => bail!(
                "expected one *{suffix} to have been fetched into {}",
                self.0.display()
            ),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: what stays behind is in a git-ignored directory and in nobody's way.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// First line that `program ARG` prints.
fn version(program: &Path, argument: &str) -> Result<String> {
    let text = run::read(Command::new(program).arg(argument))
        .with_context(|| format!("{} does not run on this machine", program.display()))?;
    Ok(text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned())
}

/// Tells what was found where.
fn found(name: &str, path: &Path, version: &str) {
    // Envoy repeats its own path first.
    let version = version
        .trim_start_matches(&*path.to_string_lossy())
        .trim_start();
    let path = path.strip_prefix(run::root()).unwrap_or(path);
    eprintln!("    {name}: {} ({version})", path.display());
}

/// Whether we are root, who may install Debian packages.
fn is_root() -> bool {
    run::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
