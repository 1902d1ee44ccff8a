//! The built book: each link within it leads to a file, and to an anchor of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use gaugeway_rig::tools::MDBOOK;

use crate::pages::{names, root};

fn build(into: &Path) -> Result<()> {
    let output = Command::new(MDBOOK.find()?)
        .args(["build", "--dest-dir"])
        .arg(into)
        .arg(root().join("docs"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mdbook: {said}");
    ensure!(
        !said.contains("WARN") && !said.contains("ERROR"),
        "mdbook: {said}"
    );
    Ok(())
}

/// Values of one attribute in a page of HTML.
fn attributes(html: &str, name: &str) -> BTreeSet<String> {
    html.split(&format!(" {name}=\""))
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(|value| value.replace("&amp;", "&"))
        .collect()
}

/// The built pages by path from the book's root.
fn built(directory: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "html") {
            found.insert(
                path.strip_prefix(directory)?.to_owned(),
                fs::read_to_string(&path)?,
            );
        }
    }
    Ok(found)
}

/// Links that lead nowhere, as `page: link`.
fn broken(directory: &Path, pages: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let mut broken = Vec::new();
    for (page, html) in pages {
        for name in ["href", "src"] {
            for link in attributes(html, name) {
                if !link.contains("://") && !leads(directory, pages, page, &link) {
                    broken.push(format!("{}: {link}", page.display()));
                }
            }
        }
    }
    broken
}

fn leads(directory: &Path, pages: &BTreeMap<PathBuf, String>, from: &Path, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        from.to_owned()
    } else {
        PathBuf::from(path)
    };
    if anchor.is_empty() {
        return directory.join(&target).exists();
    }
    pages
        .get(&target)
        .is_some_and(|html| attributes(html, "id").contains(anchor))
}

#[test]
fn it_builds_and_its_links_lead_somewhere() -> Result<()> {
    if !MDBOOK.or_skip()? {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    build(directory.path())?;
    let pages = built(directory.path())?;
    for name in names()? {
        let page = PathBuf::from(name).with_extension("html");
        assert!(pages.contains_key(&page), "{} is missing", page.display());
    }
    // Served from the root of a site only: its links are absolute.
    let within: BTreeMap<_, _> = pages
        .into_iter()
        .filter(|(path, _)| path != Path::new("404.html"))
        .collect();
    let broken = broken(directory.path(), &within);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

#[test]
fn broken_links_are_found() {
    let nowhere = Path::new("/nonexistent");
    let page = |html: &str| BTreeMap::from([(PathBuf::from("a.html"), html.to_owned())]);
    let links =
        page(r##"<h1 id="x"></h1><a href="#x"></a><a href="a.html#y"></a><img src="b.svg">"##);
    assert_eq!(
        broken(nowhere, &links),
        ["a.html: a.html#y", "a.html: b.svg"]
    );
}
