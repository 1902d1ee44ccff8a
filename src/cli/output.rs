//! Where a command's result goes: standard output or a file.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result, bail};

/// `-` or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Stdout,
    File(PathBuf),
}

impl FromStr for Output {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "-" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

impl Output {
    /// Writes bytes that are not for a terminal.
    pub(super) fn write_binary(&self, bytes: &[u8]) -> Result<()> {
        if *self == Self::Stdout && io::stdout().is_terminal() {
            bail!("a module is not for a terminal; name a file with --output, or redirect");
        }
        self.write(bytes)
    }

    /// Writes. A file appears complete or not at all, so that whoever watches it never reads half of it.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Stdout => out(bytes),
            Self::File(path) => {
                replace(path, bytes).with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }
}

/// Writes to standard output. A reader that has left (`| head`) is no error.
pub(super) fn out(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let is_plain = fs::metadata(path).map_or(true, |meta| meta.is_file());
    if !is_plain {
        // A pipe or a device is written to, not exchanged.
        return fs::write(path, bytes);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let result = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}
