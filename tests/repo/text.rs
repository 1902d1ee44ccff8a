//! What is written in files, and what is not.

use crate::files::{File, ending_with};

/// The only files with `unsafe`: the guest's side of the host's ABI, and allocators that count for tests.
const UNSAFE: [&str; 6] = [
    "filter/src/abi.rs",
    "filter/src/abi/kong.rs",
    "filter/src/abi/tests.rs",
    "filter/core/tests/allocations.rs",
    "controller/aggregate/tests/memory.rs",
    "wire/tests/amplification.rs",
];

#[test]
fn unsafe_code_stays_in_its_place() {
    for file in ending_with(".rs")
        .iter()
        .filter(|file| !UNSAFE.contains(&file.path.as_str()) && !is_this(file))
    {
        for (number, line) in code(file) {
            let found = line.contains("unsafe {")
                || line.contains("unsafe fn")
                || line.contains("unsafe extern")
                || line.contains("unsafe impl")
                || line.contains("allow(unsafe_code")
                || line.contains("unsafe(");
            assert!(
                !found,
                "{}:{number}: unsafe code is allowed in {UNSAFE:?} only",
                file.path
            );
        }
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for file in ending_with(".rs") {
        assert!(
            file.text.starts_with("//!"),
            "{}: begin with a //! header",
            file.path
        );
    }
}

/// A pause that is itself the input (a slow client) says so: `// Stimulus: …` right before it. The rig is left out: its
/// upstreams are slow on purpose, and the one loop that waits for conditions lives there.
#[test]
fn tests_wait_for_conditions_not_for_time() {
    for file in ending_with(".rs") {
        if file.path.starts_with("tests/rig/") || is_this(&file) {
            continue;
        }
        let in_tests = file.path.starts_with("tests/") || file.path.contains("/tests/");
        let mut testing = in_tests;
        let mut before = "";
        for (number, line) in file.text.lines().enumerate() {
            testing |= line.trim() == "#[cfg(test)]";
            let sleeps = testing && line.contains("sleep(") && !line.trim_start().starts_with("//");
            assert!(
                !sleeps || before.trim_start().starts_with("// Stimulus: "),
                "{}:{}: wait for a condition, or pause the clock",
                file.path,
                number + 1
            );
            before = line;
        }
    }
}

#[test]
fn no_file_names_a_machine_or_a_mirror() {
    // In two halves each, else this file would be found.
    let forbidden = [
        ["/wo", "rk/"],
        ["/tmp/", "wt"],
        ["/ro", "ot/"],
        ["../sha", "red"],
        ["python", "hosted.org"],
        ["deb.debi", "an.org"],
        ["index.crat", "es.io"],
        ["static.crat", "es.io"],
        ["static.rust-", "lang.org"],
    ]
    .map(|halves| halves.concat());
    for file in ending_with("") {
        for (number, line) in file.text.lines().enumerate() {
            let found = forbidden.iter().find(|word| line.contains(word.as_str()));
            assert!(
                found.is_none(),
                "{}:{}: names {found:?}",
                file.path,
                number + 1
            );
        }
    }
}

/// These rules, which name what they look for.
fn is_this(file: &File) -> bool {
    file.path == "tests/repo/text.rs"
}

/// Numbered lines without comments of a line of their own.
fn code(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let lines = file
        .text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}
