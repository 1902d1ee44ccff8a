//! What a static program is built with: Rust's standard library for musl, and a C compiler for it.

use std::env::{self, consts::ARCH};

use anyhow::{Result, bail};

use super::rust_targets;
use crate::run;

/// This machine, with musl.
pub(crate) fn target() -> String {
    format!("{ARCH}-unknown-linux-musl")
}

pub(crate) fn set_up() -> Result<()> {
    let target = target();
    rust_targets::set_up("static target", &[&target])?;
    let named = format!("CC_{}", target.replace('-', "_"));
    let compiler = ["musl-gcc".to_owned(), format!("{ARCH}-linux-musl-gcc")];
    let found = compiler.iter().any(|name| run::on_path(name).is_some());
    if !found && env::var_os(&named).is_none() {
        bail!(
            "a C compiler for {target} is missing: install musl-tools (Debian: apt-get install musl-tools), or name one \
             in {named}"
        );
    }
    Ok(())
}
