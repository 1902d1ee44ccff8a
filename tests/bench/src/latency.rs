//! What the filter adds to the 99th percentile that a client sees, at a fixed rate and a 5 ms upstream.
//!
//! Two Envoys, one without and one with a single copy of the filter. The load is open: a request starts when its time
//! comes, however slow those before it are; it goes to the one and to the other in turn.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::client::Request;
use gaugeway_rig::{Client, Latency, Upstream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Parts;
use crate::statistics::{Median, quantile};
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
    /// Requests per second and variant.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    #[command(flatten)]
    parts: Parts,
}

/// Runs all rounds and prints their figures.
pub(crate) async fn bench(options: &Options) -> Result<()> {
    let (dir, modules) = options.parts.collect().await?;
    let upstream = Upstream::start(Latency::Constant(UPSTREAM_DELAY), 0).await?;
    let upstreams = [upstream.address()];
    let start = |variant| Running::start(variant, 1, &modules, &upstreams, dir.path());
    let mut running = [start(Variant::None).await?, start(Variant::Ours).await?];
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

/// 99th percentiles without and with the filter, µs. Requests go to the two in turn, so that whatever disturbs the
/// machine disturbs both.
async fn measure(options: &Options, running: &mut [Running; 2]) -> Result<[f64; 2]> {
    let begin = Instant::now();
    let apart = Duration::from_secs(1) / options.rate;
    let mut under_way = [JoinSet::new(), JoinSet::new()];
    let mut due = begin;
    for _ in 0..options.requests {
        let first = usize::from(rand::random::<bool>());
        for at in [first, 1 - first] {
            sleep_until(due).await;
            due += apart / 2;
            under_way[at].spawn(send(running[at].client()));
        }
    }
    let mut p99 = [0.0; 2];
    for (at, answers) in under_way.into_iter().enumerate() {
        let latencies = answers
            .join_all()
            .await
            .into_iter()
            .collect::<Result<_>>()?;
        running[at].add_sent(options.requests);
        p99[at] = quantile(latencies, 0.99)
            .context("no requests")?
            .as_secs_f64()
            * 1e6;
    }
    Ok(p99)
}

/// Time to the whole answer.
async fn send(client: Client) -> Result<Duration> {
    let begin = Instant::now();
    let answer = client.send(Request::get("/")).await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    Ok(begin.elapsed())
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
