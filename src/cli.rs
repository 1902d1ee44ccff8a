//! The command line: what there is to say, and where it goes.

mod api;
mod controller;
mod crds;
mod detach;
mod docs;
mod explain;
mod filter;
mod output;
mod render;
mod token;
mod top;
mod values;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::demo;

const ABOUT: &str = "\
Upstream latency per Kubernetes Service, backend and Pod, measured in the gateway's data path.

A filter inside Envoy times each request where it happens; the controller tells it what upstream addresses belong to, \
takes its reports and shows the totals to Prometheus.";

const START: &str = "\
A first look, everything on this machine:
  gaugeway demo

Into an Envoy of your own:
  gaugeway token --new-key > key
  gaugeway controller --manifests ./manifests --token-key-file key --state-dir ./state
  gaugeway filter --output gaugeway.wasm
  gaugeway render envoy --gateway prod/edge --controller 127.0.0.1:7080 --wasm-path gaugeway.wasm \\
      --token-key-file key --snippet

Why is or isn't something measured?
  gaugeway explain service/NAME -n NAMESPACE

What do Services do now?
  gaugeway top

Exit codes: 0 done; 1 could not be done, standard error says why; 2 the command line is wrong.";

/// The `gaugeway` command.
#[derive(Debug, Parser)]
#[command(name = "gaugeway", version, about = ABOUT, after_help = START, arg_required_else_help = true)]
#[command(max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Controller(Box<controller::ControllerArgs>),
    Filter(filter::FilterArgs),
    Render(Box<render::RenderArgs>),
    Explain(explain::ExplainArgs),
    Top(top::TopArgs),
    Detach(detach::DetachArgs),
    Token(token::TokenArgs),
    Crds(crds::CrdsArgs),
    Demo(demo::DemoArgs),
    #[command(hide = true)]
    Docs(docs::DocsArgs),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// When it could not be done.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Controller(args) => args.run(),
            Command::Filter(args) => args.run(),
            Command::Render(args) => args.run(),
            Command::Explain(args) => args.run(),
            Command::Top(args) => args.run(),
            Command::Detach(args) => args.run(),
            Command::Token(args) => args.run(),
            Command::Crds(args) => args.run(),
            Command::Demo(args) => runtime()?.block_on(demo::run(args)),
            Command::Docs(args) => args.run(),
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}
