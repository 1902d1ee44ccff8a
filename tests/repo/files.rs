//! The repository's files, as a fresh clone would have them.

use std::fs;
use std::path::{Path, PathBuf};

/// What git ignores, or keeps for itself.
const NOT_OURS: [&str; 3] = ["target", ".git", ".tools"];

/// A text file.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file whose name ends with `suffix`, ordered by path.
pub(crate) fn ending_with(suffix: &str) -> Vec<File> {
    let mut paths = Vec::new();
    collect(root(), &mut paths);
    paths.sort();
    let files = paths
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .filter_map(|path| {
            let relative = path
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .into_owned();
            // What is no text (golden bytes, images) has nothing to read.
            String::from_utf8(fs::read(&path).unwrap())
                .ok()
                .map(|text| File {
                    path: relative,
                    text,
                })
        });
    files.collect()
}

fn collect(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&entry.path(), into);
        } else if kind.is_file() {
            into.push(entry.path());
        }
    }
}

#[test]
fn the_walk_finds_this_file() {
    assert!(
        ending_with(".rs")
            .iter()
            .any(|file| file.path == "tests/repo/files.rs")
    );
}
