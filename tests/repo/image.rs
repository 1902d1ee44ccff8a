//! The image is built from what `.dockerignore` lets in: all that the build reads must be there.

use std::{fs, process::Command};

use crate::files::{self, File};

/// The files that a build of the image sees.
fn let_in() -> Vec<File> {
    let ignore = fs::read_to_string(files::root().join(".dockerignore")).unwrap();
    let named: Vec<&str> = ignore
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let is_named = |path: &str| {
        let mut named = named.iter();
        named.any(|name| {
            let rest = path.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let mut all = files::ending_with("");
    all.retain(|file| is_named(&file.path));
    all
}

#[test]
fn the_workspace_is_whole_where_the_image_is_built() {
    let place = tempfile::tempdir().unwrap();
    for file in let_in() {
        let to = place.path().join(&file.path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, file.text).unwrap();
    }
    // Reads every manifest, and looks for every target.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--no-deps"])
        .args(["--format-version", "1"])
        .current_dir(place.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "add it to .dockerignore: {said}");
}

#[test]
fn what_the_program_includes_is_there_where_the_image_is_built() {
    let files = let_in();
    let mut seen = 0;
    let built = ["src/", "controller/", "wire/", "filter/", "tests/rig/"];
    for file in &files {
        let is_built = built.iter().any(|of| file.path.starts_with(of));
        if !is_built || !file.path.ends_with(".rs") {
            continue;
        }
        let (directory, _) = file.path.rsplit_once('/').unwrap();
        for include in ["include_str!(\"", "include_bytes!(\""] {
            for rest in file.text.split(include).skip(1) {
                let named = rest.split('"').next().unwrap();
                let path = joined(directory, named);
                let exists = fs::exists(files::root().join(&path)).unwrap();
                let is_in = files.iter().any(|file| file.path == path);
                // Bytes that are no text are in no list of files.
                let is_golden = path.contains("/golden/");
                assert!(exists && (is_in || is_golden), "{}: {path}", file.path);
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "only {seen} were found");
}

/// `a/b` and `../c` are `a/c`.
fn joined(directory: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = directory.split('/').collect();
    for part in relative.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
