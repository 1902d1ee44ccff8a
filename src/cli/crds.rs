//! `gaugeway crds`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  gaugeway crds | kubectl apply --server-side -f -

The Helm chart brings the same definitions; to change those, --force-conflicts takes them over. Without them a controller in a cluster records what its command line says.";

/// Print the CustomResourceDefinitions of LatencyPolicy, for kubectl apply.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CrdsArgs {
    /// Write to FILE instead of standard output.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "-",
        hide_default_value = true
    )]
    output: Output,
}

impl CrdsArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.output.write(gaugeway_controller::crds()?.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
