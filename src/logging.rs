//! Logs and complaints, all on standard error: standard output belongs to a command's result.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How a command logs.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogArgs {
    /// Form of the log lines on standard error.
    #[arg(long, env = "GAUGEWAY_LOG_FORMAT", default_value = "text", value_enum)]
    log_format: LogFormat,
    /// What is logged: a level (error, warn, info, debug, trace), or per module, such as
    /// `info,gaugeway_controller::http=debug`. The default leaves out what kube-rs says of failing watches, at each try: the
    /// controller says it once, with what to do.
    #[arg(
        long,
        env = "GAUGEWAY_LOG",
        default_value = "info,kube_runtime::watcher=error",
        value_name = "FILTER"
    )]
    log: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogArgs {
    /// Starts logging. Once per process.
    ///
    /// # Errors
    /// When the filter cannot be understood.
    pub(crate) fn start(&self) -> Result<()> {
        let filter = EnvFilter::try_new(&self.log)
            .with_context(|| format!("--log {:?} is not a log filter; try: info", self.log))?;
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(io::stderr().is_terminal())
            // It would tell of a failed write with a macro that panics when standard error cannot be written.
            .log_internal_errors(false)
            .with_writer(io::stderr);
        match self.log_format {
            LogFormat::Text => subscriber.init(),
            LogFormat::Json => subscriber.json().flatten_event(true).init(),
        }
        Ok(())
    }
}

/// Says on standard error why a command failed: the error, then each cause on a line of its own.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = format!("gaugeway: {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  because: {cause}\n"));
    }
    // Nowhere is left to say that standard error is gone.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Says on standard error what a command could not use, and goes on.
pub(crate) fn warn(text: &str) {
    // As above.
    let _ = writeln!(io::stderr(), "gaugeway: warning: {text}");
}
