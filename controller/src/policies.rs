//! Policies of a cluster: what they say comes into force, and what became of them is written into their status.
//!
//! Invariants:
//! - The mapping hears that everything is known only after the policies that are known then are in force.
//! - A status is written only when it changes, and each at most once per [`crate::config::Pace::status`].
//! - What cannot be written does not hold up what is in force.
//! - Every replica brings policies into force at itself; only the leader writes.

mod dropin;
mod judge;
mod news;
mod proofs;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gaugeway_index::RecordingPolicy;
use gaugeway_operator::{Scene, attachments, deploy::Deployment, dropin::Extensions, status};
use gaugeway_wire::GatewayName;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

pub(crate) use self::{dropin::Proofs, judge::Judged, news::News, proofs::Prover};
use self::{
    judge::{Cluster as Found, judge},
    write::Writer,
};
use crate::{
    auth::Verifier,
    config::Cluster,
    deploy::Told,
    ledger::Shape,
    mapping::{Event, Feed, MappingHandle, MappingStopped, Workers},
    role::{Gate, Seat},
    source::kubernetes::{Kept, Store},
    telemetry::Telemetry,
};

/// Where policies come into force.
#[derive(Clone, Debug)]
pub(crate) struct Recorders {
    /// For gateways without a policy, and for what a policy leaves open.
    pub(crate) default: RecordingPolicy,
    pub(crate) mapping: MappingHandle,
    /// How the totals are kept.
    pub(crate) shape: Arc<watch::Sender<Shape>>,
    pub(crate) seat: Seat,
    /// Makes the tokens of gateways that get their filter from here.
    pub(crate) verifier: Verifier,
    /// Whether `kong_upstream_latency_ms` is shown where no policy says.
    pub(crate) kong_metric: bool,
}

/// See the module's documentation.
pub(crate) struct Keeper {
    store: Store,
    recorders: Recorders,
    /// Where the controller lives.
    own_namespace: Option<String>,
    /// Whether IngressClasses may be read.
    classes_known: bool,
    writer: Writer,
    period: std::time::Duration,
    telemetry: Arc<Telemetry>,
    in_force: Option<InForce>,
    /// Only the leader writes.
    gate: Gate,
    /// To whoever deploys.
    judged: watch::Sender<Option<Arc<Judged>>>,
    /// What became of it.
    told: watch::Receiver<Arc<Told>>,
    /// Extensions of Kong's operator are read.
    kong_extensions: bool,
    proofs: watch::Receiver<Arc<Proofs>>,
    standings: dropin::Told,
    news: watch::Sender<News>,
}

/// What a [`Scene`] borrows.
struct Surroundings {
    selections: BTreeMap<GatewayName, Vec<Vec<usize>>>,
    scraped: BTreeMap<GatewayName, BTreeSet<usize>>,
    workers: Workers,
    deployments: Arc<BTreeMap<GatewayName, Deployment>>,
    full: BTreeSet<usize>,
}

/// What the mapping and the ledger were told last.
#[derive(PartialEq, Eq)]
struct InForce {
    shape: Shape,
    others: RecordingPolicy,
    gateways: BTreeMap<GatewayName, RecordingPolicy>,
}

impl Keeper {
    pub(crate) fn new(
        client: Client,
        store: Store,
        cluster: &Cluster,
        recorders: Recorders,
        judged: watch::Sender<Option<Arc<Judged>>>,
        (told, proofs): (watch::Receiver<Arc<Told>>, watch::Receiver<Arc<Proofs>>),
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let period = cluster.pace.status;
        Self {
            store,
            gate: recorders.seat.gate(),
            recorders,
            own_namespace: cluster.own_namespace.clone(),
            classes_known: cluster.namespaces.is_empty(),
            writer: Writer::new(client, period, telemetry.clone()),
            period,
            telemetry,
            in_force: None,
            judged,
            told,
            kong_extensions: cluster.kong_extensions,
            proofs,
            standings: dropin::Told::default(),
            news: watch::channel(News::default()).0,
        }
    }

    /// What there is beside what is in force, for people.
    pub(crate) fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Until the mapping stops. `known` becomes true when every watch has been complete once.
    pub(crate) async fn run(mut self, feed: Feed, mut known: watch::Receiver<bool>) {
        if known.wait_for(|known| *known).await.is_err() {
            return;
        }
        let mut changes = self.store.changes();
        let mut tick = interval(self.period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = false;
        loop {
            changes.borrow_and_update();
            let judged = Arc::new(self.judge());
            let told = Arc::clone(&self.told.borrow());
            self.news
                .send_modify(|news| news.renew(&judged, self.classes_known, told));
            if self.enforce(&judged).await.is_err() {
                return;
            }
            if !said {
                said = true;
                if feed.send(vec![Event::Synced]).await.is_err() {
                    return;
                }
                // Statuses are about what routes reach: the mapping has read them when it says so.
                self.recorders.mapping.until_synced().await;
            }
            self.judged.send_replace(Some(Arc::clone(&judged)));
            let around = self.surroundings(&judged);
            // Whoever stands by hears of no workers.
            if self.gate.is_open() {
                self.tell_of_extensions(&judged, &around);
                self.tell(&judged, &around).await;
            }
            tokio::select! {
                () = self.gate.changed() => {}
                () = heard(&mut self.told) => {}
                changed = changes.changed() => if changed.is_err() { return },
                _ = tick.tick() => {}
            }
        }
    }

    fn judge(&self) -> Judged {
        let classes = self
            .classes_known
            .then(|| self.store.all(Kept::IngressClass));
        let extensions = if self.kong_extensions {
            dropin::read(&self.store, &self.recorders.mapping.objects())
        } else {
            Extensions::default()
        };
        let judged = judge(
            Found {
                policies: &self.store.all(Kept::LatencyPolicy),
                gateways: &self.store.all(Kept::Gateway),
                classes: classes.as_deref(),
                own_namespace: self.own_namespace.clone(),
                extensions,
            },
            &self.recorders.default,
        );
        let held = &self.telemetry.policies.held;
        let valid = judged.objects.len();
        for (state, count) in [("valid", valid), ("invalid", judged.invalid.len())] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            held.with_label_values(&[state]).set(count);
        }
        judged
    }

    /// Positions of policies that were refused a series lately.
    fn full(&self, judged: &Judged) -> BTreeSet<usize> {
        let ledger = self.recorders.seat.totals();
        let refusing = ledger.map(|ledger| ledger.refusing()).unwrap_or_default();
        let policies = judged.policies.iter().enumerate();
        policies
            .filter(|(_, policy)| refusing.contains(judge::origin(policy).as_str()))
            .map(|(at, _)| at)
            .collect()
    }

    /// Brings into force what is not yet.
    async fn enforce(&mut self, judged: &Judged) -> Result<(), MappingStopped> {
        let wanted = InForce {
            shape: Shape {
                layout: judged.layouts.common.clone(),
                by_service: self.recorders.kong_metric || judged.asks_for_kong(),
            },
            others: judged.others.clone(),
            gateways: judged.recorded.clone(),
        };
        if self.in_force.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let Recorders {
            mapping,
            shape,
            seat,
            ..
        } = &self.recorders;
        // Before the filters: what they report is then kept as they report it. A ledger that starts later takes it over.
        shape.send_replace(wanted.shape.clone());
        if let Some(ledger) = seat.totals() {
            ledger.configure(wanted.shape.clone());
        }
        mapping
            .set_policies(wanted.others.clone(), wanted.gateways.clone())
            .await?;
        self.in_force = Some(wanted);
        Ok(())
    }

    fn surroundings(&mut self, judged: &Judged) -> Surroundings {
        let mapping = &self.recorders.mapping;
        let objects = mapping.objects();
        let full = self.full(judged);
        let mut around = Surroundings {
            selections: BTreeMap::new(),
            scraped: BTreeMap::new(),
            workers: mapping.workers(),
            deployments: Arc::clone(&self.told.borrow_and_update()),
            full,
        };
        for (gateway, rules) in &judged.rules {
            let found = objects.selections(gateway, rules);
            let scraped = found.iter().filter(|s| s.is_scraped);
            let scraped = scraped.filter_map(|s| s.rules.first().copied()).collect();
            around.scraped.insert(gateway.clone(), scraped);
            let selections = found.into_iter().map(|s| s.rules).collect();
            around.selections.insert(gateway.clone(), selections);
        }
        around
    }

    fn tell_of_extensions(&mut self, judged: &Judged, around: &Surroundings) {
        if !self.kong_extensions {
            return;
        }
        let proofs = Arc::clone(&self.proofs.borrow_and_update());
        let scene = around.scene(judged);
        let first = judged.objects.len();
        let standings =
            self.standings
                .tell(&judged.extensions, &scene, first, &proofs, &self.telemetry);
        self.news
            .send_modify(|news| news.extensions = Some(standings));
    }

    /// Writes what became of the policies.
    async fn tell(&mut self, judged: &Judged, around: &Surroundings) {
        let scene = around.scene(judged);
        let now = Time(Timestamp::now());
        let valid = judged.objects.iter().enumerate().map(|(at, object)| {
            let verdict = gaugeway_operator::Verdict::Attached(attachments(&scene, at));
            (object, verdict)
        });
        let invalid = judged.invalid.iter().map(|(o, v)| (o, v.clone()));
        let statuses = valid
            .chain(invalid)
            .map(|(object, verdict)| (object, status(object, &verdict, &now)));
        let changed: Vec<_> = statuses
            .filter(|(object, status)| {
                let held = object.status.as_ref();
                !held.is_some_and(|held| held.says_the_same(status))
            })
            .collect();
        self.writer.write(changed, Instant::now()).await;
    }
}

impl Surroundings {
    fn scene<'a>(&'a self, judged: &'a Judged) -> Scene<'a> {
        Scene {
            policies: &judged.policies,
            known: &judged.known,
            attached: &judged.attached,
            refused: &judged.layouts.refused,
            selections: &self.selections,
            workers: &self.workers,
            deployments: &self.deployments,
            full: &self.full,
            scraped: &self.scraped,
        }
    }
}

/// Where nobody deploys, there is nothing to hear.
async fn heard(told: &mut watch::Receiver<Arc<Told>>) {
    if told.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
