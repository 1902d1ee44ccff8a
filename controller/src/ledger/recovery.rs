//! What the state directory says when a controller starts.
//!
//! The newest whole snapshot is loaded and all logs from its number on are replayed. A ledger is continued only if
//! nothing that was acknowledged can be missing: continuing with less would make counters go back under the same
//! series, and Prometheus takes that for a reset and adds the whole count again. So:
//! - an unfinished last frame was never acknowledged: it is cut off;
//! - damage anywhere else, a missing log, or a log that ends before the machine's last restart (its tail may never
//!   have reached the disk): a new ledger begins at zero. Damaged files are set aside, not deleted;
//! - the log of another owner, or of a term after which somebody else may have led: a new ledger begins at zero.

use std::{
    fs,
    io::{self, BufReader},
};

use gaugeway_aggregate::{
    Aggregate,
    state::{LoadError, Loader},
};
use gaugeway_wire::LedgerEpoch;

use super::{
    Owner,
    directory::{Directory, Kind, Name},
    frame::Next,
    header::{self, HeaderError, Identity},
};

/// What was found.
#[derive(Debug)]
pub(super) struct Recovery {
    /// The ledger to continue; `None` begins a new one.
    pub(super) found: Option<Found>,
    /// No number up to this one is free.
    pub(super) highest: u64,
    /// Files that were set aside.
    pub(super) set_aside: u64,
}

/// A ledger to continue.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) aggregate: Aggregate,
    pub(super) epoch: LedgerEpoch,
    /// Who wrote it last.
    pub(super) owner: Owner,
    /// Number of the snapshot it was loaded from.
    pub(super) snapshot: u64,
    pub(super) snapshot_bytes: u64,
    /// Number of the log to begin.
    pub(super) next: u64,
    /// A log whose last frame was cut, and how far it is good.
    pub(super) torn: Option<(Name, u64)>,
}

/// Why a ledger is not continued.
#[derive(Debug, thiserror::Error)]
enum Loss {
    #[error("{0} is missing")]
    Missing(Name),
    #[error("{0}: {1}")]
    Header(Name, HeaderError),
    #[error("{0} is damaged after byte {1}")]
    Damaged(Name, u64),
    #[error("{0} has a record that cannot be applied: {1}")]
    Record(Name, String),
    #[error("{0} cannot be read: {1}")]
    Io(Name, io::Error),
    #[error("the machine restarted before {0} was closed, its end may be missing")]
    Restarted(Name),
    #[error("{0} could not be continued when the disk failed, later reports are missing")]
    Behind(Name),
    #[error("it was written by {0}, and another may have led since")]
    Owner(Owner),
}

impl Loss {
    /// Whether the files are good but behind: worthless, and no evidence of anything.
    const fn is_behind(&self) -> bool {
        matches!(self, Self::Restarted(_) | Self::Behind(_) | Self::Owner(_))
    }
}

/// Reads the directory; `continues` says whose ledger may be continued.
pub(super) fn recover(
    dir: &Directory,
    boot: &str,
    continues: Option<&Owner>,
) -> io::Result<Recovery> {
    dir.remove_unfinished()?;
    let names = dir.list()?;
    let mut recovery = Recovery {
        found: None,
        highest: names.iter().map(|name| name.number).max().unwrap_or(0),
        set_aside: 0,
    };
    if let Some(&stale) = names.iter().find(|name| name.kind == Kind::Stale) {
        recovery.give_up(dir, &Loss::Behind(stale))?;
        return Ok(recovery);
    }
    match recovery.newest_snapshot(dir, &names)? {
        Some(loaded) => {
            let names = recovery.without_strays(dir, names, &loaded)?;
            match replay_all(dir, loaded, &names, boot) {
                Ok(found) if continues == Some(&found.owner) => recovery.found = Some(found),
                Ok(found) => recovery.give_up(dir, &Loss::Owner(found.owner))?,
                Err(loss) => recovery.give_up(dir, &loss)?,
            }
        }
        None => {
            if let Some(&log) = names.iter().find(|name| name.kind == Kind::Log) {
                recovery.give_up(dir, &Loss::Missing(Name::snapshot(log.number)))?;
            }
        }
    }
    Ok(recovery)
}

struct Loaded {
    aggregate: Aggregate,
    identity: Identity,
    number: u64,
    bytes: u64,
}

impl Recovery {
    /// Loads the newest whole snapshot; damaged ones are set aside. The one before is kept for this.
    fn newest_snapshot(&mut self, dir: &Directory, names: &[Name]) -> io::Result<Option<Loaded>> {
        for &name in names
            .iter()
            .rev()
            .filter(|name| name.kind == Kind::Snapshot)
        {
            match load(dir, name) {
                Ok(loaded) => return Ok(Some(loaded)),
                Err(loss) => self.set_aside(dir, name, &loss)?,
            }
        }
        Ok(None)
    }

    /// Sets aside logs of other ledgers that stand beyond this one's. In this one's place they are a loss.
    fn without_strays(
        &mut self,
        dir: &Directory,
        mut names: Vec<Name>,
        loaded: &Loaded,
    ) -> io::Result<Vec<Name>> {
        let chained = (loaded.number..)
            .take_while(|&number| names.contains(&Name::log(number)))
            .last()
            .unwrap_or(loaded.number);
        let beyond = |name: &Name| name.kind == Kind::Log && name.number > chained;
        for name in names
            .extract_if(.., |name| beyond(name))
            .collect::<Vec<_>>()
        {
            match foreign(dir, name, &loaded.identity) {
                Some(loss) => self.set_aside(dir, name, &loss)?,
                None => names.push(name),
            }
        }
        Ok(names)
    }

    fn set_aside(&mut self, dir: &Directory, name: Name, loss: &Loss) -> io::Result<()> {
        let aside = dir.set_aside(name)?;
        self.set_aside += 1;
        tracing::error!(file = %aside.display(), reason = %loss, "set aside a file of the ledger");
        Ok(())
    }

    /// A new ledger has to begin: clears the directory for it.
    fn give_up(&mut self, dir: &Directory, loss: &Loss) -> io::Result<()> {
        let directory = dir.path().display();
        let text = "the ledger cannot be continued; a new one begins, its counters start at zero";
        if matches!(loss, Loss::Owner(_)) {
            // Every change of the leader.
            tracing::info!(%directory, reason = %loss, "{text}");
        } else {
            tracing::error!(%directory, reason = %loss, "{text}");
        }
        for name in dir.list()? {
            if loss.is_behind() {
                fs::remove_file(dir.of(name))?;
            } else {
                self.set_aside(dir, name, loss)?;
            }
        }
        dir.sync()
    }
}

/// Why a log is not of this ledger.
fn foreign(dir: &Directory, name: Name, identity: &Identity) -> Option<Loss> {
    let (file, length) = match dir.open_file(name) {
        Ok(open) => open,
        Err(error) => return Some(Loss::Io(name, error)),
    };
    match header::read(BufReader::new(file), length, name) {
        Ok((of, _)) if of.epoch == identity.epoch => None,
        Ok(_) => Some(Loss::Header(name, HeaderError::Misplaced)),
        Err(error) => Some(Loss::Header(name, error)),
    }
}

fn load(dir: &Directory, name: Name) -> Result<Loaded, Loss> {
    let (file, length) = dir.open_file(name).map_err(|error| Loss::Io(name, error))?;
    let (identity, mut frames) = header::read(BufReader::new(file), length, name)
        .map_err(|error| Loss::Header(name, error))?;
    let mut loader = Loader::new();
    let unusable = |error: LoadError| Loss::Record(name, error.to_string());
    loop {
        match frames.next().map_err(|error| Loss::Io(name, error))? {
            Next::Record(record) => loader.add(record).map_err(unusable)?,
            Next::End => break,
            Next::Torn | Next::Corrupt => return Err(Loss::Damaged(name, frames.good())),
        }
    }
    Ok(Loaded {
        aggregate: loader.finish().map_err(unusable)?,
        identity,
        number: name.number,
        bytes: length,
    })
}

/// How a log ended.
#[derive(Clone, Copy)]
enum End {
    /// After a whole frame.
    Whole,
    /// Inside a frame that begins there.
    Torn(u64),
    /// Inside its header.
    Begun,
}

struct Replay<'a> {
    dir: &'a Directory,
    boot: &'a str,
    loaded: Loaded,
    owner: Owner,
}

fn replay_all(dir: &Directory, loaded: Loaded, names: &[Name], boot: &str) -> Result<Found, Loss> {
    let first = loaded.number;
    let last = names
        .iter()
        .filter(|name| name.kind == Kind::Log && name.number >= first)
        .map(|name| name.number)
        .max()
        .unwrap_or(first);
    let mut replay = Replay {
        dir,
        boot,
        owner: loaded.identity.owner.clone(),
        loaded,
    };
    let mut end = End::Begun;
    for number in first..=last {
        let name = Name::log(number);
        if !names.contains(&name) {
            return Err(Loss::Missing(name));
        }
        end = replay.log(name)?;
        if number < last && !matches!(end, End::Whole) {
            return Err(Loss::Missing(Name::log(number)));
        }
    }
    let Replay { loaded, owner, .. } = replay;
    Ok(Found {
        aggregate: loaded.aggregate,
        epoch: loaded.identity.epoch,
        owner,
        snapshot: loaded.number,
        snapshot_bytes: loaded.bytes,
        next: match end {
            End::Begun => last,
            End::Whole | End::Torn(_) => last + 1,
        },
        torn: match end {
            End::Torn(good) => Some((Name::log(last), good)),
            End::Whole | End::Begun => None,
        },
    })
}

impl Replay<'_> {
    /// Applies a log's records.
    fn log(&mut self, name: Name) -> Result<End, Loss> {
        let io = |error| Loss::Io(name, error);
        let (file, length) = self.dir.open_file(name).map_err(io)?;
        let (identity, mut frames) = match header::read(BufReader::new(file), length, name) {
            Ok(read) => read,
            Err(HeaderError::Torn) => return Ok(End::Begun),
            Err(error) => return Err(Loss::Header(name, error)),
        };
        if identity.epoch != self.loaded.identity.epoch {
            return Err(Loss::Header(name, HeaderError::Misplaced));
        }
        let mut closed = false;
        let end = loop {
            match frames.next().map_err(io)? {
                Next::Record([]) => closed = true,
                Next::Record(record) => {
                    closed = false;
                    let applied = self.loaded.aggregate.replay(record);
                    applied.map_err(|error| Loss::Record(name, error.to_string()))?;
                }
                Next::End => break End::Whole,
                Next::Torn => break End::Torn(frames.good()),
                Next::Corrupt => return Err(Loss::Damaged(name, frames.good())),
            }
        };
        if identity.boot != self.boot && !closed {
            return Err(Loss::Restarted(name));
        }
        self.owner = identity.owner;
        Ok(end)
    }
}
