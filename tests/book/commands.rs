//! Every command in the book is run as it stands there, page by page, in the order of the page.

use anyhow::{Context as _, Result};

use crate::{
    objects::Objects,
    pages::{Block, Page, pages},
    stage::Stage,
};

/// What of a block is to be run: all of `sh`, of `console` what follows a prompt.
fn script(block: &Block<'_>) -> String {
    if block.language == "sh" {
        return block.lines.join("\n");
    }
    let mut script = Vec::new();
    let mut goes_on = false;
    for line in &block.lines {
        let command = line.strip_prefix("$ ").or(goes_on.then_some(*line));
        goes_on = command.is_some_and(|command| command.ends_with('\\'));
        script.extend(command);
    }
    script.join("\n")
}

fn blocks(page: &Page) -> Vec<Block<'_>> {
    let mut blocks = page.blocks("sh");
    blocks.extend(page.blocks("console"));
    blocks.sort_by_key(|block| block.line);
    blocks
}

#[test]
fn every_command_works() -> Result<()> {
    let objects = Objects::read()?;
    let (mut run, mut applied) = (0, 0);
    for page in pages()? {
        let blocks = blocks(&page);
        if blocks.is_empty() {
            continue;
        }
        let stage = Stage::try_new()?;
        for block in blocks {
            stage
                .run(&script(&block))
                .with_context(|| format!("{}:{}", page.path, block.line))?;
            run += 1;
        }
        for object in stage.applied()?.iter().filter(|object| !object.is_null()) {
            objects.check(object).with_context(|| page.path.clone())?;
            applied += 1;
        }
    }
    assert!(applied >= 4, "only {applied} objects were applied");
    assert!(run >= 15, "only {run} blocks were found");
    Ok(())
}

/// Else a command in an unmarked block would never be run.
#[test]
fn every_command_of_ours_stands_in_a_block_that_is_run() -> Result<()> {
    for page in pages()? {
        for language in ["", "bash", "shell", "text"] {
            for block in page.blocks(language) {
                let ours = block
                    .lines
                    .iter()
                    .find(|line| line.trim_start().starts_with("gaugeway "));
                assert_eq!(ours, None, "{}:{}", page.path, block.line);
            }
        }
    }
    Ok(())
}

#[test]
fn of_a_session_only_what_was_typed_is_run() {
    let block = Block {
        language: "console",
        line: 1,
        lines: vec!["$ one \\", "  two", "said", "$ three", "said"],
    };
    assert_eq!(script(&block), "one \\\n  two\nthree");
}
