//! CPU that a filter adds to a request.
//!
//! One Envoy process per variant, each with one worker and [`COPIES`] copies of its filter in the chain, under
//! distinct VM ids, so that the filter's share is large against a request's own cost. In a round each variant gets the
//! same number of requests from the same client; what counts is the CPU time of the Envoy process, all threads, per
//! request. What a filter adds is (with − without) / copies.

mod report;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use gaugeway_rig::client::Request;
use gaugeway_rig::{Client, Load, Upstream};
use rand::seq::SliceRandom as _;

use crate::Parts;
use crate::figures::{Figures, Round};
use crate::variant::{Running, Variant};

/// Copies of a filter in one chain, each in a VM of its own.
pub(crate) const COPIES: u32 = 8;

/// Rounds of warm-up.
const WARM_UP: u32 = 10;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; each is one pair of every comparison.
    #[arg(long, default_value_t = 101, value_parser = clap::value_parser!(u32).range(6..=1000))]
    rounds: u32,
    /// Requests per variant and round: few, so that the variants of a round meet the same machine.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    requests: u64,
    /// Requests under way at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1024))]
    concurrency: u64,
    /// Another build of the filter's module, to be measured beside the one of `gaugeway`; as often as wanted.
    #[arg(long, value_name = "WASM")]
    beside: Vec<PathBuf>,
    #[command(flatten)]
    parts: Parts,
}

/// Runs all rounds and prints their figures.
pub(crate) async fn bench(options: &Options) -> Result<()> {
    let (dir, mut modules) = options.parts.collect().await?;
    modules.beside.clone_from(&options.beside);
    let upstream = Upstream::instant().await?;
    let mut running = Vec::new();
    let beside = (0..options.beside.len()).map(Variant::Beside);
    for variant in Variant::ALL.into_iter().chain(beside) {
        running.push(
            Running::start(variant, COPIES, &modules, &[upstream.address()], dir.path()).await?,
        );
    }
    let figures = measure(options, &mut running).await?;
    for one in &mut running {
        one.prove().await?;
    }
    report::print(&figures, options.parts.json)
}

async fn measure(options: &Options, running: &mut [Running]) -> Result<Figures> {
    // Connections, V8's optimizing compiler, first mapping, metrics: none of it belongs to a steady state.
    for one in running.iter_mut() {
        eprintln!("warm up: {}", one.variant());
        for _ in 0..WARM_UP {
            one.send(load(options, one.client())).await?;
        }
    }
    let mut figures = Figures::new(options.requests, options.concurrency);
    for number in 1..=options.rounds {
        let mut order: Vec<&mut Running> = running.iter_mut().collect();
        order.shuffle(&mut rand::rng());
        let mut round = Round::default();
        for one in order {
            let before = one.cpu()?;
            one.send(load(options, one.client())).await?;
            let used = one.cpu()?.since(before);
            round.set(one.variant(), used, options.requests);
        }
        eprintln!("round {number}/{}: {round}", options.rounds);
        figures.push(round);
    }
    Ok(figures)
}

fn load(options: &Options, client: Client) -> Load {
    Load {
        client,
        total: options.requests,
        concurrency: options.concurrency,
        rate: None,
        request: Arc::new(|_| Request::get("/")),
    }
}
