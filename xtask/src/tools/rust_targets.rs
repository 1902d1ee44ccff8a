//! Rust's standard library for targets other than this machine.

use std::path::Path;

use anyhow::{Result, bail};

use crate::run;

/// What filters are built for, and tested on.
pub(crate) const WASM: [&str; 2] = ["wasm32-wasip1", "wasm32-unknown-unknown"];

/// Adds to the toolchain as it is what it lacks.
pub(crate) fn set_up(name: &str, targets: &[&str]) -> Result<()> {
    let sysroot = run::read(run::command("rustc").args(["--print", "sysroot"]))?;
    let rustlib = Path::new(sysroot.trim()).join("lib").join("rustlib");
    let missing: Vec<&&str> = targets
        .iter()
        .filter(|target| !rustlib.join(target).join("lib").is_dir())
        .collect();
    if missing.is_empty() {
        eprintln!("    {name}: {}", targets.join(", "));
        return Ok(());
    }
    if run::on_path("rustup").is_none() {
        bail!(
            "rustc has no standard library for {}: install Rust with rustup (https://rustup.rs), or your \
             distribution's package for it",
            missing
                .iter()
                .map(|target| **target)
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    run::run(run::command("rustup").args(["target", "add"]).args(missing))
}
