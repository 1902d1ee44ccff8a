//! Compiles the filter for wasm, makes Envoy's and Kong's module of it and puts them where `src/embedded.rs` includes
//! them.
//!
//! The inner build has a target directory of its own (cargo's lock on the outer one is held while this runs) and
//! nothing of the outer build's flags and wrappers: see `build/compile.rs`.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "that is how a build script speaks to cargo and to people"
)]

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use sha2::{Digest, Sha256};

#[path = "build/compile.rs"]
mod compile;
#[path = "build/exports.rs"]
mod exports;

use compile::{TARGET, compile};
use exports::Host;

/// What the module is made of.
const SOURCES: &[&str] = &[
    "build.rs",
    "build",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "wire/Cargo.toml",
    "wire/src",
    "filter/Cargo.toml",
    "filter/src",
    "filter/core/Cargo.toml",
    "filter/core/src",
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the filter's module could not be built: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    check_target()?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let built = fs::read(compile(&mut cargo, &root, &target_dir(&out))?)?;
    for (host, file, variable) in [
        (Host::Envoy, "gaugeway-envoy.wasm", "GAUGEWAY_ENVOY_SHA256"),
        (Host::Kong, "gaugeway-kong.wasm", "GAUGEWAY_KONG_SHA256"),
    ] {
        let module = exports::cut(&built, host)?;
        let mut sha256 = String::new();
        for byte in Sha256::digest(&module) {
            write!(sha256, "{byte:02x}")?;
        }
        fs::write(out.join(file), module)?;
        println!("cargo:rustc-env={variable}={sha256}");
    }
    Ok(())
}

/// Says the one command to run when the standard library for wasm is missing.
fn check_target() -> Result<(), Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    let libdir = String::from_utf8(output.stdout)?;
    if output.status.success() && Path::new(libdir.trim()).is_dir() {
        Ok(())
    } else {
        Err(format!("Rust's {TARGET} target is missing. Run: rustup target add {TARGET}").into())
    }
}

/// One directory for all profiles of the outer build where its layout allows, else one below `OUT_DIR`.
fn target_dir(out: &Path) -> PathBuf {
    let profile = env::var_os("PROFILE").unwrap_or_default();
    out.ancestors()
        .find(|dir| dir.file_name() == Some(&profile))
        .and_then(Path::parent)
        .unwrap_or(out)
        .join("filter-wasm")
}
