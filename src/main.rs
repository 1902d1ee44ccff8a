//! The `gaugeway` command. Exit codes: 0 done; 1 it could not be done, standard error says why; 2 the command line is
//! wrong.
#![forbid(unsafe_code)]

mod cli;
mod demo;
pub mod embedded;
mod logging;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli.run().unwrap_or_else(|error| {
        logging::complain(&error);
        ExitCode::FAILURE
    })
}
