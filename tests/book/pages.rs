//! The pages, and what is fenced in them.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};

/// Documents beside the book whose snippets are held to the same.
const BESIDE: [&str; 2] = ["README.md", "charts/gaugeway/README.md"];

/// A Markdown file.
pub(crate) struct Page {
    /// From the root.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced block.
#[derive(Clone)]
pub(crate) struct Block<'a> {
    pub(crate) language: &'a str,
    /// Of its first line.
    pub(crate) line: usize,
    pub(crate) lines: Vec<&'a str>,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of the book's pages, without its summary.
pub(crate) fn names() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root().join("docs"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") && name != "SUMMARY.md" {
            names.insert(name);
        }
    }
    Ok(names)
}

/// All pages, and the documents beside the book.
pub(crate) fn pages() -> Result<Vec<Page>> {
    let pages = names()?.into_iter().map(|name| format!("docs/{name}"));
    let all = pages.chain(BESIDE.map(str::to_owned));
    all.map(|path| {
        let text = fs::read_to_string(root().join(&path)).with_context(|| path.clone())?;
        Ok(Page { path, text })
    })
    .collect()
}

impl Page {
    /// Its fenced blocks in a language.
    pub(crate) fn blocks(&self, language: &str) -> Vec<Block<'_>> {
        let mut found: Vec<Block<'_>> = Vec::new();
        let mut inside = false;
        for (index, line) in self.text.lines().enumerate() {
            match line.trim_start().strip_prefix("```") {
                Some(_) if inside => inside = false,
                Some(language) => {
                    inside = true;
                    found.push(Block {
                        language: language.trim(),
                        line: index + 2,
                        lines: Vec::new(),
                    });
                }
                None if inside => found.last_mut().unwrap().lines.push(line),
                None => {}
            }
        }
        found.retain(|block| block.language == language);
        found
    }
}

/// Targets of the links in the summary.
fn summary(text: &str) -> BTreeSet<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_summary_has_every_page() -> Result<()> {
    let listed = summary(&fs::read_to_string(root().join("docs/SUMMARY.md"))?);
    assert_eq!(listed, names()?);
    Ok(())
}

#[test]
fn blocks_are_told_apart() {
    let page = Page {
        path: String::new(),
        text: "a\n```sh\none\n```\n```yaml\ntwo\n```\n```sh\nthree\nfour\n```\n".to_owned(),
    };
    let shell = page.blocks("sh");
    assert_eq!(shell.len(), 2);
    assert_eq!(shell[1].lines, ["three", "four"]);
    assert_eq!(shell[1].line, 9);
}
