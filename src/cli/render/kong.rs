//! `gaugeway render kong`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use gaugeway_controller::render::{
    HostPort,
    kong::{Kong, KongService, declarative, environment, guide, kong_conf, objects},
};
use gaugeway_wire::{GatewayName, Nanos};

use super::{
    super::{output::Output, token, values},
    TokenFlags,
};

const EXAMPLES: &str = "\
Examples:
  Everything with where it belongs and how to see that it works, to read:
    gaugeway render kong --gateway prod/kong --controller gaugeway.monitoring:7080 --token-key-file key \\
        --namespace shop

  The objects for two namespaces, to apply:
    gaugeway render kong --gateway prod/kong --controller gaugeway.monitoring:7080 --token-key-file key \\
        --namespace shop --namespace pay --form objects | kubectl apply -f -

  A chain for kong.yml, where Kong's service cart-api leads to the Service cart:
    gaugeway render kong --gateway prod/kong --controller 10.0.0.9:7080 --token-key-file key \\
        --service shop/cart=cart-api --form declarative

The filter and the file that Kong reads beside it: gaugeway filter --host kong --output DIR.";

/// Kong 3.4 to 3.9 with WebAssembly: its settings, filter chains and KongPlugins.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[group(id = "what", multiple = true, required = true, args = ["namespace", "service"])]
pub(super) struct KongArgs {
    /// Name of the gateway, `namespace/name`, as its Gateway object has it; `ingressclass:NAME` for Ingresses.
    #[arg(long, value_name = "NAME", value_parser = token::gateway)]
    gateway: GatewayName,
    /// The controller's filters port, as Kong reaches it.
    #[arg(long, value_name = "HOST:PORT")]
    controller: HostPort,
    #[command(flatten)]
    token: TokenFlags,
    /// A namespace whose HTTPRoutes or Ingresses are to be measured; as often as wanted.
    #[arg(long, value_name = "NAMESPACE", value_parser = values::namespace)]
    namespace: Vec<String>,
    /// A Service to be measured by itself, and Kong's service that leads to it (default: NAME); as often as wanted.
    #[arg(long, value_name = "NAMESPACE/NAME[=KONG-SERVICE]")]
    service: Vec<KongService>,
    /// Which form.
    #[arg(long, value_enum, default_value = "guide")]
    form: Form,
    /// Directory of Kong's filters, where gaugeway.wasm and gaugeway.meta.json are.
    #[arg(long, value_name = "DIR", default_value = "/usr/local/kong/wasm")]
    wasm_dir: String,
    /// The shortest time-out of the Kong services, with its unit: what Kong ends after so long counts as a time-out.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::upstream_timeout)]
    timeout: std::time::Duration,
    /// Write to FILE instead of standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(super) output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// All of them, to read.
    Guide,
    /// Settings as lines of kong.conf.
    KongConf,
    /// Settings as environment variables.
    Environment,
    /// Filter chains for kong.yml, one per --service.
    Declarative,
    /// KongPlugins and Secrets for Kubernetes.
    Objects,
}

impl KongArgs {
    pub(super) fn render(self) -> Result<String> {
        let form = self.form;
        let timeout = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let kong = Kong {
            token: self.token.token(&self.gateway)?,
            gateway: self.gateway,
            controller: self.controller,
            directory: self.wasm_dir,
            timeout: Some(Nanos::from_millis(timeout)).filter(|_| timeout != 60_000),
            namespaces: self.namespace,
            services: self.service,
        };
        Ok(match form {
            Form::Guide => guide(&kong),
            Form::KongConf => kong_conf(&kong),
            Form::Environment => environment(&kong),
            Form::Declarative => declarative(&kong),
            Form::Objects => objects(&kong),
        })
    }
}
