//! What the filter costs in a real Envoy, beside an empty filter and a plain one: `cargo xtask bench filter`,
//! `cargo xtask bench latency` and `cargo xtask bench callbacks`. What the controller takes in a large cluster, and how
//! soon its workers know and autoscalers are answered: `cargo xtask bench scale`, `cargo xtask bench mapping` and
//! `cargo xtask bench answers`.
//!
//! Rounds interleave the variants in random order; what is compared stems from the same round, and of all rounds the
//! median is given with a distribution-free interval. Noise of the machine hits all variants of a round alike, so
//! ratios and differences hold where absolute times do not.
//!
//! Every variant must show that it did its work, else the bench fails: a filter that failed open would be the fastest.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks on its terminal"
)]

mod answers;
mod callbacks;
mod cluster;
mod cost;
mod cpu;
mod double;
mod figures;
mod latency;
mod mapping;
mod memory;
mod program;
mod scale;
mod statistics;
mod stores;
mod timed;
mod variant;
mod worker;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use tempfile::TempDir;

use crate::variant::Modules;

#[derive(Parser)]
#[command(
    name = "cargo xtask bench",
    about = "What the filter costs in a real Envoy, and the controller in a large cluster"
)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// CPU that the filter adds to a request, against an empty SDK filter and a plain one.
    Filter(cost::Options),
    /// What the filter adds to the 99th percentile at a fixed rate.
    Latency(latency::Options),
    /// How long callbacks hold a worker's event loop, while thousands of addresses change owners.
    Callbacks(callbacks::Options),
    /// From a change of an EndpointSlice until it is in force in every worker of a real Envoy.
    Mapping(mapping::Options),
    /// Time, CPU and memory of the controller in a large cluster that changes, beside kube-rs's stores.
    Scale(scale::Options),
    /// How soon the metrics API answers, while reports come.
    Answers(answers::Options),
    /// The API server's double, for another bench.
    #[command(hide = true, name = double::NAME)]
    Double(cluster::Shape),
    /// What the controller is compared with, for another bench.
    #[command(hide = true, name = stores::NAME)]
    Stores(stores::Options),
}

/// Where the parts are; `cargo xtask bench` says it.
#[derive(Args)]
struct Parts {
    /// The `gaugeway` program: controller, and source of our module.
    #[arg(long, env = "GAUGEWAY_BIN")]
    gaugeway: PathBuf,
    /// Directory of the built comparison filters.
    #[arg(long, env = "GAUGEWAY_BENCH_FILTERS")]
    filters: PathBuf,
    /// Figures as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Parts {
    async fn collect(&self) -> Result<(TempDir, Modules)> {
        let dir = tempfile::Builder::new().prefix("gaugeway-bench-").tempdir();
        let dir = dir.context("make a temporary directory")?;
        let modules = Modules::collect(&self.gaugeway, &self.filters, dir.path()).await?;
        Ok((dir, modules))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().bench {
        Bench::Filter(options) => cost::bench(&options).await,
        Bench::Latency(options) => latency::bench(&options).await,
        Bench::Callbacks(options) => callbacks::bench(&options).await,
        Bench::Mapping(options) => mapping::bench(&options).await,
        Bench::Scale(options) => scale::bench(&options).await,
        Bench::Answers(options) => answers::bench(&options).await,
        Bench::Double(shape) => double::run(shape).await,
        Bench::Stores(options) => stores::run(&options).await,
    }
}

/// Of the last minute: what else the machine did.
fn load_average() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    let first = text.split_whitespace().next().unwrap_or_default();
    first.parse().context("/proc/loadavg")
}
