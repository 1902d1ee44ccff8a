//! The state directory: its lock, the names in it, and files that are set aside.
//!
//! ```text
//! lock                  held while a controller uses the directory
//! snapshot-0000000003   the totals at the beginning of log 3
//! log-0000000003        what was applied since
//! log-0000000004        begun while snapshot 4 is being written
//! stale-0000000003      a log that could not be continued: the files here are behind what was acknowledged
//! *.corrupt-1           set aside; never read again, never deleted
//! ```

use std::{
    fmt, fs,
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::StartError;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Log,
    Snapshot,
    Stale,
}

/// A file of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) kind: Kind,
    pub(super) number: u64,
}

/// The state directory, locked for this process.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

/// Ending of a file that is being written.
const UNFINISHED: &str = ".tmp";

impl Kind {
    const ALL: [Self; 3] = [Self::Log, Self::Snapshot, Self::Stale];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Log => "log-",
            Self::Snapshot => "snapshot-",
            Self::Stale => "stale-",
        }
    }
}

impl Name {
    pub(super) const fn log(number: u64) -> Self {
        Self {
            kind: Kind::Log,
            number,
        }
    }

    pub(super) const fn snapshot(number: u64) -> Self {
        Self {
            kind: Kind::Snapshot,
            number,
        }
    }

    fn parse(file: &str) -> Option<Self> {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| file.starts_with(kind.prefix()))?;
        let name = Self {
            kind,
            number: file.strip_prefix(kind.prefix())?.parse().ok()?,
        };
        (name.to_string() == file).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:010}", self.kind.prefix(), self.number)
    }
}

impl Directory {
    /// Makes the directory if need be and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, StartError> {
        let failed = |error| StartError::Directory(path.to_owned(), error);
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StartError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn of(&self, name: Name) -> PathBuf {
        self.path.join(name.to_string())
    }

    /// Where a file is written until it is whole.
    pub(super) fn unfinished(&self, name: Name) -> PathBuf {
        self.path.join(format!("{name}{UNFINISHED}"))
    }

    /// The ledger's files, ascending.
    pub(super) fn list(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().to_str().and_then(Name::parse));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Removes what a killed process was writing.
    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let file = entry.file_name();
            let whole = file.to_str().and_then(|file| file.strip_suffix(UNFINISHED));
            if whole.and_then(Name::parse).is_some() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn open_file(&self, name: Name) -> io::Result<(File, u64)> {
        let file = File::open(self.of(name))?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    /// Renames a file so that it is never read again; gives its new name.
    pub(super) fn set_aside(&self, name: Name) -> io::Result<PathBuf> {
        for nth in 1_u32.. {
            let aside = self.path.join(format!("{name}.corrupt-{nth}"));
            if !aside.try_exists()? {
                fs::rename(self.of(name), &aside)?;
                return Ok(aside);
            }
        }
        Err(io::Error::other("too many files are set aside"))
    }

    /// Marks that the files here are behind what was acknowledged.
    pub(super) fn mark_stale(&self, number: u64) -> io::Result<()> {
        let stale = Name {
            kind: Kind::Stale,
            number,
        };
        fs::rename(self.of(Name::log(number)), self.of(stale))
            .or_else(|_| File::create(self.of(stale)).map(drop))?;
        self.sync()
    }

    /// Removes all files of the ledger that `which` picks.
    pub(super) fn remove(&self, which: impl Fn(Name) -> bool) -> io::Result<()> {
        for name in self.list()?.into_iter().filter(|name| which(*name)) {
            fs::remove_file(self.of(name))?;
        }
        Ok(())
    }

    /// Makes renames and removals lasting.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [Name::log(1), Name::snapshot(12_345_678_901)] {
            assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
        for other in [
            "log-1",
            "log-0000000001.tmp",
            "log-+000000001",
            "lock",
            "snapshot-",
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_directory_is_used_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        let second = Directory::open(dir.path());
        assert!(matches!(second, Err(StartError::Locked(_))));
        drop(first);
        Directory::open(dir.path()).unwrap();
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Directory::open(temp.path()).unwrap();
        for file in [
            "notes.txt",
            "notes.tmp",
            "snapshot-0000000001.tmp",
            "log-0000000002",
        ] {
            fs::write(temp.path().join(file), "x").unwrap();
        }
        dir.remove_unfinished().unwrap();
        assert_eq!(dir.list().unwrap(), [Name::log(2)]);
        assert!(temp.path().join("notes.tmp").exists());
        assert!(!temp.path().join("snapshot-0000000001.tmp").exists());
        dir.set_aside(Name::log(2)).unwrap();
        fs::write(temp.path().join("log-0000000002"), "y").unwrap();
        let aside = dir.set_aside(Name::log(2)).unwrap();
        assert!(aside.ends_with("log-0000000002.corrupt-2"));
        assert!(dir.list().unwrap().is_empty());
    }
}
