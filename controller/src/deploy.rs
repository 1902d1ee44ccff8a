//! Puts the filter into gateways: what [`gaugeway_operator::deploy`] plans is applied, and what it no longer plans is
//! taken away.
//!
//! Each round looks at what is there, by label, so that a controller which was killed in the middle of one, or that was
//! away while a policy went, finishes what is left over. Invariants:
//! - Only the leader acts, and looks before each act whether it still is.
//! - What does not carry our labels is never written or deleted; a name that is taken is said.
//! - A gateway whose facts are not known, or could not be asked for, keeps what it has.
//! - A policy whose deployment would outlive it has a finalizer before anything is written for it, and loses it only
//!   after everything was taken away.

mod cluster;
mod served;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use gaugeway_operator::{
    PolicyId, Target,
    crd::LatencyPolicy,
    deploy::{
        APPLIED, DETACH, Deployment, FINALIZER, GATEWAY, Manifest, ManifestKind, Owner, Plan,
        Proof, Reason, RouteFacts, Subject, covers, is_ours, module_to_name, plan, refusal,
    },
};
use gaugeway_wire::GatewayName;
use kube::ResourceExt as _;
use serde_json::Value;
use tokio::sync::watch;
use tracing::{info, warn};

pub(crate) use self::{cluster::Cluster, served::Replicas};
use crate::{
    auth::{Token, Verifier},
    config::Deploying,
    policies::Judged,
    role::Gate,
    source::kubernetes::{Failure, Kept, Store},
};

/// Says, in a Pod, what the cluster is called.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What this version writes. Kong's plugins are planned, and not applied yet.
pub(crate) const DEPLOYED: [ManifestKind; 5] = [
    ManifestKind::ReferenceGrant,
    ManifestKind::HttpRoute,
    ManifestKind::EnvoyPatchPolicy,
    ManifestKind::EnvoyExtensionPolicy,
    ManifestKind::WasmPlugin,
];

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
    /// What was warned of last.
    pub(crate) warned: Option<String>,
}

/// What is there of ours, by kind, namespace and name.
type There = BTreeMap<(ManifestKind, String, String), Value>;

/// What could not be done in a round, per gateway.
type Failures = BTreeMap<String, (Reason, String)>;

impl Operator {
    /// Until nobody judges policies any more.
    pub(crate) async fn run(mut self) {
        while self.judged.changed().await.is_ok() {
            let judged = self.judged.borrow_and_update().clone();
            let Some(judged) = judged.filter(|_| self.gate.is_open() && self.verifier.is_ready())
            else {
                continue;
            };
            match self.round(&judged).await {
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
        let there = self.there().await?;
        let plans = self.plans(judged, &there).await?;
        let mut failures = Failures::new();
        self.guard(judged, &plans, &mut failures).await;
        for (gateway, plan) in &plans {
            self.apply(gateway, plan, &there, &mut failures).await;
        }
        self.prune(&plans, &there, &mut failures).await;
        self.release(judged, &plans, &failures).await;
        let told = plans.into_iter().map(|(gateway, plan)| {
            let said = said(&gateway, plan, &there, &failures);
            (gateway, said)
        });
        Ok(told.collect())
    }

    /// All that carries our labels.
    async fn there(&self) -> Result<There, Failure> {
        let mut there = There::new();
        for kind in DEPLOYED {
            for object in self.cluster.ours(kind).await? {
                let text = |key: &str| {
                    object["metadata"][key]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                };
                there.insert((kind, text("namespace"), text("name")), object);
            }
        }
        Ok(there)
    }

    async fn plans(
        &self,
        judged: &Judged,
        there: &There,
    ) -> Result<BTreeMap<GatewayName, Plan>, Failure> {
        let classes = self.classes().await?;
        let extensions = self.cluster.extensions().await?;
        let extensions: Vec<&Value> = extensions.iter().collect();
        let routes = self.routes(&extensions).await?;
        let served = self
            .replicas
            .serve(&self.cluster, &self.deploying.module)
            .await?;
        let gateways = self.store.all(Kept::Gateway);
        let mut plans = BTreeMap::new();
        for (gateway, order) in &judged.attached {
            let Some(target) = target(judged, gateway, order) else {
                continue;
            };
            let object = match &target {
                Target::Gateway { namespace, name } => gateways
                    .iter()
                    .find(|g| g.namespace().as_ref() == Some(namespace) && g.name_any() == *name)
                    .and_then(|g| serde_json::to_value(&**g).ok())
                    .unwrap_or_default(),
                Target::IngressClass { .. } => Value::Null,
            };
            let class = object["spec"]["gatewayClassName"]
                .as_str()
                .unwrap_or_default();
            let owners: Vec<Owner> = order
                .iter()
                .filter_map(|at| owner(judged.objects.get(*at)?))
                .collect();
            let strongest = order.first().and_then(|at| judged.policies.get(*at));
            let token = self.verifier.token(gateway);
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            let secret = self.verifier.secret(gateway);
            let held = held_module(there, gateway);
            let made = plan(
                &self.deploying.home,
                &Subject {
                    gateway,
                    target: &target,
                    owners: &owners,
                    deploy: strongest.map(|p| p.settings.deploy).unwrap_or_default(),
                    detached: order
                        .iter()
                        .any(|at| judged.objects.get(*at).is_some_and(is_detached)),
                    controller: classes.get(class).map(String::as_str),
                    token: token.as_ref().map(Token::as_str),
                    // Where no tokens are asked for, there is nothing to keep.
                    secret: secret.as_ref().map_or(uid, Token::as_str),
                    module: module_to_name(&self.deploying.module, served, held),
                    object: &object,
                    extensions: &extensions,
                    routes: &routes,
                    kongs: &BTreeSet::new(),
                    confined: None,
                    proof: &Proof::Unknown("this version does not deploy into Kong: gaugeway render kong prints what to paste".to_owned()),
                },
            );
            plans.insert(gateway.clone(), made);
        }
        Ok(plans)
    }

    /// Controllers of GatewayClasses; where they may not be read, as the command line says.
    async fn classes(&self) -> Result<BTreeMap<String, String>, Failure> {
        if self.deploying.classes.is_empty() {
            self.cluster.gateway_classes().await
        } else {
            Ok(self.deploying.classes.clone())
        }
    }

    /// Only where somebody else's policy may be on one of them.
    async fn routes(&self, extensions: &[&Value]) -> Result<Vec<RouteFacts>, Failure> {
        let foreign = |policy: &&&Value| !is_ours(policy, &self.deploying.home.namespace);
        if extensions.iter().any(|p| foreign(&p)) {
            self.cluster.routes().await
        } else {
            Ok(Vec::new())
        }
    }

    /// Finalizers, before anything is written.
    async fn guard(
        &self,
        judged: &Judged,
        plans: &BTreeMap<GatewayName, Plan>,
        failures: &mut Failures,
    ) {
        for (gateway, plan) in plans {
            for at in judged.attached.get(gateway).into_iter().flatten() {
                let Some(object) = judged.objects.get(*at) else {
                    continue;
                };
                if plan.outlives(&PolicyId::of(object))
                    && !has_finalizer(object)
                    && self.gate.is_open()
                {
                    let done = self.cluster.finalizer(object, true).await;
                    note(failures, gateway.as_str(), "the policy's finalizer", done);
                }
            }
        }
    }

    async fn apply(
        &self,
        gateway: &GatewayName,
        plan: &Plan,
        there: &There,
        failures: &mut Failures,
    ) {
        for manifest in &plan.objects {
            // What names another object comes after it: a failure ends it.
            if failures.contains_key(gateway.as_str()) || !self.gate.is_open() {
                return;
            }
            let key = (
                manifest.kind,
                manifest.namespace.clone(),
                manifest.name.clone(),
            );
            let held = there.get(&key);
            if held.is_some_and(|held| is_applied(held, manifest)) {
                continue;
            }
            if held.is_none() {
                match self.cluster.exists(manifest).await {
                    Ok(false) => {}
                    Ok(true) => {
                        let text = format!(
                            "there is a {} {}/{} that is not Gaugeway's; delete or rename it",
                            manifest.kind.as_str(),
                            manifest.namespace,
                            manifest.name
                        );
                        failures.insert(gateway.as_str().to_owned(), (Reason::NotOurs, text));
                        return;
                    }
                    Err(failure) => {
                        return note(failures, gateway.as_str(), &what(manifest), Err(failure));
                    }
                }
            }
            let done = self.cluster.apply(manifest, held).await;
            if done.is_ok() {
                info!(%gateway, kind = manifest.kind.as_str(), namespace = manifest.namespace, name = manifest.name, "applied");
            }
            note(failures, gateway.as_str(), &what(manifest), done);
        }
    }

    /// In the reverse order: what names another object goes before it.
    async fn prune(
        &self,
        plans: &BTreeMap<GatewayName, Plan>,
        there: &There,
        failures: &mut Failures,
    ) {
        let wanted: BTreeSet<_> = plans
            .values()
            .flat_map(|plan| &plan.objects)
            .map(|m| (m.kind, m.namespace.as_str(), m.name.as_str()))
            .collect();
        for ((kind, namespace, name), object) in there.iter().rev() {
            let gateway = gateway_of(object);
            let held = plans
                .iter()
                .any(|(g, plan)| plan.hold && g.as_str() == gateway);
            if held || wanted.contains(&(*kind, namespace, name)) || !self.gate.is_open() {
                continue;
            }
            let done = self.cluster.delete(*kind, namespace, name, object).await;
            if done.is_ok() {
                info!(gateway, kind = kind.as_str(), namespace, name, "taken away");
            }
            note(failures, gateway, kind.as_str(), done);
        }
    }

    /// Finalizers of policies that go, or no longer need one, once nothing of theirs is left.
    async fn release(
        &self,
        judged: &Judged,
        plans: &BTreeMap<GatewayName, Plan>,
        failures: &Failures,
    ) {
        let going = judged.going.iter();
        for object in going.chain(&judged.objects).filter(|o| has_finalizer(o)) {
            let id = PolicyId::of(object);
            let is_going = object.metadata.deletion_timestamp.is_some();
            let gateways = gateways(object);
            let needed = gateways.iter().any(|gateway| {
                let plan = plans
                    .iter()
                    .find(|(g, _)| g.as_str() == gateway)
                    .map(|(_, p)| p);
                failures.contains_key(gateway)
                    || plan.is_some_and(|p| p.hold || (!is_going && p.outlives(&id)))
            });
            if !needed && self.gate.is_open() {
                // Failing, it is tried again in the next round.
                let _ = self.cluster.finalizer(object, false).await;
            }
        }
    }
}

fn what(manifest: &Manifest) -> String {
    format!(
        "{} {}/{}",
        manifest.kind.as_str(),
        manifest.namespace,
        manifest.name
    )
}

fn note(failures: &mut Failures, gateway: &str, what: &str, done: Result<(), Failure>) {
    if let Err(failure) = done {
        let text = format!("{what}: {}", failure.text());
        failures.insert(gateway.to_owned(), (Reason::ApplyFailed, text));
    }
}

/// What to say of a gateway after a round.
fn said(gateway: &GatewayName, plan: Plan, there: &There, failures: &Failures) -> Deployment {
    if let Some((reason, text)) = failures.get(gateway.as_str()) {
        return Deployment::Not {
            reason: *reason,
            text: text.clone(),
        };
    }
    match plan.deployment {
        Deployment::Deployed { partly, .. } => {
            let mut held = plan
                .objects
                .iter()
                .filter_map(|m| there.get(&(m.kind, m.namespace.clone(), m.name.clone())));
            Deployment::Deployed {
                partly,
                refused: held.find_map(refusal),
            }
        }
        other => other,
    }
}

/// Whether it was applied as it is now, and nobody changed it since.
fn is_applied(held: &Value, manifest: &Manifest) -> bool {
    let hash = |object: &Value| object["metadata"]["annotations"][APPLIED].clone();
    hash(held) == hash(&manifest.object) && covers(held, &manifest.object)
}

fn gateway_of(object: &Value) -> &str {
    object["metadata"]["annotations"][GATEWAY]
        .as_str()
        .unwrap_or_default()
}

/// The module that a gateway was told of.
fn held_module<'a>(there: &'a There, gateway: &GatewayName) -> Option<&'a str> {
    let mut of = there
        .iter()
        .filter(|(_, object)| gateway_of(object) == gateway.as_str());
    of.find_map(|((kind, ..), object)| match kind {
        ManifestKind::EnvoyExtensionPolicy => {
            object["spec"]["wasm"][0]["code"]["http"]["sha256"].as_str()
        }
        ManifestKind::WasmPlugin => object["spec"]["sha256"].as_str(),
        _ => None,
    })
}

fn target(judged: &Judged, gateway: &GatewayName, order: &[usize]) -> Option<Target> {
    let policy = judged.policies.get(*order.first()?)?;
    let mut targets = policy.targets.iter();
    targets
        .find(|t| t.gateway().as_ref() == Some(gateway))
        .cloned()
}

fn owner(object: &LatencyPolicy) -> Option<Owner> {
    Some(Owner {
        id: PolicyId::of(object),
        uid: object.metadata.uid.clone()?,
    })
}

fn is_detached(object: &LatencyPolicy) -> bool {
    object.annotations().contains_key(DETACH)
}

fn has_finalizer(object: &LatencyPolicy) -> bool {
    object.finalizers().iter().any(|f| f == FINALIZER)
}

/// As its targets are called, whether they are there or not.
fn gateways(object: &LatencyPolicy) -> Vec<String> {
    let namespace = object.namespace().unwrap_or_default();
    let refs = object.spec.target_refs.iter();
    refs.map(|r| match r.kind.as_str() {
        "IngressClass" => format!("ingressclass:{}", r.name),
        _ => format!("{namespace}/{}", r.name),
    })
    .collect()
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
