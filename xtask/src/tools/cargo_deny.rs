//! cargo-deny, built from crates.io.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{found, place, version};
use crate::run::{self, Step, cargo};

const VERSION: &str = "0.20.2";

/// Finds the pinned version, or builds it.
pub(crate) fn set_up() -> Result<PathBuf> {
    let root = place(&format!("cargo-deny-{VERSION}"));
    let ours = root.join("bin/cargo-deny");
    let on_path = run::on_path("cargo-deny")
        .filter(|path| version(path, "--version").is_ok_and(|v| v.ends_with(VERSION)));
    let binary = match on_path {
        Some(path) => path,
        None if run::is_executable(&ours) => ours,
        None => build(&root).map(|()| ours)?,
    };
    found("cargo-deny", &binary, &version(&binary, "--version")?);
    Ok(binary)
}

/// Not optimized: it builds in a minute instead of many, and runs for a second either way.
fn build(root: &std::path::Path) -> Result<()> {
    let step = Step::start(format!(
        "build cargo-deny {VERSION} (about two minutes, once)"
    ));
    let mut install = cargo([
        "install",
        "cargo-deny",
        "--version",
        VERSION,
        "--locked",
        "--quiet",
        "--root",
    ]);
    install
        .arg(root)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    run::run(&mut install)
        .context("cannot build cargo-deny: check the network, or put it on PATH")?;
    step.done();
    Ok(())
}
