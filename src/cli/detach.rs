//! `gaugeway detach`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Args;
use gaugeway_controller::{
    config::Cluster,
    detach::{Left, detach_all},
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{output::out, runtime, values};

const EXAMPLES: &str = "\
Examples:
  gaugeway detach --all --own-namespace gaugeway && helm uninstall gaugeway --namespace gaugeway
  gaugeway detach --all --own-namespace gaugeway --timeout 5m --json

One policy only:
  kubectl annotate latencypolicy NAME gaugeway.dev/detach=
To attach again, take the annotation away:
  kubectl annotate latencypolicies --all --all-namespaces gaugeway.dev/detach-

The controller must run meanwhile: it takes away what it deployed. Once the objects are gone, gateways drop the filter as \
soon as their control planes have seen it. What was pasted by hand (gaugeway render) stays.

Exit codes: 0 nothing is left; 1 something is, standard error says what; 2 the command line is wrong.";

/// Take the filter out of all gateways that the controller put it into, and wait until that is done.
///
/// To be run before the controller is uninstalled: policies with something deployed outside of their namespace are held
/// by a finalizer until then.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DetachArgs {
    /// Out of all gateways: every LatencyPolicy gets the annotation gaugeway.dev/detach.
    #[arg(long, required = true)]
    all: bool,
    /// How to reach the cluster; as kubectl does, or inside a Pod with its service account, when not given.
    #[arg(long, env = "GAUGEWAY_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where the controller lives.
    #[arg(long, env = "GAUGEWAY_OWN_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace)]
    own_namespace: String,
    /// Namespaces that the controller watches, if not all.
    #[arg(
        long,
        env = "GAUGEWAY_NAMESPACES",
        value_delimiter = ',',
        value_parser = values::namespace,
        value_name = "LIST"
    )]
    namespaces: Vec<String>,
    /// How long to wait.
    #[arg(long, default_value = "2m", value_parser = values::duration, value_name = "TIME")]
    timeout: Duration,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

impl DetachArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let cluster = Cluster {
            kubeconfig: self.kubeconfig,
            namespaces: self.namespaces,
            own_namespace: Some(self.own_namespace),
            ..Cluster::default()
        };
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}")?;
        let bar = ProgressBar::new_spinner().with_style(style);
        bar.enable_steady_tick(Duration::from_millis(200));
        let told = |left: &Left| {
            let count = left.objects.len() + left.held.len();
            bar.set_message(format!("{count} left: {left}"));
        };
        let done = runtime()?.block_on(detach_all(&cluster, self.timeout, told));
        bar.finish_and_clear();
        let done = done?;
        if self.json {
            out(serde_json::to_string(&done)?.as_bytes())?;
            out(b"\n")?;
        } else {
            let count = done.policies.len();
            out(format!("detached: {count} policies, nothing of theirs is left\n").as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
