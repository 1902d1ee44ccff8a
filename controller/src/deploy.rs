//! Puts the filter into gateways: what [`gaugeway_operator::deploy`] plans is applied, and what it no longer plans is
//! taken away.
//!
//! Each round looks at what is there, by label, so that a controller which was killed in the middle of one, or that was
//! away while a policy went, finishes what is left over. Invariants:
//! - Only the leader acts, and looks before each act whether it still is.
//! - What does not carry our labels is never written or deleted; a name that is taken is said.
//! - What is taken away was looked for at the API server itself; all else goes by watches, and is written only if nobody
//!   else wrote meanwhile.
//! - A gateway whose facts are not known, or could not be asked for, keeps what it has.
//! - A plugin is there before a route names it, and goes after none does.
//! - A policy whose deployment would outlive it has a finalizer before anything is written for it, and loses it only
//!   after everything was taken away.

mod cluster;
mod kong;
mod plans;
mod policies;
mod served;
mod there;
mod write;

use std::{collections::BTreeMap, fs, sync::Arc};

use gaugeway_operator::deploy::{Deployment, ManifestKind, Plan, refusal};
use gaugeway_wire::GatewayName;
use tokio::sync::watch;
use tracing::warn;

pub(crate) use self::{
    cluster::{Cluster, Watched},
    served::Replicas,
};
use self::{
    there::There,
    write::{Plans, Undone},
};
use crate::{
    auth::Verifier,
    config::Deploying,
    policies::Judged,
    role::Gate,
    source::kubernetes::{Failure, Store},
    telemetry::Telemetry,
};

/// Says, in a Pod, what the cluster is called.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What became of each gateway, for the policies' status.
pub(crate) type Told = BTreeMap<GatewayName, Deployment>;

/// See the module's documentation.
pub(crate) struct Operator {
    pub(crate) cluster: Cluster,
    pub(crate) store: Store,
    pub(crate) deploying: Deploying,
    pub(crate) replicas: Replicas,
    pub(crate) verifier: Verifier,
    pub(crate) gate: Gate,
    /// What policies come to, whenever that was looked at.
    pub(crate) judged: watch::Receiver<Option<Arc<Judged>>>,
    pub(crate) told: watch::Sender<Arc<Told>>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// What was warned of last.
    pub(crate) warned: Option<String>,
}

impl Operator {
    /// Until nobody judges policies any more.
    pub(crate) async fn run(mut self) {
        while self.judged.changed().await.is_ok() {
            let judged = self.judged.borrow_and_update().clone();
            let Some(judged) = judged.filter(|_| self.gate.is_open() && self.verifier.is_ready())
            else {
                continue;
            };
            let told = self.round(&judged).await;
            self.telemetry.deploy.round(told.as_ref().ok());
            match told {
                Ok(told) => {
                    self.warned = None;
                    self.told.send_if_modified(|held| {
                        let changed = **held != told;
                        *held = Arc::new(told);
                        changed
                    });
                }
                Err(failure) => self.warn(failure.text()),
            }
        }
    }

    fn warn(&mut self, text: &str) {
        if self.warned.as_deref() != Some(text) {
            warn!("gateways are left as they are: {text}");
            self.warned = Some(text.to_owned());
        }
    }

    async fn round(&self, judged: &Judged) -> Result<Told, Failure> {
        let there = self.there(&self.cluster).await?;
        let facts = self.facts(judged, &there).await?;
        let plans = self.plans(judged, &there, &facts).await?;
        let mut undone = Undone::default();
        self.guard(judged, &plans, &mut undone).await;
        for (gateway, plan) in &plans {
            self.apply(gateway, plan, &there, &mut undone).await;
        }
        self.name(judged, &plans, &there, &facts, &mut undone).await;
        if self.has_to_take(judged, &plans, &there, &undone) {
            self.take_away(judged, &plans, &mut undone).await?;
        }
        let told = plans.into_iter().map(|(gateway, plan)| {
            let said = said(&gateway, plan, &there, &undone);
            (gateway, said)
        });
        Ok(told.collect())
    }

    /// What goes is decided by what the API server says now: a watch may be late to tell of a route that names a plugin,
    /// or of an object that keeps a finalizer.
    async fn take_away(
        &self,
        judged: &Judged,
        plans: &Plans,
        undone: &mut Undone,
    ) -> Result<(), Failure> {
        let now = self.cluster.unwatched();
        let there = self.there(&now).await?;
        let routes = if there.has(ManifestKind::KongPlugin) {
            now.routes(self.deploying.kong).await?
        } else {
            Vec::new()
        };
        self.prune(plans, &there, &routes, undone).await;
        self.release(judged, plans, &there, undone).await;
        Ok(())
    }

    /// What this controller writes.
    fn kinds(&self) -> impl Iterator<Item = ManifestKind> {
        let kong = self.deploying.kong;
        let all = ManifestKind::ALL.into_iter();
        all.filter(move |kind| kong || *kind != ManifestKind::KongPlugin)
    }
}

/// What to say of a gateway after a round.
fn said(gateway: &GatewayName, plan: Plan, there: &There, undone: &Undone) -> Deployment {
    if let Some((reason, text)) = undone.failures.get(gateway.as_str()) {
        return Deployment::Not {
            reason: *reason,
            text: text.clone(),
        };
    }
    match plan.deployment {
        Deployment::Deployed { partly, .. } => {
            let mut held = plan.objects.iter().filter_map(|m| there.of(m));
            Deployment::Deployed {
                partly,
                refused: held.find_map(refusal),
            }
        }
        other => other,
    }
}

/// The domain of the cluster's names: what the resolver's search list says, in a Pod `ns.svc.DOMAIN svc.DOMAIN DOMAIN`.
#[must_use]
pub fn cluster_domain() -> Option<String> {
    domain_of(&fs::read_to_string(RESOLV_CONF).ok()?)
}

fn domain_of(resolv_conf: &str) -> Option<String> {
    let mut searched = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("search"))
        .flat_map(str::split_whitespace);
    let domain = searched.find_map(|name| name.strip_prefix("svc."))?;
    Some(domain.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_what_the_resolver_searches() {
        let of = |text: &str| domain_of(text);
        let pod = "nameserver 10.0.0.10\nsearch gaugeway.svc.corp.example svc.corp.example corp.example\noptions ndots:5\n";
        assert_eq!(of(pod).as_deref(), Some("corp.example"));
        assert_eq!(of("nameserver 1.1.1.1\nsearch example.org\n"), None);
    }
}
