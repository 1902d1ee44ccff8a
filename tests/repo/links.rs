//! Links between the repository's Markdown files lead somewhere.

use std::collections::BTreeMap;

use crate::files::{File, ending_with, root};

#[test]
fn links_in_documents_resolve() {
    let documents = ending_with(".md");
    let anchors: BTreeMap<&str, Vec<String>> = documents
        .iter()
        .map(|file| (file.path.as_str(), headings(&file.text)))
        .collect();
    let broken: Vec<String> = documents
        .iter()
        .flat_map(|file| links(&file.text).into_iter().map(move |link| (file, link)))
        .filter(|(file, link)| !resolves(file, link, &anchors))
        .map(|(file, link)| format!("{}: {link}", file.path))
        .collect();
    assert!(
        broken.is_empty(),
        "links that lead nowhere:\n{}",
        broken.join("\n")
    );
}

fn resolves(file: &File, link: &str, anchors: &BTreeMap<&str, Vec<String>>) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() {
        file.path.clone()
    } else {
        relative_to(&file.path, path)
    };
    let exists = root().join(&target).exists();
    exists
        && (anchor.is_empty()
            || anchors
                .get(target.as_str())
                .is_none_or(|known| known.iter().any(|a| a == anchor)))
}

/// `path` as seen from `document`, from the root.
fn relative_to(document: &str, path: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Targets of `[text](target)` that are not on the web, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        for rest in line.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// Anchors as GitHub makes them from headings.
fn headings(text: &str) -> Vec<String> {
    let titles = prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim());
    let slug = |title: &str| {
        let kept = title
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    titles.map(slug).collect()
}

/// Lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[test]
fn a_broken_link_is_found() {
    let file = File {
        path: "docs/a.md".into(),
        text: "# One thing\n[x](../gone.md) [y](#one-thing) [z](#two)".into(),
    };
    let anchors = BTreeMap::from([("docs/a.md", headings(&file.text))]);
    let links = links(&file.text);
    assert_eq!(links, ["../gone.md", "#one-thing", "#two"]);
    assert!(!resolves(&file, "../gone.md", &anchors));
    assert!(resolves(&file, "../Cargo.toml", &anchors));
    assert_eq!(headings(&file.text), ["one-thing"]);
}
