//! Prometheus and promtool: Debian's package, unpacked without installing it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Scratch, chosen, found, is_root, place, version};
use crate::run::{self, Step};

/// Name the programs to use, for us and for what we start.
pub(crate) const PROMETHEUS: &str = "PROMETHEUS_BIN";
/// See [`PROMETHEUS`].
pub(crate) const PROMTOOL: &str = "PROMTOOL_BIN";

const HOW_TO_GET_IT: &str = "apt-get install prometheus, or set PROMETHEUS_BIN and PROMTOOL_BIN to those of a Prometheus release";

/// Both programs.
pub(crate) struct Binaries {
    pub(crate) prometheus: PathBuf,
    pub(crate) promtool: PathBuf,
}

/// Finds both, or fetches them.
pub(crate) fn set_up() -> Result<Binaries> {
    let there = |variable, name| chosen(variable).map(|path| path.or_else(|| run::on_path(name)));
    let binaries = match (
        there(PROMETHEUS, "prometheus")?,
        there(PROMTOOL, "promtool")?,
    ) {
        (Some(prometheus), Some(promtool)) => Binaries {
            prometheus,
            promtool,
        },
        _ => ours()?,
    };
    for (name, path) in [
        ("prometheus", &binaries.prometheus),
        ("promtool", &binaries.promtool),
    ] {
        found(name, path, &version(path, "--version")?);
    }
    Ok(binaries)
}

fn ours() -> Result<Binaries> {
    let directory = place("prometheus");
    let bin = directory.join("usr/bin");
    let binaries = Binaries {
        prometheus: bin.join("prometheus"),
        promtool: bin.join("promtool"),
    };
    if !run::is_executable(&binaries.prometheus) || !run::is_executable(&binaries.promtool) {
        fetch(&directory)?;
    }
    Ok(binaries)
}

/// apt verifies what it fetches against the signed package lists: there is no sum of ours to pin, and Debian's
/// security updates would break one.
fn fetch(to: &Path) -> Result<()> {
    if run::on_path("apt-get").is_none() || run::on_path("dpkg-deb").is_none() {
        bail!(
            "prometheus is missing, and this is no Debian to fetch its package from: {HOW_TO_GET_IT}"
        );
    }
    let step = Step::start("fetch Debian's package of Prometheus (19 MB)");
    if !is_known()? {
        if !is_root() {
            bail!(
                "prometheus is missing, and apt knows no package of that name: run apt-get update, or {HOW_TO_GET_IT}"
            );
        }
        run::run(run::command("apt-get").args(["-qq", "update"]))?;
    }
    let scratch = Scratch::try_new()?;
    let mut apt = Command::new("apt-get");
    apt.args(["-qq", "download", "prometheus"])
        .current_dir(&scratch.0);
    if is_root() {
        // Root's downloads go through the user _apt, who may not write here.
        apt.args(["-o", "APT::Sandbox::User=root"]);
    }
    run::run(&mut apt).with_context(|| {
        format!("cannot fetch Prometheus: check the network, or {HOW_TO_GET_IT}")
    })?;
    let unpacked = scratch.0.join("unpacked");
    run::run(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(scratch.only(".deb")?)
            .arg(&unpacked),
    )?;
    if to.exists() {
        std::fs::remove_dir_all(to).with_context(|| format!("cannot replace {}", to.display()))?;
    }
    scratch.install(&unpacked, to)?;
    step.done();
    Ok(())
}

fn is_known() -> Result<bool> {
    let text = run::read(
        run::command("apt-cache")
            .args(["policy", "prometheus"])
            .env("LC_ALL", "C"),
    )?;
    Ok(text
        .lines()
        .any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)")))
}
