//! How long the filter's callbacks hold a worker's event loop, while thousands of addresses change owners.
//!
//! Whatever else waits for a worker waits for a callback's end. The module is ours with a clock around each callback: it
//! tells Envoy's histograms what passed on the host's clock, so what the scheduler took away in between counts, too. In
//! every round each address gets a request and then another Pod.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use gaugeway_rig::client::Request;
use gaugeway_rig::{Latency, Load, Upstream};
use serde::Serialize;

use crate::Parts;
use crate::timed::{Times, timed};
use crate::variant::{Running, Variant, write_module};

/// Budget of the design for the 99.9th percentile.
const BUDGET: Duration = Duration::from_millis(1);

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

/// What is told of a callback's times.
#[derive(Debug, Serialize)]
struct Summary {
    callback: String,
    calls: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    longest_us: f64,
    above_budget: u64,
}

/// Runs all rounds and prints their figures.
pub(crate) async fn bench(options: &Options) -> Result<()> {
    let (dir, mut modules) = options.parts.collect().await?;
    let path = dir.path().join("timed.wasm");
    write_module(&options.parts.gaugeway, &path).await?;
    let module = std::fs::read(&path).context("read our module")?;
    std::fs::write(&path, timed(&module)?).context("write it with clocks")?;
    modules.beside.push(path);
    let upstreams = upstreams(options.addresses).await?;
    let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
    let variant = Variant::Beside(0);
    let mut running = Running::start(variant, 1, &modules, &addresses, dir.path()).await?;
    for number in 1..=options.rounds {
        eprintln!("round {number}/{}", options.rounds);
        round(&mut running, &addresses, number).await?;
    }
    running.prove().await?;
    let times = running.callbacks().await?;
    let all = Times::all(&times);
    let summaries = times.iter().chain([&all]).map(Summary::of);
    let summaries: Vec<_> = summaries.collect::<Result<_>>()?;
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

impl Summary {
    fn of(times: &Times) -> Result<Self> {
        let us = |q| anyhow::Ok(times.quantile(q)?.as_secs_f64() * 1e6);
        Ok(Self {
            callback: times.callback.clone(),
            calls: times.count(),
            p50_us: us(0.5)?,
            p99_us: us(0.99)?,
            p999_us: us(0.999)?,
            longest_us: us(1.0)?,
            above_budget: times.above(BUDGET),
        })
    }
}

fn print(options: &Options, summaries: &[Summary]) -> Result<()> {
    if options.parts.json {
        println!("{}", serde_json::to_string(summaries)?);
        return Ok(());
    }
    println!(
        "| callback | calls | p50, µs | p99, µs | p99.9, µs | longest, µs | above {BUDGET:?} |\n|---|---:|---:|---:|---:|---:|---:|"
    );
    for summary in summaries {
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
            summary.callback,
            summary.calls,
            summary.p50_us,
            summary.p99_us,
            summary.p999_us,
            summary.longest_us,
            summary.above_budget
        );
    }
    println!(
        "\n{} rounds, {} addresses that change owners in each, one worker; load average {:.1}. Budget: p99.9 ≤ {BUDGET:?}.",
        options.rounds,
        options.addresses,
        crate::load_average()?
    );
    Ok(())
}
