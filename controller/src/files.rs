//! Files that are read again when their content changes.
//!
//! What is looked at is the content, not a time: a mounted Secret is exchanged by a symbolic link, and clocks are coarse.
//! What is new counts when two looks see the same: a file that is just being written may show half of itself, and of two
//! files one may be exchanged first.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    time::{Interval, MissedTickBehavior, interval},
};

/// Longest file that is read: keys and certificates are far below.
const FILE_BYTES: u64 = 256 * 1024;

/// The files' texts, or why one cannot be read. An error is compared by its text.
type Look = Result<Vec<String>, String>;

/// Some files, followed together.
#[derive(Debug)]
pub(crate) struct Followed {
    paths: Vec<PathBuf>,
    ticks: Interval,
    looked: Look,
    settled: Look,
}

impl Followed {
    /// The first look, and what goes on from there.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) async fn start(
        paths: Vec<PathBuf>,
        poll: Duration,
    ) -> Result<(Self, Vec<String>), Unreadable> {
        let first = read_all(&paths).await?;
        let mut ticks = interval(poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let followed = Self {
            paths,
            ticks,
            looked: Ok(first.clone()),
            settled: Ok(first.clone()),
        };
        Ok((followed, first))
    }

    /// Resolves when the files say something new, or can no longer be read. Cancelling it loses nothing.
    pub(crate) async fn news(&mut self) -> Look {
        loop {
            self.ticks.tick().await;
            let look = read_all(&self.paths).await;
            let look = look.map_err(|error| error.to_string());
            let is_steady = look == self.looked;
            self.looked = look;
            if is_steady && self.looked != self.settled {
                self.settled = self.looked.clone();
                return self.looked.clone();
            }
        }
    }
}

/// Why a file gives nothing.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {error}", path.display())]
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

async fn read_all(paths: &[PathBuf]) -> Result<Vec<String>, Unreadable> {
    let mut texts = Vec::with_capacity(paths.len());
    for path in paths {
        texts.push(read(path).await?);
    }
    Ok(texts)
}

/// Reads a file once.
///
/// # Errors
/// When the system does not, or it is too long.
pub(crate) async fn read(path: &Path) -> Result<String, Unreadable> {
    let text = async {
        let mut text = String::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(FILE_BYTES).read_to_string(&mut text).await?;
        if text.len() as u64 == FILE_BYTES {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "over 256 KiB"));
        }
        Ok(text)
    };
    text.await.map_err(|error| Unreadable {
        path: path.to_owned(),
        error,
    })
}
