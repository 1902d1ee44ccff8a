//! `gaugeway docs`, for maintainers: writes the generated documents.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

mod config;
mod metrics;

/// Write the generated documents, `config.md`, `metrics.md` and `openapi.json`.
#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    /// Directory to write to.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

impl DocsArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        fs::create_dir_all(&self.output)
            .with_context(|| format!("cannot make {}", self.output.display()))?;
        for (name, text) in [
            ("config.md", config::page()),
            ("metrics.md", metrics::page()?),
            ("openapi.json", gaugeway_controller::openapi()? + "\n"),
        ] {
            let path = self.output.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
