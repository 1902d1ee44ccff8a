//! mdBook, which makes the book of `docs/`; built from crates.io without its server and its search.

use std::path::PathBuf;

use anyhow::Result;

use super::{built::Built, chosen};

/// Names the mdbook to use, for us and for what we start.
pub(crate) const VARIABLE: &str = "MDBOOK_BIN";

const MDBOOK: Built = Built {
    name: "mdbook",
    package: "mdbook",
    version: "0.5.4",
    arguments: &["--locked", "--no-default-features"],
};

/// Finds mdbook, or builds it.
pub(crate) fn set_up() -> Result<PathBuf> {
    match chosen(VARIABLE)? {
        Some(path) => Ok(path),
        None => MDBOOK.set_up(),
    }
}
