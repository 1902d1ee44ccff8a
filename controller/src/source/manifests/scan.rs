//! The directory's files, and what follows from them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use gaugeway_index::{Object, ObjectId};

use super::parse::{Format, Parsed, Problem, parse};
use crate::mapping::Event;

/// Directories, at most.
const MAX_DIRECTORIES: usize = 4096;
/// Files, at most.
const MAX_FILES: usize = 20_000;
/// A file's length in bytes, at most.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// What the files said last.
#[derive(Debug)]
pub(super) struct Scanner {
    directory: PathBuf,
    files: BTreeMap<PathBuf, FileState>,
    /// What the mapping was told.
    told: HashMap<ObjectId, Arc<Object>>,
    hasher: RandomState,
    said: Vec<String>,
}

#[derive(Debug, Default)]
struct FileState {
    /// Of the content read last; `None` when it could not be read.
    content: Option<u64>,
    good: Option<Good>,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Good {
    objects: Vec<Arc<Object>>,
    ignored: usize,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// What the mapping is to be told.
    pub(super) events: Vec<Event>,
    /// What is wrong; empty if nothing is.
    pub(super) problems: Vec<String>,
    /// Whether that is something else than the scan before found.
    pub(super) news: bool,
    pub(super) files: FileCounts,
    pub(super) objects: usize,
    pub(super) ignored: usize,
}

/// Files by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileCounts {
    pub(super) ok: usize,
    /// Bad, its last good state is in force.
    pub(super) stale: usize,
    /// Bad, and never was good.
    pub(super) bad: usize,
}

impl Scanner {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            files: BTreeMap::new(),
            told: HashMap::new(),
            hasher: RandomState::new(),
            said: Vec::new(),
        }
    }

    /// Reads everything.
    pub(super) fn scan(&mut self) -> Scan {
        let mut problems = Vec::new();
        match self.walk() {
            Ok(paths) => self.read(paths),
            // Not one file is known to be gone.
            Err(problem) => problems.push(problem),
        }
        for state in self.files.values() {
            problems.extend_from_slice(&state.problems);
        }
        let (objects, doubles) = self.merge();
        problems.extend(doubles);
        let mut scan = Scan {
            files: self.counts(),
            objects: objects.len(),
            ignored: self.good().map(|(_, good)| good.ignored).sum(),
            news: problems != self.said,
            events: self.difference(objects),
            problems: Vec::new(),
        };
        self.said.clone_from(&problems);
        scan.problems = problems;
        scan
    }

    /// Manifest files below the directory.
    fn walk(&self) -> Result<Vec<PathBuf>, String> {
        let mut paths = Vec::new();
        walk(&self.directory, &mut HashSet::new(), &mut paths).map_err(|error| {
            format!(
                "{}: {error}; what was read from the directory before stays in force",
                self.directory.display()
            )
        })?;
        if paths.len() > MAX_FILES {
            return Err(format!(
                "{}: more than {MAX_FILES} manifest files; what was read before stays in force. \
                 Use fewer, larger files",
                self.directory.display()
            ));
        }
        Ok(paths)
    }

    fn read(&mut self, paths: Vec<PathBuf>) {
        let mut old = std::mem::take(&mut self.files);
        for (path, format) in paths
            .into_iter()
            .filter_map(|path| Format::of(&path).map(|format| (path, format)))
        {
            let mut state = old.remove(&path).unwrap_or_default();
            match read_file(&path) {
                Ok(text) => self.take(&path, &text, format, &mut state),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    state.content = None;
                    state.problems = vec![describe(&path, None, &error, state.good.is_some())];
                }
            }
            self.files.insert(path, state);
        }
    }

    fn take(&self, path: &Path, text: &str, format: Format, state: &mut FileState) {
        let content = Some(self.hasher.hash_one(text));
        if state.content == content {
            return;
        }
        state.content = content;
        match parse(text, format) {
            Ok(parsed) => {
                state.good = Some(Good::from(parsed));
                state.problems.clear();
            }
            Err(problems) => {
                let stale = state.good.is_some();
                let told = problems.iter();
                let told = told.map(|p| describe(path, Some(p), &p.message, stale));
                state.problems = told.collect();
            }
        }
    }

    fn good(&self) -> impl Iterator<Item = (&Path, &Good)> {
        let files = self.files.iter();
        files.filter_map(|(path, state)| Some((path.as_path(), state.good.as_ref()?)))
    }

    /// All objects; of an object in several files the last file's, in the order of paths.
    fn merge(&self) -> (HashMap<ObjectId, Arc<Object>>, Vec<String>) {
        let mut objects: HashMap<ObjectId, (Arc<Object>, &Path)> = HashMap::new();
        let mut doubles = Vec::new();
        for (path, good) in self.good() {
            for object in &good.objects {
                let id = object.id();
                let entry = (Arc::clone(object), path);
                if let Some((_, before)) = objects.insert(id.clone(), entry) {
                    doubles.push(format!(
                        "{id} is defined in {} and in {}; the latter is used",
                        before.display(),
                        path.display()
                    ));
                }
            }
        }
        let objects = objects.into_iter();
        (objects.map(|(id, (o, _))| (id, o)).collect(), doubles)
    }

    /// What changed since the mapping was told last; it is told now.
    fn difference(&mut self, objects: HashMap<ObjectId, Arc<Object>>) -> Vec<Event> {
        let gone = self.told.keys().filter(|id| !objects.contains_key(id));
        let gone = gone.cloned().map(Event::Delete);
        let same = |id, object: &Arc<Object>| {
            let told = self.told.get(id);
            told.is_some_and(|told| Arc::ptr_eq(told, object) || told == object)
        };
        let changed = objects.iter().filter(|(id, object)| !same(id, object));
        let changed = changed.map(|(_, object)| Event::Apply(Object::clone(object)));
        // First what is there, then what is gone: an address that moves has an owner throughout.
        let events = changed.chain(gone).collect();
        self.told = objects;
        events
    }

    fn counts(&self) -> FileCounts {
        let mut counts = FileCounts::default();
        for state in self.files.values() {
            let slot = match (state.problems.is_empty(), &state.good) {
                (true, _) => &mut counts.ok,
                (false, Some(_)) => &mut counts.stale,
                (false, None) => &mut counts.bad,
            };
            *slot += 1;
        }
        counts
    }
}

impl From<Parsed> for Good {
    fn from(parsed: Parsed) -> Self {
        Self {
            objects: parsed.objects.into_iter().map(Arc::new).collect(),
            ignored: parsed.ignored,
        }
    }
}

/// Hidden entries are left out: editors' leftovers, and the directories behind a mounted ConfigMap's links. Links are
/// followed, each directory is read once.
fn walk(directory: &Path, seen: &mut HashSet<PathBuf>, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    if !seen.insert(fs::canonicalize(directory)?) || seen.len() > MAX_DIRECTORIES {
        return Ok(());
    }
    let mut entries = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable();
    for path in entries.into_iter().filter(|path| !is_hidden(path)) {
        match fs::metadata(&path) {
            Ok(of) if of.is_dir() => walk(&path, seen, paths)?,
            Ok(of) if of.is_file() && Format::of(&path).is_some() => paths.push(path),
            // Other kinds of files, links to nothing, and what vanished meanwhile.
            _ => {}
        }
        if paths.len() > MAX_FILES {
            break;
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn read_file(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > MAX_FILE_BYTES {
        let bound = MAX_FILE_BYTES >> 20;
        return Err(io::Error::other(format!(
            "longer than {bound} MiB; split it"
        )));
    }
    fs::read_to_string(path)
}

fn describe(
    path: &Path,
    at: Option<&Problem>,
    message: &dyn std::fmt::Display,
    stale: bool,
) -> String {
    let place = at.map(|p| format!(":{} (document {})", p.line, p.document));
    let place = place.unwrap_or_default();
    let instead = if stale {
        "the file's last good state stays in force"
    } else {
        "the file is ignored until it is corrected"
    };
    format!("{}{place}: {message}; {instead}", path.display())
}

#[cfg(test)]
mod tests;
