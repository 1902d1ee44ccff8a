//! CPU time of one turn of a worker's event loop, while thousands of addresses change owners.
//!
//! A callback of the filter runs within a turn, and whatever else waits for this worker waits for the turn's end. So a
//! turn is an upper bound of each callback in it. In every round each address gets a request and then another Pod;
//! requests come one after the other, so that most turns have one event. Turns are seen from outside, by the
//! scheduler's account of the worker's thread: one ends when the thread sleeps.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use gaugeway_rig::client::Request;
use gaugeway_rig::{Latency, Load, Upstream};
use serde::Serialize;

use crate::Parts;
use crate::cpu::Thread;
use crate::statistics::quantile;
use crate::variant::{Running, Variant};

/// Budget of the design for the 99.9th percentile.
const BUDGET: Duration = Duration::from_millis(1);
/// Between two looks at the thread: far below a round trip, so that turns are told apart.
const PERIOD: Duration = Duration::from_micros(50);
/// Envoy's name of its first worker.
const WORKER: &str = "wrk:worker_0";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; in each every address gets a request and another owner.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Addresses of the upstream.
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u16).range(1..=4096))]
    addresses: u16,
    #[command(flatten)]
    parts: Parts,
}

/// What is told of a variant's turns, µs.
#[derive(Debug, Serialize)]
struct Summary {
    turns: usize,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    longest_us: f64,
    above_budget: usize,
}

/// Runs all rounds and prints their figures.
pub(crate) async fn bench(options: &Options) -> Result<()> {
    let (dir, modules) = options.parts.collect().await?;
    let upstreams = upstreams(options.addresses).await?;
    let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
    let mut summaries = BTreeMap::new();
    for variant in [Variant::None, Variant::Ours] {
        let mut running = Running::start(variant, 1, &modules, &addresses, dir.path()).await?;
        round(&mut running, &addresses, 0).await?;
        let watch = Watch::start(Thread::find(running.process()?, WORKER)?);
        for number in 1..=options.rounds {
            eprintln!("{variant}: round {number}/{}", options.rounds);
            round(&mut running, &addresses, number).await?;
        }
        let turns = watch.end()?;
        running.prove().await?;
        summaries.insert(variant.to_string(), Summary::of(&turns)?);
    }
    print(options, &summaries)
}

/// One per address of 127.1.0.0/20, all on one port, as the Pods of a Service are.
async fn upstreams(addresses: u16) -> Result<Vec<Upstream>> {
    let mut upstreams: Vec<Upstream> = Vec::new();
    for number in 0..addresses {
        let [high, low] = number.to_be_bytes();
        let port = upstreams.first().map_or(0, |first| first.address().port());
        let address = SocketAddr::from((Ipv4Addr::new(127, 1, high, low), port));
        let latency = Latency::Constant(Duration::ZERO);
        upstreams.push(Upstream::start_on(address, latency, 0).await?);
    }
    Ok(upstreams)
}

async fn round(running: &mut Running, addresses: &[SocketAddr], number: u32) -> Result<()> {
    running.give_to_pods(if number.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    })?;
    let load = Load {
        client: running.client(),
        total: addresses.len() as u64,
        concurrency: 1,
        rate: None,
        request: Arc::new(|_| Request::get("/")),
    };
    running.send(load).await
}

/// A thread under watch.
struct Watch {
    stop: Arc<AtomicBool>,
    turns: JoinHandle<Result<Vec<Duration>>>,
}

impl Watch {
    fn start(thread: Thread) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let turns = thread::spawn(move || turns(&thread, &seen));
        Self { stop, turns }
    }

    fn end(self) -> Result<Vec<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        let turns = self.turns.join();
        turns.map_err(|_| anyhow!("the watch of the worker's thread ended early"))?
    }
}

/// CPU time of each turn: what was used from one sleep to the next. Turns with no look in between count as one.
fn turns(thread: &Thread, stop: &AtomicBool) -> Result<Vec<Duration>> {
    let mut turns = Vec::new();
    let mut begin = thread.cpu()?;
    let mut last = begin;
    while !stop.load(Ordering::Relaxed) {
        #[expect(clippy::disallowed_methods, reason = "a sampling period")]
        // Stimulus: looking all the time would take a core from what is watched.
        thread::sleep(PERIOD);
        let sleeps = thread.sleeps()?;
        let now = thread.cpu()?;
        if sleeps && now == last && now > begin {
            turns.push(now.since(begin));
            begin = now;
        }
        last = now;
    }
    Ok(turns)
}

impl Summary {
    fn of(turns: &[Duration]) -> Result<Self> {
        ensure!(!turns.is_empty(), "the worker never slept");
        let count = turns.len();
        let above_budget = turns.iter().filter(|turn| **turn > BUDGET).count();
        let us = |q| {
            let turn = quantile(turns.to_vec(), q).context("no turns")?;
            anyhow::Ok(turn.as_secs_f64() * 1e6)
        };
        Ok(Self {
            turns: count,
            p50_us: us(0.5)?,
            p99_us: us(0.99)?,
            p999_us: us(0.999)?,
            longest_us: us(1.0)?,
            above_budget,
        })
    }
}

fn print(options: &Options, summaries: &BTreeMap<String, Summary>) -> Result<()> {
    if options.parts.json {
        println!("{}", serde_json::to_string(summaries)?);
        return Ok(());
    }
    println!(
        "| filter | turns | p50, µs | p99, µs | p99.9, µs | longest, µs | above {BUDGET:?} |\n|---|---:|---:|---:|---:|---:|---:|"
    );
    for (variant, summary) in summaries {
        println!(
            "| {variant} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {} |",
            summary.turns,
            summary.p50_us,
            summary.p99_us,
            summary.p999_us,
            summary.longest_us,
            summary.above_budget
        );
    }
    println!(
        "\n{} rounds, {} addresses that change owners in each, one worker. Budget: p99.9 of a callback ≤ {BUDGET:?}.",
        options.rounds, options.addresses
    );
    Ok(())
}
