//! What a round writes, in this order: finalizers, objects, routes' annotations; then what is no longer wanted goes, the
//! last first, and finalizers.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_operator::{
    PolicyId,
    crd::LatencyPolicy,
    deploy::{
        Change, Manifest, ManifestKind, Naming, Plan, Reason, RouteFacts, changes, is_ours,
        object_name, plugins_of,
    },
};
use gaugeway_wire::GatewayName;
use serde_json::Value;
use tracing::info;

use super::{
    Operator,
    plans::Facts,
    policies::{gateways, has_finalizer, held},
    there::{Key, There, gateway_of, is_applied},
};
use crate::{policies::Judged, source::kubernetes::Failure};

/// Of a write that meets somebody else's in each try.
const TRIES: u32 = 5;

pub(super) type Plans = BTreeMap<GatewayName, Plan>;

/// What a round could not do.
#[derive(Default)]
pub(super) struct Undone {
    /// Per gateway, by name: policies may be gone.
    pub(super) failures: BTreeMap<String, (Reason, String)>,
    /// Gateways that something is left of, until the next round.
    left: BTreeSet<String>,
}

impl Undone {
    fn fail(&mut self, gateway: &str, reason: Reason, text: String) {
        self.failures.insert(gateway.to_owned(), (reason, text));
    }

    fn note(&mut self, gateway: &str, what: &str, done: Result<(), Failure>) -> bool {
        match done {
            Ok(()) => true,
            Err(failure) => {
                let text = format!("{what}: {}", failure.text());
                self.fail(gateway, Reason::ApplyFailed, text);
                false
            }
        }
    }

    fn failed(&self, gateway: &str) -> bool {
        self.failures.contains_key(gateway)
    }

    fn is_clean(&self, gateway: &str) -> bool {
        !self.failed(gateway) && !self.left.contains(gateway)
    }
}

/// Why an object was not applied.
enum Unapplied {
    /// The cluster has no such kind.
    NotServed,
    /// Somebody else has one of that name.
    NotOurs,
    /// The gateway's own controller would refuse it.
    Refused(Failure),
    Failed(Failure),
}

impl From<Failure> for Unapplied {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Operator {
    /// Finalizers, before anything is written.
    pub(super) async fn guard(&self, judged: &Judged, plans: &Plans, undone: &mut Undone) {
        for (gateway, plan) in plans {
            for at in judged.attached.get(gateway).into_iter().flatten() {
                let Some(object) = judged.objects.get(*at) else {
                    continue;
                };
                if plan.outlives(&PolicyId::of(object))
                    && !has_finalizer(object)
                    && self.gate.is_open()
                {
                    let done = self.cluster.finalizer(object, true, TRIES).await;
                    undone.note(gateway.as_str(), "the policy's finalizer", done);
                }
            }
        }
    }

    pub(super) async fn apply(
        &self,
        gateway: &GatewayName,
        plan: &Plan,
        there: &There,
        undone: &mut Undone,
    ) {
        for manifest in &plan.objects {
            // What names another object comes after it: a failure ends it.
            if undone.failed(gateway.as_str()) || !self.gate.is_open() {
                return;
            }
            let what = described(manifest);
            match self.put(manifest, there).await {
                Ok(false) => {}
                Ok(true) => {
                    self.wrote(manifest.kind.as_str(), "apply");
                    info!(%gateway, kind = manifest.kind.as_str(), namespace = manifest.namespace, name = manifest.name, "applied");
                }
                Err(Unapplied::NotOurs) => {
                    let text =
                        format!("there is a {what} that is not Gaugeway's; delete or rename it");
                    undone.fail(gateway.as_str(), Reason::NotOurs, text);
                }
                Err(Unapplied::Refused(failure)) => {
                    let text = format!("a dry run of {what} was refused: {}", failure.text());
                    undone.fail(gateway.as_str(), Reason::WasmNotProven, text);
                }
                Err(Unapplied::NotServed) => {
                    let text = format!(
                        "{what}: the cluster does not serve {}.{} in version {}; install its CustomResourceDefinition",
                        manifest.kind.plural(),
                        manifest.kind.group(),
                        manifest.kind.version(),
                    );
                    undone.fail(gateway.as_str(), Reason::ApplyFailed, text);
                }
                Err(Unapplied::Failed(failure)) => {
                    undone.note(gateway.as_str(), &what, Err(failure));
                }
            }
        }
    }

    /// True if something was written.
    async fn put(&self, manifest: &Manifest, there: &There) -> Result<bool, Unapplied> {
        let mut held = there.of(manifest).cloned();
        for tries in 1.. {
            if held.is_none() {
                if !self.cluster.takes(manifest.kind).await? {
                    return Err(Unapplied::NotServed);
                }
                held = self.cluster.get(manifest).await?;
            }
            if let Some(held) = &held {
                if !is_ours(held, &self.deploying.home.namespace) {
                    return Err(Unapplied::NotOurs);
                }
                if is_applied(held, manifest) {
                    return Ok(false);
                }
            }
            let held_now = held.take();
            if manifest.kind == ManifestKind::KongPlugin {
                // Kong's ingress controller asks Kong whether it would take it, where its webhook is installed.
                match self.cluster.apply(manifest, held_now.as_ref(), true).await {
                    Err(failure) if failure.is_refusal() => {
                        return Err(Unapplied::Refused(failure));
                    }
                    Err(failure) if failure.is_conflict() && tries < TRIES => continue,
                    done => done?,
                }
            }
            match self.cluster.apply(manifest, held_now.as_ref(), false).await {
                Err(failure) if failure.is_conflict() && tries < TRIES => {}
                done => return Ok(done.map(|()| true)?),
            }
        }
        Ok(false)
    }

    /// Brings routes' annotations to what is wanted.
    pub(super) async fn name(
        &self,
        judged: &Judged,
        plans: &Plans,
        there: &There,
        facts: &Facts,
        undone: &mut Undone,
    ) {
        if !self.deploying.kong {
            return;
        }
        let (naming, of) = self.naming(judged, plans, there, undone);
        let mut changes = changes(&facts.routes, &naming);
        // Whoever stays is attached first: it costs nothing that others wait for their turn to go.
        changes.sort_by_key(|change| change.plugin.is_none());
        for change in changes {
            if !self.gate.is_open() {
                return;
            }
            let gateway = of.get(&change.gateway).map_or("", String::as_str);
            let route = facts.routes.iter().find(|r| r.id == change.route);
            match self.cluster.rename(&change, route, TRIES).await {
                Ok(true) => self.renamed(gateway, &change),
                Ok(false) => {}
                Err(failure) => {
                    let what = format!("{}: its annotation", change.route);
                    undone.note(gateway, &what, Err(failure));
                }
            }
        }
    }

    fn renamed(&self, gateway: &str, change: &Change) {
        let write = match change.plugin {
            Some(_) => "attach",
            None => "detach",
        };
        self.wrote(change.route.kind.as_str(), write);
        let (route, plugin) = (change.route.to_string(), change.plugin.as_deref());
        info!(gateway, route, plugin, "{write}ed");
    }

    /// What is wanted of the names of each gateway's plugins, and which gateway that is: those that have policies, those
    /// that policies with a finalizer once named, and those of plugins that are there.
    fn naming(
        &self,
        judged: &Judged,
        plans: &Plans,
        there: &There,
        undone: &Undone,
    ) -> (BTreeMap<String, Naming>, BTreeMap<String, String>) {
        let own = &self.deploying.home.namespace;
        let once = held(judged).flat_map(gateways);
        let plugins = there.objects.iter();
        let plugins = plugins.filter(|((kind, ..), _)| *kind == ManifestKind::KongPlugin);
        let plugins = plugins.map(|(_, object)| gateway_of(object).to_owned());
        let known = once.chain(plugins);
        let known = known.filter_map(|gateway| GatewayName::try_new(&gateway).ok());
        let all = plans.keys().cloned().chain(known);
        let of: BTreeMap<_, _> = all
            .map(|gateway| (object_name(own, &gateway), gateway.to_string()))
            .collect();
        let wanted = |(name, gateway): (&String, &String)| {
            let plan = plans.iter().find(|(g, _)| g.as_str() == gateway);
            let naming = match plan {
                _ if undone.failed(gateway) => Naming::AsItIs,
                Some((_, plan)) if plan.hold => Naming::AsItIs,
                Some((_, plan)) => Naming::By(plan.named.clone()),
                None => Naming::By(BTreeMap::new()),
            };
            (name.clone(), naming)
        };
        (of.iter().map(wanted).collect(), of)
    }

    /// In the reverse order: what names another object goes before it.
    pub(super) async fn prune(
        &self,
        plans: &Plans,
        there: &There,
        routes: &[RouteFacts],
        undone: &mut Undone,
    ) {
        for ((kind, namespace, name), object) in unwanted(plans, there) {
            if !self.gate.is_open() {
                return;
            }
            let gateway = gateway_of(object);
            let named = routes.iter().any(|route| {
                let mut names = plugins_of(route.plugins.as_deref(), name);
                route.id.namespace == *namespace && names.any(|n| n == name)
            });
            if *kind == ManifestKind::KongPlugin && named {
                undone.left.insert(gateway.to_owned());
                continue;
            }
            let done = self.cluster.delete(*kind, namespace, name, object).await;
            let what = format!("{} {namespace}/{name}", kind.as_str());
            if undone.note(gateway, &what, done) {
                self.wrote(kind.as_str(), "delete");
                info!(gateway, kind = kind.as_str(), namespace, name, "taken away");
            }
        }
    }

    /// Finalizers of policies that go, or no longer need one, once nothing of theirs is left.
    pub(super) async fn release(
        &self,
        judged: &Judged,
        plans: &Plans,
        there: &There,
        undone: &Undone,
    ) {
        for object in free(judged, plans, undone) {
            // What could not be listed may still be there.
            if there.unread.is_empty() && self.gate.is_open() {
                // Failing, it is tried again in the next round.
                let _ = self.cluster.finalizer(object, false, TRIES).await;
            }
        }
    }

    /// Whether there is something to take away, as far as is known.
    pub(super) fn has_to_take(
        &self,
        judged: &Judged,
        plans: &Plans,
        there: &There,
        undone: &Undone,
    ) -> bool {
        unwanted(plans, there).next().is_some() || free(judged, plans, undone).next().is_some()
    }

    fn wrote(&self, kind: &str, write: &str) {
        let writes = &self.telemetry.deploy.writes;
        writes.with_label_values(&[kind, write]).inc();
    }
}

/// What is there and in no plan, in the order in which it may go: what names another object goes before it.
fn unwanted<'a>(plans: &'a Plans, there: &'a There) -> impl Iterator<Item = (&'a Key, &'a Value)> {
    let wanted: BTreeSet<_> = plans
        .values()
        .flat_map(|plan| &plan.objects)
        .map(|m| (m.kind, m.namespace.as_str(), m.name.as_str()))
        .collect();
    let is_held = |gateway: &str| {
        let mut plans = plans.iter();
        plans.any(|(g, plan)| plan.hold && g.as_str() == gateway)
    };
    there
        .objects
        .iter()
        .rev()
        .filter(move |((kind, namespace, name), object)| {
            !is_held(gateway_of(object)) && !wanted.contains(&(*kind, &**namespace, &**name))
        })
}

/// Policies that nothing is there for that their finalizer is to see gone.
fn free<'a>(
    judged: &'a Judged,
    plans: &'a Plans,
    undone: &'a Undone,
) -> impl Iterator<Item = &'a LatencyPolicy> {
    held(judged).filter(move |object| {
        let id = PolicyId::of(object);
        let is_going = object.metadata.deletion_timestamp.is_some();
        !gateways(object).iter().any(|gateway| {
            let plan = plans.iter().find(|(g, _)| g.as_str() == gateway);
            let holds = |p: &Plan| p.hold || (!is_going && p.outlives(&id));
            !undone.is_clean(gateway) || plan.is_some_and(|(_, p)| holds(p))
        })
    })
}

fn described(manifest: &Manifest) -> String {
    format!(
        "{} {}/{}",
        manifest.kind.as_str(),
        manifest.namespace,
        manifest.name
    )
}
