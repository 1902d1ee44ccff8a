//! `gaugeway explain`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use gaugeway_controller::explain::{Explanation, Verdict};

use super::{
    api::{self, DEFAULT_URL},
    output::out,
    runtime,
    values::object_name,
};
use crate::logging;

const EXAMPLES: &str = "\
Examples:
  kubectl -n gaugeway port-forward gaugeway-0 7083 &
  gaugeway explain service/cart -n shop
  gaugeway explain pod/cart-7d9f-x2k4 -n shop
  gaugeway explain deployment/cart -n shop
  gaugeway explain address 10.0.0.7:8080 --gateway shop/edge
  gaugeway explain gateway shop/edge
  gaugeway explain ingressclass/kong
  gaugeway explain extension/shop -n kong
  gaugeway explain service/cart -n shop --json | jq .verdict

The first line is the verdict, the second what to do. Then the chain from the object to its series: ✓ holds, ✗ is broken, \
? cannot be told, · is worth knowing.

Exit codes: 0 measured; 1 not measured, or in part; 2 cannot tell: the controller does not answer or has not read \
everything yet, or the command line is wrong.";

/// Kinds as people write them, and as the API calls them.
const KINDS: [(&str, &str); 24] = [
    ("service", "service"),
    ("services", "service"),
    ("svc", "service"),
    ("pod", "pod"),
    ("pods", "pod"),
    ("po", "pod"),
    ("deployment", "deployment"),
    ("deploy", "deployment"),
    ("statefulset", "statefulset"),
    ("sts", "statefulset"),
    ("daemonset", "daemonset"),
    ("ds", "daemonset"),
    ("replicaset", "replicaset"),
    ("rs", "replicaset"),
    ("job", "job"),
    ("gateway", "gateway"),
    ("gtw", "gateway"),
    ("gw", "gateway"),
    ("ingressclass", "ingressclass"),
    ("extension", "extension"),
    ("dataplanemetricsextension", "extension"),
    ("dataplanemetricsextensions", "extension"),
    ("address", "address"),
    ("addr", "address"),
];

/// Say why a Service, a Pod, an address or a gateway is or is not measured, and what to do about it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// What to explain: KIND/NAME, or KIND with NAME after it.
    #[arg(value_name = "KIND[/NAME]")]
    what: String,
    /// Its name, where it is not given with the kind; a gateway's may be NAMESPACE/NAME, an address is IP:PORT.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Its namespace.
    #[arg(
        short,
        long,
        env = "GAUGEWAY_NAMESPACE",
        default_value = "default",
        value_name = "NAMESPACE"
    )]
    namespace: String,
    /// Of an address: only as this gateway sees it.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    gateway: Option<String>,
    /// Where the controller's API port is.
    #[arg(long, env = "GAUGEWAY_URL", default_value = DEFAULT_URL, value_name = "URL")]
    url: String,
    /// Print JSON: the API's answer as it is.
    #[arg(long)]
    json: bool,
}

impl ExplainArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let verdict = self.explain().unwrap_or_else(|error| {
            logging::complain(&error);
            Verdict::CannotTell
        });
        Ok(ExitCode::from(match verdict {
            Verdict::Measured => 0,
            Verdict::NotMeasured => 1,
            Verdict::CannotTell => 2,
        }))
    }

    fn explain(&self) -> Result<Verdict> {
        let path = self.path()?;
        let body = runtime()?.block_on(api::get(&self.url, &path))?;
        let explanation: Explanation = serde_json::from_slice(&body)
            .context("the controller's answer is not understood; is it of the same version?")?;
        if self.json {
            out(&body)?;
            out(b"\n")?;
        } else {
            out(explanation.to_string().as_bytes())?;
        }
        Ok(explanation.verdict)
    }

    /// The API's path.
    fn path(&self) -> Result<String> {
        let (kind, name) = match (self.what.split_once('/'), &self.name) {
            (Some((kind, name)), None) => (kind, name),
            (None, Some(name)) => (self.what.as_str(), name.as_str()),
            (Some(_), Some(name)) => bail!("the name is given twice: {} {name}", self.what),
            (None, None) => bail!("{0} what? Write {0}/NAME", self.what),
        };
        let found = KINDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(kind));
        let Some((_, kind)) = found else {
            bail!(
                "{kind} cannot be explained; service, pod, deployment, statefulset, daemonset, replicaset, job, gateway, \
                 ingressclass, extension (a DataPlaneMetricsExtension) and address can"
            );
        };
        if self.gateway.is_some() && *kind != "address" {
            bail!("--gateway goes with an address");
        }
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) if *kind != "address" => (namespace, name),
            _ => (self.namespace.as_str(), name),
        };
        object_name(namespace).map_err(anyhow::Error::msg)?;
        if *kind == "address" {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                bail!("{name:?} is no address");
            }
        } else {
            object_name(name).map_err(anyhow::Error::msg)?;
        }
        Ok(match *kind {
            "ingressclass" => format!("/api/v1/explain/ingressclass/{name}"),
            "address" => {
                let address = name.replace('[', "%5B").replace(']', "%5D");
                let query = self.gateway.as_ref().map(|g| format!("?gateway={g}"));
                format!(
                    "/api/v1/explain/address/{address}{}",
                    query.unwrap_or_default()
                )
            }
            kind => format!("/api/v1/explain/{kind}/{namespace}/{name}"),
        })
    }
}
