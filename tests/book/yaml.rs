//! YAML in the book: all of it reads, its objects are what an API server takes, and what it says to the filter is a
//! configuration that the filter takes.

use anyhow::{Context as _, Result};
use gaugeway_filter_core::config::{Config, Gateway};
use serde_json::Value;

use crate::{
    objects::Objects,
    pages::{Block, pages},
};

fn read(block: &Block<'_>) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(&block.lines.join("\n"))?)
}

/// Every object that names the filter's two required members, at any depth.
fn configurations<'a>(value: &'a Value, into: &mut Vec<&'a Value>) {
    if value["gateway"].is_string() && value["cluster"].is_string() {
        into.push(value);
    }
    match value {
        Value::Object(members) => members.values().for_each(|v| configurations(v, into)),
        Value::Array(items) => items.iter().for_each(|v| configurations(v, into)),
        _ => {}
    }
}

#[test]
fn yaml_reads_and_the_filter_takes_its_configuration() -> Result<()> {
    let objects = Objects::read()?;
    let (mut taken, mut checked) = (0, 0);
    for page in pages()? {
        for block in page.blocks("yaml") {
            let place = format!("{}:{}", page.path, block.line);
            for document in read(&block).with_context(|| place.clone())? {
                if document["kind"].is_string() && document["apiVersion"].is_string() {
                    objects.check(&document).with_context(|| place.clone())?;
                    checked += 1;
                }
                let mut found = Vec::new();
                configurations(&document, &mut found);
                for configuration in found {
                    let json = serde_json::to_vec(configuration)?;
                    Config::parse(&json, Gateway::Envoy).with_context(|| place.clone())?;
                    taken += 1;
                }
            }
        }
    }
    assert!(checked >= 5, "only {checked} objects were found");
    assert!(taken >= 2, "the configurations were not found");
    Ok(())
}
