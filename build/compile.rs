//! Compiles the filter for wasm so that the module's bytes depend on its sources and the toolchain only: not on where
//! they lie, nor on flags and wrappers of whoever builds. `cargo xtask reproducible` holds it to that.

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

/// The target of every module.
pub(crate) const TARGET: &str = "wasm32-wasip1";
const PACKAGE: &str = "gaugeway-filter";
const ARTIFACT: &str = "gaugeway_filter.wasm";
const PROFILE: &str = "filter";

/// Flags and wrappers of an outer build that must not reach this one.
const NOT_INHERITED: &[&str] = &[
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_INCREMENTAL",
    "CARGO_BUILD_INCREMENTAL",
    "CLIPPY_ARGS",
];

/// Runs `cargo` for the filter of the repository at `root`; returns the path of the module as it was linked.
pub(crate) fn compile(
    cargo: &mut Command,
    root: &Path,
    target_dir: &Path,
) -> Result<PathBuf, Box<dyn Error>> {
    for name in NOT_INHERITED {
        cargo.env_remove(name);
    }
    // The outer cargo has just brought Cargo.lock up to date: --locked cannot fail for a good reason. Offline needs
    // no flag: CARGO_NET_OFFLINE is inherited, and with a complete lock file and its crates there cargo asks nobody.
    cargo
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(root))
        .args(["build", "--locked", "--package", PACKAGE])
        .args(["--profile", PROFILE, "--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir);
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("cargo build of {PACKAGE} ended with {status}").into());
    }
    Ok(target_dir.join(TARGET).join(PROFILE).join(ARTIFACT))
}

/// Paths of this machine must not be in the module: same sources, same bytes, wherever they lie.
pub(crate) fn rustflags(root: &Path) -> String {
    let home = env::var("CARGO_HOME")
        .or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    let mut flags = vec![format!("--remap-path-prefix={}=gaugeway", root.display())];
    if !home.is_empty() {
        flags.push(format!("--remap-path-prefix={home}=cargo"));
    }
    flags.join("\u{1f}")
}
