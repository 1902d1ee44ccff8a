//! Checked policies.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_wire::{ClassicBounds, Nanos, Schema};

use crate::{
    crd::{Dimension, LatencyPolicy, LatencyPolicySpec, WhenIdle},
    deploy::Deploy,
    duration,
    target::Target,
};

/// Targets of one policy, at most (the CRD's bound).
const MAX_TARGETS: usize = 16;
/// Names in one selector, at most (the CRD's bound).
const MAX_NAMES: usize = 256;
/// Labels in one selector, and labels shown, at most (the CRD's bound).
const MAX_LABELS: usize = 16;
/// Series of one policy, at most (the CRD's bound).
const MAX_SERIES: usize = 1_000_000;

/// Names a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for PolicyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a policy was read from. The first comes first where both select a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Ours.
    LatencyPolicy,
    /// Of Kong's operator: see [`crate::dropin`].
    MetricsExtension,
}

impl Origin {
    /// Its kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LatencyPolicy => "LatencyPolicy",
            Self::MetricsExtension => crate::dropin::KIND,
        }
    }
}

/// A checked policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which.
    pub id: PolicyId,
    /// What it was read from.
    pub origin: Origin,
    /// The namespace that it speaks for: its own, or an extension's ControlPlane's.
    pub home: String,
    /// Seconds since 1970; the older of two policies wins.
    pub created: i64,
    /// At least one.
    pub targets: Vec<Target>,
    /// Namespace and name; every one if `None`.
    pub names: Option<BTreeSet<(String, String)>>,
    /// Labels that a Service must have.
    pub labels: BTreeMap<String, String>,
    /// What its series show.
    pub dimensions: BTreeSet<Dimension>,
    /// Labels of objects that its series show.
    pub object_labels: Vec<String>,
    /// The latency of its Services without requests.
    pub when_idle: WhenIdle,
    /// Whether `kong_upstream_latency_ms` is shown for its Services; `None` leaves the default.
    pub kong_compatible: Option<bool>,
    /// Series that it makes at most; no bound of its own if `None`.
    pub max_series: Option<usize>,
    /// What holds for a whole gateway.
    pub settings: Settings,
}

/// What holds for a whole gateway; of several policies the oldest decides. `None` leaves the default.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Settings {
    /// Resolution.
    pub schema: Option<Schema>,
    /// Between two reports of a worker.
    pub report_interval: Option<Nanos>,
    /// Read each request's route.
    pub route: bool,
    /// Further bounds of classic buckets, for all gateways.
    pub bounds: Option<ClassicBounds>,
    /// Whether the filter is deployed.
    pub deploy: Deploy,
}

/// Why a policy cannot be used: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct Invalid {
    /// One sentence each.
    pub problems: Vec<String>,
}

impl PolicyId {
    /// Of an object.
    #[must_use]
    pub fn of(policy: &LatencyPolicy) -> Self {
        Self {
            namespace: policy.metadata.namespace.clone().unwrap_or_default(),
            name: policy.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl Policy {
    /// Checks what the CRD's schema and rules check, for clusters that skip them.
    ///
    /// # Errors
    /// [`Invalid`], with every problem.
    pub fn check(object: &LatencyPolicy) -> Result<Self, Invalid> {
        let id = PolicyId::of(object);
        let mut problems = Problems::default();
        let spec = &object.spec;
        let selector = spec.service_selector.clone().unwrap_or_default();
        let policy = Self {
            origin: Origin::LatencyPolicy,
            home: id.namespace.clone(),
            created: created(object),
            targets: targets(spec, &id.namespace, &mut problems),
            names: names(&selector, &id.namespace, &mut problems),
            labels: selector.match_labels.unwrap_or_default(),
            dimensions: spec.dimensions.iter().copied().collect(),
            object_labels: spec.labels.clone(),
            when_idle: spec.when_idle,
            kong_compatible: spec.kong_compatible,
            max_series: spec.max_series.and_then(|n| max_series(n, &mut problems)),
            settings: settings(spec, &mut problems),
            id,
        };
        problems.bound(policy.labels.len(), MAX_LABELS, "matchLabels");
        problems.bound(policy.object_labels.len(), MAX_LABELS, "labels");
        match problems.0 {
            problems if problems.is_empty() => Ok(policy),
            problems => Err(Invalid { problems }),
        }
    }
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn say(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    fn bound(&mut self, count: usize, most: usize, what: &str) {
        if count > most {
            self.say(format!(
                "{what} has {count} entries, {most} at most are possible"
            ));
        }
    }
}

/// The youngest of all when it does not say.
fn created(object: &LatencyPolicy) -> i64 {
    let time = object.metadata.creation_timestamp.as_ref();
    time.map_or(i64::MAX, |t| t.0.as_second())
}

fn targets(spec: &LatencyPolicySpec, namespace: &str, problems: &mut Problems) -> Vec<Target> {
    let refs = &spec.target_refs;
    if refs.is_empty() {
        problems.say("targetRefs is empty; name a Gateway or an IngressClass");
    }
    problems.bound(refs.len(), MAX_TARGETS, "targetRefs");
    let mut targets = Vec::new();
    for reference in refs {
        match Target::of(reference, namespace) {
            Some(target) if targets.contains(&target) => {
                problems.say(format!("targetRefs names {} twice", reference.name));
            }
            Some(target) => targets.push(target),
            None => problems.say(format!(
                "targetRefs names {} {} of group {:?}; a target is a Gateway of gateway.networking.k8s.io or an \
                 IngressClass of networking.k8s.io",
                reference.kind, reference.name, reference.group
            )),
        }
    }
    let class = |t: &Target| matches!(t, Target::IngressClass { .. });
    if refs.len() > 1 && targets.iter().any(class) {
        problems.say("an IngressClass stands alone in targetRefs");
    }
    targets
}

fn names(
    selector: &crate::crd::ServiceSelector,
    namespace: &str,
    problems: &mut Problems,
) -> Option<BTreeSet<(String, String)>> {
    let names = selector.match_names.as_ref()?;
    problems.bound(names.len(), MAX_NAMES, "matchNames");
    if names.is_empty() {
        problems.say("matchNames is empty; leave it out to select every Service");
    }
    let pair = |n: &crate::crd::ServiceName| {
        let of = n.namespace.as_deref().unwrap_or(namespace);
        (of.to_owned(), n.name.clone())
    };
    Some(names.iter().map(pair).collect())
}

fn settings(spec: &LatencyPolicySpec, problems: &mut Problems) -> Settings {
    Settings {
        schema: spec.histogram.schema.and_then(|number| {
            let schema = Schema::try_new(number);
            if schema.is_none() {
                problems.say(format!("histogram.schema is {number}; it is 0 to 5"));
            }
            schema
        }),
        report_interval: spec
            .report_interval
            .as_deref()
            .and_then(|text| interval(text, problems)),
        route: spec.dimensions.contains(&Dimension::Route),
        bounds: spec
            .histogram
            .classic_buckets
            .as_ref()
            .and_then(|texts| bounds(texts, problems)),
        deploy: deploy(spec, problems),
    }
}

fn deploy(spec: &LatencyPolicySpec, problems: &mut Problems) -> Deploy {
    let crate::crd::Deploy {
        enabled,
        assume_wasm,
    } = spec.deploy;
    if assume_wasm && enabled != Some(true) {
        problems.say(
            "deploy.assumeWasm says how to deploy into Kong, which needs deploy.enabled: true",
        );
    }
    Deploy {
        enabled,
        assume_wasm,
    }
}

fn max_series(number: u32, problems: &mut Problems) -> Option<usize> {
    let legal = |n: &usize| (1..=MAX_SERIES).contains(n);
    let max = usize::try_from(number).ok().filter(legal);
    if max.is_none() {
        problems.say(format!("maxSeries is {number}; it is 1 to {MAX_SERIES}"));
    }
    max
}

fn interval(text: &str, problems: &mut Problems) -> Option<Nanos> {
    let legal = Nanos::from_millis(1_000)..=Nanos::from_millis(3_600_000);
    let time = duration::parse(text).filter(|time| legal.contains(time));
    if time.is_none() {
        problems.say(format!(
            "reportInterval is {text:?}; it is a time from 1s to 1h"
        ));
    }
    time
}

fn bounds(texts: &[String], problems: &mut Problems) -> Option<ClassicBounds> {
    let mut times = Vec::with_capacity(texts.len());
    for text in texts {
        match duration::parse(text) {
            Some(time) => times.push(time),
            None => problems.say(format!(
                "histogram.classicBuckets has {text:?}, which is no time such as 40ms"
            )),
        }
    }
    if texts.is_empty() {
        problems.say("histogram.classicBuckets is empty; leave it out for the default");
    }
    if times.len() < texts.len() {
        return None;
    }
    // The CRD's rule is that they rise, and two that are the same do; they are one.
    times.dedup();
    ClassicBounds::try_new(times)
        .inspect_err(|error| problems.say(format!("histogram.classicBuckets: {error}")))
        .ok()
}
