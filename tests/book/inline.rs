//! Commands that the text mentions in passing exist: their subcommands, and their options.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::MetadataCommand;

use crate::pages::{Page, pages, root};

/// Code within a page's text, outside of fenced blocks.
fn spans(page: &Page) -> Vec<String> {
    let mut prose = String::new();
    let mut fenced = false;
    for line in page.text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push(' ');
        }
    }
    let parts = prose.split('`').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

/// A command's words and options: `render envoy` and `--snippet` of `gaugeway render envoy --snippet > FILE`.
fn parsed(command: &str) -> (Vec<&str>, Vec<&str>) {
    let words = command.split_whitespace().skip(1);
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
    let names = words.clone().take_while(is_word).collect();
    let options = words
        .filter(|word| word.starts_with("--") && *word != "--")
        .map(|word| word.split('=').next().unwrap_or(word))
        .collect();
    (names, options)
}

#[test]
fn commands_of_gaugeway_exist_with_their_options() -> Result<()> {
    let mut seen = 0;
    for page in pages()? {
        for span in spans(&page).iter().filter(|s| s.starts_with("gaugeway ")) {
            let (names, options) = parsed(span);
            let output = Command::new(env!("CARGO_BIN_EXE_gaugeway"))
                .args(&names)
                .arg("--help")
                .output()?;
            let help = String::from_utf8_lossy(&output.stdout);
            ensure!(output.status.success(), "{}: `{span}`", page.path);
            for option in options {
                ensure!(help.contains(option), "{}: `{span}`: {option}", page.path);
            }
            seen += 1;
        }
    }
    ensure!(seen > 5, "only {seen} were found");
    Ok(())
}

/// Whether `cargo xtask` has a command, by its source: the variants of its commands.
fn of_xtask(words: &[&str]) -> Result<bool> {
    let source = fs::read_to_string(root().join("xtask/src/main.rs"))?;
    let Some((name, rest)) = words.split_first() else {
        return Ok(true);
    };
    let known = source.lines().any(|line| {
        let variant = line.strip_prefix("    ").unwrap_or_default();
        let end = variant.find([' ', ',']).unwrap_or(variant.len());
        variant[..end].to_lowercase() == *name && variant.starts_with(char::is_uppercase)
    });
    let bench = match rest {
        [bench, ..] if *name == "bench" => is_bench(bench)?,
        _ => true,
    };
    Ok(known && bench)
}

/// One that runs in an Envoy, or criterion's.
fn is_bench(name: &str) -> Result<bool> {
    let in_envoy = fs::read_to_string(root().join("xtask/src/bench.rs"))?;
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let mut targets = metadata.packages.iter().flat_map(|p| &p.targets);
    let criterion = targets.any(|target| target.is_bench() && target.name == name);
    Ok(criterion || in_envoy.contains(&format!("\"{name}\"")))
}

#[test]
fn commands_of_xtask_exist() -> Result<()> {
    let mut seen = 0;
    for page in pages()? {
        for span in spans(&page) {
            let Some(command) = span.strip_prefix("cargo xtask") else {
                continue;
            };
            let words: Vec<&str> = command
                .split_whitespace()
                .take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()))
                .collect();
            let known = of_xtask(&words).with_context(|| span.clone())?;
            ensure!(known, "{}: there is no `{span}`", page.path);
            seen += 1;
        }
    }
    ensure!(seen > 3, "only {seen} were found");
    ensure!(!of_xtask(&["deploy"])? && !of_xtask(&["bench", "moon"])?);
    Ok(())
}

#[test]
fn a_command_is_taken_apart() {
    let command = "gaugeway render envoy --snippet --listen=ADDR > FILE";
    let (names, options) = parsed(command);
    assert_eq!(names, ["render", "envoy"]);
    assert_eq!(options, ["--snippet", "--listen"]);
}
