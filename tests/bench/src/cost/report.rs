//! The figures, for people and for machines.

use anyhow::{Context as _, Result};

use crate::figures::{Figures, Summary};
use crate::statistics::Median;

/// Budgets of the design: upper bounds of the ratios.
const TO_EMPTY: f64 = 2.6;
const TO_PLAIN: f64 = 0.60;

/// A Markdown table, or JSON on one line.
pub(crate) fn print(figures: &Figures, json: bool) -> Result<()> {
    let summary = figures.summary().context("too few rounds")?;
    if json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!("{}", table(&summary));
    }
    Ok(())
}

fn table(summary: &Summary) -> String {
    let mut rows = vec![
        row("a request without a filter, µs", summary.request_us, None),
        row("an empty SDK filter adds, µs", summary.empty_us, None),
        row("a plain SDK filter adds, µs", summary.plain_us, None),
        row("Gaugeway adds, µs", summary.ours_us, None),
        row("Gaugeway / empty", summary.ours_to_empty, Some(TO_EMPTY)),
        row("Gaugeway / plain", summary.ours_to_plain, Some(TO_PLAIN)),
        row("plain / empty", summary.plain_to_empty, None),
    ];
    for (number, beside) in summary.beside_to_ours.iter().enumerate() {
        rows.push(row(&format!("beside-{number} / Gaugeway"), *beside, None));
    }
    format!(
        "| what | median | 95 % interval | budget |\n|---|---:|---:|---|\n{}\n\n{} rounds of {} requests per variant, \
         {} at once, {} copies per chain, one worker.",
        rows.join("\n"),
        summary.rounds,
        summary.requests_per_round,
        summary.concurrency,
        summary.copies
    )
}

fn row(what: &str, Median { low, median, high }: Median, budget: Option<f64>) -> String {
    let budget = budget.map_or_else(String::new, |bound| {
        let verdict = if median <= bound { "kept" } else { "MISSED" };
        format!("≤ {bound:.2}: {verdict}")
    });
    format!("| {what} | {median:.2} | {low:.2} … {high:.2} | {budget} |")
}
