//! The table of Envoy's flags says what the filter does.

use anyhow::{Context as _, Result, ensure};
use gaugeway_filter_core::envoy::Flags;
use gaugeway_wire::Outcome;

use crate::pages::pages;

const PAGE: &str = "docs/outcomes.md";

/// The cells that the code gives for one flag: outcome, latency, abort.
fn cells(bit: u32) -> [String; 3] {
    let flags = Flags(1 << bit);
    let outcome = match flags.client_left() {
        true => Some(Outcome::Cancelled),
        false => flags.failure(),
    };
    let dash = || "–".to_owned();
    [
        outcome.map_or_else(dash, |outcome| format!("`{}`", outcome.as_str())),
        outcome.map_or_else(dash, |outcome| {
            if outcome.has_latency() { "yes" } else { "no" }.to_owned()
        }),
        match flags.aborted_after(Flags::NONE) {
            true => "aborted".to_owned(),
            false => dash(),
        },
    ]
}

#[test]
fn every_flag_has_its_row_and_the_row_is_true() -> Result<()> {
    let pages = pages()?;
    let page = pages.iter().find(|page| page.path == PAGE);
    let page = page.context("the page is missing")?;
    let mut next = 0;
    for line in page.text.lines() {
        let row: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, _, bit, _, before, latency, after, _] = row[..] else {
            continue;
        };
        let Ok(bit) = bit.parse::<u32>() else {
            continue;
        };
        ensure!(bit == next, "the row of flag {next} is missing");
        ensure!([before, latency, after] == cells(bit), "{line}");
        next += 1;
    }
    // Envoy's CoreResponseFlag ends here.
    ensure!(next == 30, "{next} flags");
    Ok(())
}
