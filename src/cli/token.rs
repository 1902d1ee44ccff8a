//! `gaugeway token`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{ArgGroup, Args};
use gaugeway_controller::auth::{Keys, new_key, read_keys};
use gaugeway_wire::GatewayName;

use super::{output::out, runtime};

const EXAMPLES: &str = "\
Examples:
  gaugeway token --new-key > key
  gaugeway token --gateway prod/edge --token-key-file key

To rotate: put a new key on the first line of the file and keep the old one on the second; give gateways tokens of the \
new key; then take the old line out. The controller reads the file again by itself.";

/// Make a gateway's token, or a key to make tokens with.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("what").required(true))]
pub(crate) struct TokenArgs {
    /// Name of the gateway, `namespace/name`.
    #[arg(long, value_name = "NAME", value_parser = gateway, requires = "token_key_file", group = "what")]
    gateway: Option<GatewayName>,
    /// File with the key; the first key signs.
    #[arg(long, env = "GAUGEWAY_TOKEN_KEY_FILE", value_name = "FILE")]
    token_key_file: Option<PathBuf>,
    /// Print a new random key.
    #[arg(long, group = "what")]
    new_key: bool,
}

impl TokenArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let text = match (self.gateway, self.token_key_file) {
            (Some(gateway), Some(file)) => keys(&file)?.token(&gateway).as_str().to_owned(),
            _ => new_key().context("the system has no randomness to give")?,
        };
        out(format!("{text}\n").as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The keys of a file.
pub(super) fn keys(file: &std::path::Path) -> Result<Keys> {
    Ok(runtime()?.block_on(read_keys(file))?)
}

/// A gateway's name, for clap.
pub(super) fn gateway(text: &str) -> Result<GatewayName, String> {
    GatewayName::try_new(text).map_err(|error| error.to_string())
}
