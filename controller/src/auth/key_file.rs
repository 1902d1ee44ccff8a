//! The key file, read again when its content changes: keys rotate without a restart.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, sync::watch};
use tracing::{error, info};

use super::{Keys, KeysError};
use crate::telemetry::Telemetry;

/// Longest key file that is read; two keys and some comments are far below.
const FILE_BYTES: u64 = 64 * 1024;

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
    let text = read(path).await?;
    let (keys, receiver) = watch::channel(Some(parse(path, &text)?));
    telemetry.http.key_reads.with_label_values(&["ok"]).inc();
    tokio::spawn(watch_file(path.to_owned(), text, poll, keys, telemetry));
    Ok(receiver)
}

/// Reads a key file once, for commands.
///
/// # Errors
/// [`KeyFileError`].
pub async fn read_keys(path: &Path) -> Result<Keys, KeyFileError> {
    parse(path, &read(path).await?)
}

/// Looks at the content, not at times: a mounted Secret is exchanged by a symbolic link, and clocks are coarse. What is
/// new counts when two looks see the same: a file that is just being written may show half a key list.
async fn watch_file(
    path: PathBuf,
    first: String,
    poll: Duration,
    keys: watch::Sender<Option<Keys>>,
    telemetry: Arc<Telemetry>,
) {
    let mut ticks = tokio::time::interval(poll);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looked = Ok(first);
    let mut settled = looked.clone();
    loop {
        tokio::select! {
            () = keys.closed() => return,
            _ = ticks.tick() => {}
        }
        // An error is compared by its text.
        let look = read(&path).await.map_err(|error| error.to_string());
        let is_steady = look == looked;
        looked = look;
        if !is_steady || looked == settled {
            continue;
        }
        settled = looked.clone();
        let new = looked
            .clone()
            .and_then(|text| parse(&path, &text).map_err(|error| error.to_string()));
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

async fn read(path: &Path) -> Result<String, KeyFileError> {
    let text = async {
        let mut text = String::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(FILE_BYTES).read_to_string(&mut text).await?;
        if text.len() as u64 == FILE_BYTES {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "over 64 KiB"));
        }
        Ok(text)
    };
    text.await.map_err(|error| KeyFileError::Read {
        path: path.to_owned(),
        error,
    })
}

fn parse(path: &Path, text: &str) -> Result<Keys, KeyFileError> {
    Keys::parse(text).map_err(|error| KeyFileError::Content {
        path: path.to_owned(),
        error,
    })
}
