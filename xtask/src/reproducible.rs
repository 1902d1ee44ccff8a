//! Same sources, same modules: whoever builds a release's sources gets the sums that its `SHA256SUMS` has, wherever they
//! build and whatever flags they use for other things.
//!
//! The program around the modules, as the image has it, is compared on request only: that is two builds of everything.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use sha2::{Digest as _, Sha256};

use crate::run::{self, Step, cargo};
use crate::tools::{Need, Tools, musl};

#[path = "../../build/compile.rs"]
mod compile;
#[path = "../../build/exports.rs"]
mod exports;

use exports::Host;

/// What somebody's environment may have, and what must not show.
const OTHER_FLAGS: [(&str, &str); 3] = [
    ("RUSTFLAGS", "-Cdebuginfo=2 -Copt-level=1"),
    ("CARGO_INCREMENTAL", "1"),
    ("CARGO_BUILD_TARGET_DIR", "elsewhere"),
];

/// Compares the modules that this tree's build makes with those of a copy.
pub(crate) fn modules() -> Result<()> {
    Tools::set_up(&[Need::WasmTargets])?;
    let step = Step::start("the filter's modules, built at two places");
    let target = run::target_directory()?;
    // Where build.rs builds it: nothing to do when the program is up to date.
    let here = build(&mut cargo([]), &run::root(), &target.join("filter-wasm"))?;
    let place = target.join("reproducible");
    let copy = another_place(&place)?;
    let mut other = cargo([]);
    let there = build(
        other.envs(OTHER_FLAGS),
        &copy,
        &place.join("another target directory"),
    )?;
    for (host, file) in [
        (Host::Envoy, "gaugeway-envoy.wasm"),
        (Host::Kong, "gaugeway-kong.wasm"),
    ] {
        let [one, other] = [&here, &there].map(|linked| cut(linked, host));
        let (one, other) = (one?, other?);
        if let Some(at) = first_difference(&one, &other) {
            let kept = place.join(file);
            fs::write(&kept, other).with_context(|| format!("cannot write {}", kept.display()))?;
            bail!(
                "{file} differs from byte {at} on: something of the place or the environment is in it. The other one is \
                 {}",
                kept.display()
            );
        }
        eprintln!("    {}  {file}", sum(&one));
    }
    remove(&place)?;
    step.done();
    Ok(())
}

/// Most bytes of the program. With what else is in the image, that stays below 30 MB.
const MOST_BYTES: u64 = 29_500_000;

/// Builds the program as `Dockerfile` does, here and from a copy of the sources, compares them, and looks at its size.
pub(crate) fn binary() -> Result<()> {
    Tools::set_up(&[Need::WasmTargets, Need::Musl])?;
    let step = Step::start("the program of the image, built at two places");
    let target = run::target_directory()?;
    let here = build_program(&run::root(), &target.join("image"))?;
    let size = fs::metadata(&here)
        .with_context(|| format!("cannot read {}", here.display()))?
        .len();
    if size > MOST_BYTES {
        bail!(
            "{} has {size} bytes; the image must stay below 30 MB, so at most {MOST_BYTES} are for it",
            here.display()
        );
    }
    let place = target.join("reproducible-image");
    let copy = another_place(&place)?;
    let there = build_program(&copy, &place.join("another target directory"))?;
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (one, other) = (read(&here)?, read(&there)?);
    if let Some(at) = first_difference(&one, &other) {
        bail!(
            "{} differs from {} from byte {at} on: something of the place is in it",
            there.display(),
            here.display()
        );
    }
    eprintln!("    {}  gaugeway ({size} bytes)", sum(&one));
    remove(&place)?;
    step.done();
    Ok(())
}

/// The flags are those of `Dockerfile`: its sums are the same wherever it is built by the same toolchain.
fn build_program(root: &Path, target_dir: &Path) -> Result<PathBuf> {
    let target = musl::target();
    let mut command = cargo(["build", "--locked", "--package", "gaugeway"]);
    command
        .args([
            "--bin",
            "gaugeway",
            "--profile",
            "image",
            "--target",
            &target,
        ])
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", compile::rustflags(root))
        .env_remove("CARGO_INCREMENTAL");
    run::run(&mut command)?;
    Ok(target_dir.join(target).join("image").join("gaugeway"))
}

/// A copy of the sources at a path of another length, too: names of files may be padded or aligned.
fn another_place(place: &Path) -> Result<PathBuf> {
    remove(place)?;
    let copy = place.join("a longer path").join("to the same sources");
    copy_sources(&run::root(), &copy)?;
    Ok(copy)
}

fn build(cargo: &mut Command, root: &Path, target_dir: &Path) -> Result<Vec<u8>> {
    let module = compile::compile(cargo, root, target_dir)
        .map_err(|error| anyhow!("{}: {error}", root.display()))?;
    fs::read(&module).with_context(|| format!("cannot read {}", module.display()))
}

fn cut(linked: &[u8], host: Host) -> Result<Vec<u8>> {
    exports::cut(linked, host).map_err(|error| anyhow!("cannot cut the module's exports: {error}"))
}

/// Copies what git knows, and what it would take.
fn copy_sources(root: &Path, to: &Path) -> Result<()> {
    let mut list = run::command("git");
    list.args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard");
    let files = run::read(&mut list)?;
    let names = files.split('\0').filter(|name| !name.is_empty());
    for name in names {
        let from = root.join(name);
        // Removed, but not committed yet.
        if !from.is_file() {
            continue;
        }
        let file: PathBuf = to.join(name);
        let directory = file.parent().unwrap_or(to);
        fs::create_dir_all(directory)
            .and_then(|()| fs::copy(&from, &file))
            .with_context(|| format!("cannot copy {name} to {}", to.display()))?;
    }
    Ok(())
}

fn remove(place: &Path) -> Result<()> {
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    Ok(())
}

/// Where two differ; `None` when they do not.
fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let differs = one.iter().zip(other).position(|(a, b)| a != b);
    let shorter = one.len().min(other.len());
    differs.or_else(|| (one.len() != other.len()).then_some(shorter))
}

fn sum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        assert_eq!(first_difference(b"same", b"same"), None);
        assert_eq!(first_difference(b"same", b"some"), Some(1));
        assert_eq!(first_difference(b"same", b"same and more"), Some(4));
        assert_eq!(first_difference(b"same and more", b"same"), Some(4));
    }
}
