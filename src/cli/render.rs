//! `gaugeway render`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use gaugeway_controller::{
    auth::Token,
    render::{Bootstrap, Code, Filter, HostPort, bootstrap, routing, snippet},
};
use gaugeway_wire::GatewayName;

mod kong;

use self::kong::KongArgs;
use super::{output::Output, token};
use crate::{embedded::ENVOY_MODULE_SHA256, logging};

const EXAMPLES: &str = "\
Examples:
  The filter and its cluster, to be put into a configuration that exists:
    gaugeway render envoy --gateway prod/edge --controller gaugeway:7080 --wasm-path /etc/envoy/gaugeway.wasm \\
        --token-key-file key --snippet

  A complete Envoy for the routes of a directory of manifests, fetching the module from the controller:
    gaugeway render envoy --gateway prod/edge --controller 127.0.0.1:7080 --wasm-from 127.0.0.1:7081 \\
        --token-key-file key --manifests ./manifests --listen 0.0.0.0:8080 > envoy.yaml
    envoy -c envoy.yaml

Clusters are named <namespace>/<service>/<port>: the controller recognises them, so requests that never reached an \
address (overload, no healthy endpoint) are attributed too.";

/// Write gateway configuration with the filter in it.
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    #[command(subcommand)]
    host: Host,
}

#[derive(Debug, Subcommand)]
enum Host {
    Envoy(EnvoyArgs),
    Kong(KongArgs),
}

/// Envoy: a complete bootstrap, or with --snippet only the filter and its cluster.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct EnvoyArgs {
    /// Name of the gateway, `namespace/name`, as its Gateway object has it.
    #[arg(long, value_name = "NAME", value_parser = token::gateway)]
    gateway: GatewayName,
    /// The controller's filters port, as Envoy reaches it.
    #[arg(long, value_name = "HOST:PORT")]
    controller: HostPort,
    /// The controller's filters port speaks TLS (--filters-tls-cert); FILE, which Envoy can read, has the authorities that
    /// sign its certificate, in PEM. The certificate must be for the host in --controller.
    #[arg(long, value_name = "FILE")]
    controller_ca: Option<PathBuf>,
    #[command(flatten)]
    code: CodeFlags,
    #[command(flatten)]
    token: TokenFlags,
    /// Only the filter and the clusters it needs.
    #[arg(long)]
    snippet: bool,
    /// Directory of manifests, whose HTTPRoutes for this gateway become routes and clusters.
    #[arg(long, value_name = "DIR", conflicts_with = "snippet")]
    manifests: Option<PathBuf>,
    /// Where clients connect.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8080",
        conflicts_with = "snippet"
    )]
    listen: SocketAddr,
    /// Envoy's admin interface; left out when not given.
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "snippet")]
    admin: Option<SocketAddr>,
    /// Access log as one JSON object per request, with Envoy's own timing to compare with.
    #[arg(long, value_name = "FILE", conflicts_with = "snippet")]
    access_log: Option<PathBuf>,
    /// Write to FILE instead of standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: Output,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct CodeFlags {
    /// The module as a file that Envoy can read; write it with: gaugeway filter --output FILE.
    #[arg(long, value_name = "FILE")]
    wasm_path: Option<PathBuf>,
    /// Let Envoy fetch the module from the controller's wasm port.
    #[arg(long, value_name = "HOST:PORT")]
    wasm_from: Option<HostPort>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TokenFlags {
    /// File with the controller's key; the token is made from it.
    #[arg(long, env = "GAUGEWAY_TOKEN_KEY_FILE", value_name = "FILE")]
    token_key_file: Option<PathBuf>,
    /// The token, made with: gaugeway token.
    #[arg(long, value_name = "TOKEN", value_parser = parse_token)]
    token: Option<Token>,
    /// No token, for a controller with --insecure-no-token.
    #[arg(long)]
    insecure_no_token: bool,
}

impl RenderArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let (output, text) = match self.host {
            Host::Envoy(args) => (args.output.clone(), args.render()?),
            Host::Kong(args) => (args.output.clone(), args.render()?),
        };
        output.write(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl EnvoyArgs {
    fn render(self) -> Result<String> {
        let filter = Filter {
            token: self.token.token(&self.gateway)?,
            gateway: self.gateway,
            controller: self.controller,
            controller_ca: self.controller_ca,
            code: self.code.code(),
            policy: None,
        };
        if self.snippet {
            return Ok(snippet(&filter));
        }
        let routing = match &self.manifests {
            Some(directory) => routing::read(directory, &filter.gateway)
                .with_context(|| format!("cannot read manifests in {}", directory.display()))?,
            None => routing::Routing::default(),
        };
        for issue in &routing.issues {
            logging::warn(issue);
        }
        Ok(bootstrap(&Bootstrap {
            filter,
            listen: self.listen,
            admin: self.admin,
            access_log: self.access_log,
            routes: routing.routes,
            clusters: routing.clusters,
        }))
    }
}

impl CodeFlags {
    /// Clap has made sure that there is one.
    fn code(self) -> Code {
        match self.wasm_from {
            Some(from) => Code::Remote {
                from,
                sha256: ENVOY_MODULE_SHA256.to_owned(),
            },
            None => Code::File(self.wasm_path.unwrap_or_default()),
        }
    }
}

impl TokenFlags {
    fn token(self, gateway: &GatewayName) -> Result<Option<Token>> {
        match self.token_key_file {
            Some(file) => Ok(Some(token::keys(&file)?.token(gateway))),
            None => Ok(self.token),
        }
    }
}

fn parse_token(text: &str) -> Result<Token, String> {
    text.parse()
        .map_err(|error: gaugeway_controller::auth::TokenError| error.to_string())
}
