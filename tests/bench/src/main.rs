//! What the filter costs in a real Envoy, beside an empty filter and a plain one: `cargo xtask bench filter`.
//!
//! Method. One Envoy process per variant, each with one worker and [`variant::COPIES`] copies of its filter in the
//! chain, under distinct VM ids, so that the filter's share is large against a request's own cost. Rounds interleave
//! the variants in random order; in a round each gets the same number of requests from the same client, and what
//! counts is the CPU time of the Envoy process, all threads, per request. What a filter adds is (with − without) /
//! copies, of the same round; ratios are of the same round too, and their median is given with a distribution-free
//! interval. Noise of the machine hits all variants of a round alike, so ratios hold where microseconds do not.
//!
//! Every variant must show that it did its work, else the bench fails: a filter that failed open would be the fastest.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks on its terminal"
)]

mod cpu;
mod figures;
mod report;
mod statistics;
mod variant;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use gaugeway_rig::client::Request;
use gaugeway_rig::{Load, Upstream};
use rand::seq::SliceRandom as _;

use crate::figures::{Figures, Round};
use crate::variant::{Modules, Running, Variant};

/// CPU that the filter adds to a request in a real Envoy, against an empty SDK filter and a plain one.
#[derive(Parser)]
#[command(name = "cargo xtask bench filter --")]
struct Options {
    /// Rounds; each is one pair of every comparison.
    #[arg(long, default_value_t = 101, value_parser = clap::value_parser!(u32).range(6..=1000))]
    rounds: u32,
    /// Requests per variant and round: few, so that the variants of a round meet the same machine.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    requests: u64,
    /// Requests under way at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1024))]
    concurrency: u64,
    /// Figures as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// The `gaugeway` program: controller, and source of our module.
    #[arg(long, env = "GAUGEWAY_BIN")]
    gaugeway: PathBuf,
    /// Directory of the built comparison filters.
    #[arg(long, env = "GAUGEWAY_BENCH_FILTERS")]
    filters: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let dir = tempfile::Builder::new()
        .prefix("gaugeway-bench-")
        .tempdir()
        .context("make a temporary directory")?;
    let upstream = Upstream::instant().await?;
    let modules = Modules::collect(&options.gaugeway, &options.filters, dir.path()).await?;
    let mut running = Vec::new();
    for variant in Variant::ALL {
        running.push(Running::start(variant, &modules, upstream.address(), dir.path()).await?);
    }
    let figures = measure(&options, &mut running).await?;
    for one in &mut running {
        one.prove()
            .await
            .with_context(|| format!("{}: the filter did not do its work", one.variant()))?;
    }
    report::print(&figures, options.json)
}

async fn measure(options: &Options, running: &mut [Running]) -> Result<Figures> {
    // Connections, V8's optimizing compiler, first mapping, metrics: none of it belongs to a steady state.
    for one in running.iter_mut() {
        eprintln!("warm up: {}", one.variant());
        one.warm_up(|client| load(options, client, options.requests))
            .await?;
    }
    let mut figures = Figures::new(options.requests, options.concurrency);
    let mut random = rand::rng();
    for number in 1..=options.rounds {
        let mut order: Vec<&mut Running> = running.iter_mut().collect();
        order.shuffle(&mut random);
        let mut round = Round::default();
        for one in order {
            let before = one.cpu()?;
            one.send(load(options, one.client(), options.requests))
                .await?;
            round.set(one.variant(), one.cpu()?.since(before), options.requests);
        }
        eprintln!("round {number}/{}: {round}", options.rounds);
        figures.push(round);
    }
    Ok(figures)
}

fn load(options: &Options, client: gaugeway_rig::Client, total: u64) -> Load {
    let request = Arc::new(|_| Request::get("/"));
    Load {
        client,
        total,
        concurrency: options.concurrency,
        rate: None,
        request,
    }
}

/// Of a load that only measures something if every request is answered.
fn all_answered(report: &gaugeway_rig::LoadReport, total: u64) -> Result<()> {
    let answered = report.status(200);
    ensure!(
        answered == total,
        "{answered} of {total} requests were answered with 200: {report:?}"
    );
    Ok(())
}
