//! cargo-deny, built from crates.io.

use std::path::PathBuf;

use anyhow::Result;

use super::built::Built;

const CARGO_DENY: Built = Built {
    name: "cargo-deny",
    package: "cargo-deny",
    version: "0.20.2",
    arguments: &["--locked"],
};

/// Finds the pinned version, or builds it.
pub(crate) fn set_up() -> Result<PathBuf> {
    CARGO_DENY.set_up()
}
