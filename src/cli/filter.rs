//! `gaugeway filter`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::output::{Output, out};
use crate::embedded::{ENVOY_MODULE, ENVOY_MODULE_SHA256};

const EXAMPLES: &str = "\
Examples:
  gaugeway filter --output gaugeway.wasm
  gaugeway filter --output - | sha256sum
  gaugeway filter --sha256

The controller serves the same bytes at http://WASM-PORT/v1/filter/<sha256>.wasm.";

/// Write the filter's module, or say its SHA-256.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[group(required = true, multiple = false)]
pub(crate) struct FilterArgs {
    /// Write the module to FILE, or to standard output with `-`.
    #[arg(long, short, value_name = "FILE")]
    output: Option<Output>,
    /// Print the module's SHA-256, lowercase hex.
    #[arg(long)]
    sha256: bool,
}

impl FilterArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.output {
            Some(output) => output.write_binary(ENVOY_MODULE)?,
            None => out(format!("{ENVOY_MODULE_SHA256}\n").as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
