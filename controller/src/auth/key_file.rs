//! The key file, read again when its content changes: keys rotate without a restart.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use tracing::{error, info};

use super::{Keys, KeysError};
use crate::{
    files::{self, Followed, Unreadable},
    telemetry::Telemetry,
};

/// Why a key file gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The system says so.
    #[error("cannot read the token key file {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its content.
    #[error("token key file {}: {error}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        error: KeysError,
    },
}

/// Reads the keys once and follows the file, until nobody listens.
///
/// # Errors
/// When the first read fails. A later one keeps the keys in force, logged and counted.
pub(super) async fn follow(
    path: &Path,
    poll: Duration,
    telemetry: Arc<Telemetry>,
) -> Result<watch::Receiver<Option<Keys>>, KeyFileError> {
    let (file, texts) = Followed::start(vec![path.to_owned()], poll).await?;
    let (keys, receiver) = watch::channel(Some(parse(path, &texts.concat())?));
    telemetry.http.key_reads.with_label_values(&["ok"]).inc();
    tokio::spawn(watch_file(path.to_owned(), file, keys, telemetry));
    Ok(receiver)
}

/// Reads a key file once, for commands.
///
/// # Errors
/// [`KeyFileError`].
pub async fn read_keys(path: &Path) -> Result<Keys, KeyFileError> {
    parse(path, &files::read(path).await?)
}

async fn watch_file(
    path: PathBuf,
    mut file: Followed,
    keys: watch::Sender<Option<Keys>>,
    telemetry: Arc<Telemetry>,
) {
    loop {
        let looked = tokio::select! {
            () = keys.closed() => return,
            looked = file.news() => looked,
        };
        let new = looked.and_then(|texts| {
            let parsed = parse(&path, &texts.concat());
            parsed.map_err(|error| error.to_string())
        });
        let result = match new {
            Ok(new) => {
                info!(keys = ?new, "token keys were read again");
                keys.send_replace(Some(new));
                "ok"
            }
            Err(error) => {
                error!(error, "the last good token keys stay in force");
                "error"
            }
        };
        telemetry.http.key_reads.with_label_values(&[result]).inc();
    }
}

fn parse(path: &Path, text: &str) -> Result<Keys, KeyFileError> {
    Keys::parse(text).map_err(|error| KeyFileError::Content {
        path: path.to_owned(),
        error,
    })
}

impl From<Unreadable> for KeyFileError {
    fn from(Unreadable { path, error }: Unreadable) -> Self {
        Self::Read { path, error }
    }
}
