//! Rust's standard library for the targets that filters are built for.

use std::path::Path;

use anyhow::{Result, bail};

use crate::run;

const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-unknown-unknown"];

/// Adds to the toolchain as it is what it lacks.
pub(crate) fn set_up() -> Result<()> {
    let sysroot = run::read(run::command("rustc").args(["--print", "sysroot"]))?;
    let rustlib = Path::new(sysroot.trim()).join("lib").join("rustlib");
    let missing: Vec<&str> = TARGETS
        .into_iter()
        .filter(|target| !rustlib.join(target).join("lib").is_dir())
        .collect();
    if missing.is_empty() {
        eprintln!("    wasm targets: {}", TARGETS.join(", "));
        return Ok(());
    }
    if run::on_path("rustup").is_none() {
        bail!(
            "rustc has no standard library for {}: install Rust with rustup (https://rustup.rs), or your \
             distribution's package for it",
            missing.join(", ")
        );
    }
    run::run(run::command("rustup").args(["target", "add"]).args(missing))
}
