//! Questions to the index, from any thread.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use gaugeway_aggregate::Maker;
use gaugeway_index::{
    Index, Kind, Matches, Moment, Observed, ObservedPod, ObservedWorkload, Rule, Seen, Selection,
};
use gaugeway_wire::{GatewayName, Generation, Target};
use tokio::sync::watch;

use super::clock::Clock;
use crate::telemetry::Telemetry;

/// Questions to the index, from any thread: look-ups under a lock that its writer holds for one small batch at a time.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects {
    index: Arc<RwLock<Index>>,
    synced: watch::Receiver<bool>,
    clock: Clock,
}

impl Objects {
    pub(super) fn new(
        index: Arc<RwLock<Index>>,
        synced: watch::Receiver<bool>,
        clock: Clock,
    ) -> Self {
        Self {
            index,
            synced,
            clock,
        }
    }

    /// State of what [`Objects::may_report`] answers from; `None` until the source has synced.
    #[must_use]
    pub fn reach_generation(&self) -> Option<Generation> {
        self.synced().then(|| self.index().reach_generation())
    }

    /// Whether `gateway` routes to the Service of `target`, or did within the last 24 h (of this controller's life).
    /// Unknown and overflow targets are everybody's.
    #[must_use]
    pub fn may_report(&self, gateway: &GatewayName, target: &Target) -> bool {
        self.index().may_report(gateway, target)
    }

    /// Whether all that `target` names exists and some gateway routes to its Service.
    #[must_use]
    pub fn is_live(&self, target: &Target) -> bool {
        self.index().is_live(target)
    }

    /// The Services that a gateway reaches, with the rules that select each.
    #[must_use]
    pub fn selections(&self, gateway: &GatewayName, rules: &[Rule]) -> Vec<Selection> {
        self.index().selections(gateway, rules)
    }

    /// Whether `kong_upstream_latency_ms` is shown for a gateway's Service; `None` where no policy says.
    pub(crate) fn kong_compatible(
        &self,
        gateway: &GatewayName,
        namespace: &str,
        name: &str,
    ) -> Option<bool> {
        self.index().kong_compatible(gateway, namespace, name)
    }

    /// Of these Services those that Kong's operator scrapes, as far as their annotations say.
    pub(crate) fn scraped_by_kong(
        &self,
        services: BTreeSet<(String, String)>,
    ) -> BTreeSet<(String, String)> {
        let index = self.index();
        let scraped =
            |(namespace, name): &(String, String)| index.is_scraped_by_kong(namespace, name);
        services.into_iter().filter(scraped).collect()
    }

    /// What is known of a Service; `None` when there is none of that name.
    pub(crate) fn observed(&self, namespace: &str, name: &str) -> Option<Observed> {
        self.index().observed(namespace, name)
    }

    /// The Services that some gateway routes to and whose labels match, in the order of their names.
    pub(crate) fn observed_services(
        &self,
        namespace: Option<&str>,
        matches: Matches<'_>,
    ) -> Vec<(String, String)> {
        self.index().observed_services(namespace, matches)
    }

    /// The Pods of a namespace that exist and whose labels match, in the order of their names.
    pub(crate) fn observed_pods(&self, namespace: &str, matches: Matches<'_>) -> Vec<ObservedPod> {
        self.index().observed_pods(namespace, matches)
    }

    /// Who sees a Pod; `None` when there is none of that name.
    pub(crate) fn observed_pod(&self, namespace: &str, name: &str) -> Option<Seen> {
        self.index().observed_pod(namespace, name)
    }

    /// What is known of a workload; `None` when it has no Pods and had none lately.
    pub(crate) fn observed_workload(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
    ) -> Option<ObservedWorkload> {
        self.index().observed_workload(namespace, kind, name)
    }

    /// Every workload of a namespace that has Pods.
    pub(crate) fn observed_workloads(&self, namespace: &str) -> Vec<ObservedWorkload> {
        self.index().observed_workloads(namespace)
    }

    /// Any question of a person. Its answer may take a look at everything, so it is not for what is asked often.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Index, Moment) -> T) -> T {
        question(&self.index(), self.clock.now())
    }

    pub(super) fn synced(&self) -> bool {
        *self.synced.borrow()
    }

    pub(super) async fn until_synced(&self) {
        let mut synced = self.synced.clone();
        if synced.wait_for(|synced| *synced).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn observe(&self, telemetry: &Telemetry) {
        let counts = self.index().counts();
        let held = [
            (Kind::Service, counts.services),
            (Kind::EndpointSlice, counts.slices),
            (Kind::Pod, counts.pods),
            (Kind::ReplicaSet, counts.replica_sets),
            (Kind::HttpRoute, counts.http_routes),
            (Kind::GrpcRoute, counts.grpc_routes),
            (Kind::ReferenceGrant, counts.grants),
            (Kind::Ingress, counts.ingresses),
        ];
        let objects = &telemetry.source.objects;
        for (kind, count) in held {
            let gauge = objects.with_label_values(&[kind.as_str()]);
            gauge.set(gauge_value(count));
        }
        telemetry.mapping.ambiguous.set(gauge_value(counts.shared));
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl gaugeway_aggregate::Reach for Objects {
    fn generation(&self) -> Option<Generation> {
        self.reach_generation()
    }

    fn allows(&self, gateway: &GatewayName, target: &Target) -> bool {
        self.may_report(gateway, target)
    }

    fn maker(&self, gateway: &GatewayName, target: &Target) -> Option<Maker> {
        let index = self.index();
        let rule = index.rule_of(gateway, target)?;
        Some(Maker {
            name: Arc::clone(&rule.origin),
            max_series: rule.terms.max_series,
        })
    }
}

impl gaugeway_aggregate::Liveness for Objects {
    fn is_live(&self, target: &Target) -> bool {
        Self::is_live(self, target)
    }
}
