//! Programs from crates.io, built from source into `.tools/`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{found, place, version};
use crate::run::{self, Step, cargo};

/// One program, at one version.
pub(super) struct Built {
    pub(super) name: &'static str,
    /// Of crates.io.
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// More arguments of `cargo install`.
    pub(super) arguments: &'static [&'static str],
}

impl Built {
    /// Finds the pinned version, or builds it.
    pub(super) fn set_up(&self) -> Result<PathBuf> {
        let root = place(&format!("{}-{}", self.package, self.version));
        let ours = root.join("bin").join(self.name);
        let on_path = run::on_path(self.name)
            .filter(|path| version(path, "--version").is_ok_and(|v| v.ends_with(self.version)));
        let binary = match on_path {
            Some(path) => path,
            None if run::is_executable(&ours) => ours,
            None => self.build(&root).map(|()| ours)?,
        };
        found(self.name, &binary, &version(&binary, "--version")?);
        Ok(binary)
    }

    /// Not optimized: it builds in a minute or two instead of many, and runs for a second either way.
    fn build(&self, root: &Path) -> Result<()> {
        let Self {
            name,
            package,
            version,
            arguments,
        } = self;
        let step = Step::start(format!("build {name} {version} (about two minutes, once)"));
        let mut install = cargo(["install", package, "--version", version, "--bin", name]);
        install
            .args(*arguments)
            .arg("--quiet")
            .arg("--root")
            .arg(root)
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        run::run(&mut install).with_context(|| {
            format!("cannot build {name}: check the network, or put version {version} on PATH")
        })?;
        step.done();
        Ok(())
    }
}
