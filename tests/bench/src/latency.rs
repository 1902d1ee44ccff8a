//! What the filter adds to the 99th percentile that a client sees, at a fixed rate and a 5 ms upstream.
//!
//! Two Envoys, one without and one with a single copy of the filter. The load is open: a request starts when its time
//! comes, however slow those before it are.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::client::Request;
use gaugeway_rig::{Client, Latency, Upstream};
use rand::seq::SliceRandom as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Parts;
use crate::statistics::Median;
use crate::variant::{Running, Variant};

const UPSTREAM_DELAY: Duration = Duration::from_millis(5);

/// Budget of the design for what is added, µs.
const BUDGET_US: f64 = 100.0;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; each is one pair.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u32).range(6..=1000))]
    rounds: u32,
    /// Requests per variant and round.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    requests: u64,
    /// Requests per second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    #[command(flatten)]
    parts: Parts,
}

/// Runs all rounds and prints their figures.
pub(crate) async fn bench(options: &Options) -> Result<()> {
    let (dir, modules) = options.parts.collect().await?;
    let upstream = Upstream::start(Latency::Constant(UPSTREAM_DELAY), 0).await?;
    let mut running = Vec::new();
    for variant in [Variant::None, Variant::Ours] {
        running.push(Running::start(variant, 1, &modules, upstream.address(), dir.path()).await?);
    }
    let mut rounds = Vec::new();
    for number in 0..=options.rounds {
        let round = measure(options, &mut running).await?;
        // The first warms up.
        if number > 0 {
            eprintln!(
                "round {number}/{}: p99 {:.0} µs without, {:.0} µs with",
                options.rounds, round[0], round[1]
            );
            rounds.push(round);
        }
    }
    for one in &mut running {
        one.prove().await?;
    }
    print(options, &rounds)
}

/// 99th percentiles without and with the filter, µs.
async fn measure(options: &Options, running: &mut [Running]) -> Result<[f64; 2]> {
    let mut order: Vec<(usize, &mut Running)> = running.iter_mut().enumerate().collect();
    order.shuffle(&mut rand::rng());
    let mut p99 = [0.0; 2];
    for (position, one) in order {
        let latencies = send(one.client(), options.rate, options.requests).await?;
        one.add_sent(options.requests);
        if let Some(slot) = p99.get_mut(position) {
            *slot = quantile(latencies, 0.99)
                .context("no requests")?
                .as_secs_f64()
                * 1e6;
        }
    }
    Ok(p99)
}

async fn send(client: Client, rate: u32, requests: u64) -> Result<Vec<Duration>> {
    let begin = Instant::now();
    let mut under_way = JoinSet::new();
    for number in 0..requests {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        sleep_until(begin + Duration::from_secs_f64(number as f64 / f64::from(rate))).await;
        let client = client.clone();
        under_way.spawn(async move {
            let begin = Instant::now();
            let answer = client.send(Request::get("/")).await?;
            ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
            Ok(begin.elapsed())
        });
    }
    under_way.join_all().await.into_iter().collect()
}

fn quantile(mut values: Vec<Duration>, q: f64) -> Option<Duration> {
    values.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank within the list"
    )]
    let rank = (values.len() as f64 * q).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

fn print(options: &Options, rounds: &[[f64; 2]]) -> Result<()> {
    let median = |of: fn(&[f64; 2]) -> f64| {
        Median::of(rounds.iter().map(of).collect()).context("too few rounds")
    };
    let [without, with, added] = [
        median(|[without, _]| *without)?,
        median(|[_, with]| *with)?,
        median(|[without, with]| with - without)?,
    ];
    if options.parts.json {
        let figures = serde_json::json!({
            "rounds": rounds.len(), "requests_per_round": options.requests, "rate": options.rate,
            "p99_without_us": without, "p99_with_us": with, "added_us": added,
        });
        println!("{figures}");
        return Ok(());
    }
    let verdict = if added.median <= BUDGET_US {
        "kept"
    } else {
        "MISSED"
    };
    println!("| what | median | 95 % interval | budget |\n|---|---:|---:|---|");
    let row = |what: &str, of: Median, budget: &str| {
        println!(
            "| {what} | {:.0} | {:.0} … {:.0} | {budget} |",
            of.median, of.low, of.high
        );
    };
    row("p99 without the filter, µs", without, "");
    row("p99 with the filter, µs", with, "");
    row(
        "added, same round, µs",
        added,
        &format!("≤ {BUDGET_US:.0}: {verdict}"),
    );
    println!(
        "\n{} rounds of {} requests per variant at {} per second, {UPSTREAM_DELAY:?} upstream, one worker.",
        rounds.len(),
        options.requests,
        options.rate
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let values: Vec<_> = (1..=200).rev().map(Duration::from_micros).collect();
        assert_eq!(
            quantile(values.clone(), 0.99),
            Some(Duration::from_micros(198))
        );
        assert_eq!(quantile(values, 1.0), Some(Duration::from_micros(200)));
        assert_eq!(quantile(Vec::new(), 0.99), None);
    }
}
