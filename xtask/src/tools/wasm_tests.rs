//! What runs wasm tests under Node: wasm-bindgen's test runner, built from crates.io, and Node itself.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{built::Built, found, version};
use crate::run;

/// Names the runner, for cargo.
pub(crate) const VARIABLE: &str = "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER";

/// The version must be that of `wasm-bindgen` in `Cargo.lock`: the runner says so otherwise.
const RUNNER: Built = Built {
    name: "wasm-bindgen-test-runner",
    package: "wasm-bindgen-cli",
    version: "0.2.130",
    arguments: &["--no-default-features"],
};

/// Finds both, or builds the runner.
pub(crate) fn set_up() -> Result<PathBuf> {
    let Some(node) = run::on_path("node") else {
        bail!("node is missing: install Node.js 20 or later (Debian: apt-get install nodejs)");
    };
    found("node", &node, &version(&node, "--version")?);
    RUNNER.set_up()
}
