//! A directory of Kubernetes manifests, read again when it changes.
//!
//! Invariants: a file that cannot be read or parsed keeps what it gave last; an object is in the index exactly as long
//! as a good file (or the last good state of one) holds it.

use std::{path::PathBuf, sync::Arc};

use crate::{mapping::Feed, telemetry::Telemetry};

/// The running source. Dropping it ends it.
#[derive(Debug)]
pub struct ManifestSource {}

/// Starts to read and watch `directory` on the current runtime. Problems of single files are logged and counted.
///
/// # Errors
/// When the directory does not exist or cannot be watched.
pub fn start(
    _directory: PathBuf,
    _feed: Feed,
    _telemetry: Arc<Telemetry>,
) -> anyhow::Result<ManifestSource> {
    todo!()
}
