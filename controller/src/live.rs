//! What Services, Pods and gateways did lately: windows of the ledger, judged by what the index knows.
//!
//! **Invariant**: idle is not unknown. Idle (selected, gateways told of the whole window, no requests) has rates of 0;
//! unknown has no numbers, and a reason.

pub(crate) mod answer;

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_aggregate::{Reading, Sample, Standings, Unknown, Via, Window};
use gaugeway_index::{Matches, ObservedWorkload, Seen, WhenIdle};
use gaugeway_wire::{GatewayName, UnixNanos};

use crate::{
    ledger::{Question, Recently, Wanted},
    mapping::MappingHandle,
    role::Seat,
};
use answer::{
    BackendOf, Gateway, GatewayList, GatewayOf, Latency, PodOf, Service, ServiceDetail,
    ServiceList, Signals, Stand, State, Workload, WorkloadDetail, WorkloadList,
};

/// Answers questions about the last seconds. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    mapping: MappingHandle,
    seat: Seat,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("the controller has not read all objects yet; ask again later")]
    NotSynced,
    #[error("the ledger is busy or stopping; ask again later")]
    Busy,
    #[error("this replica does not lead; ask again later")]
    NotLeader,
    #[error("there is no such Service")]
    NoService,
    #[error("there is no such Pod")]
    NoPod,
    #[error("there is no such workload, or it has no Pods")]
    NoWorkload,
}

/// What objects did over one window.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    /// When they were read.
    pub(crate) taken: UnixNanos,
    /// In the order of namespace and name.
    pub(crate) objects: Vec<ReadingOf>,
}

/// What an object did, or why that is unknown. A reading without requests is of an idle object.
#[derive(Clone, Debug)]
pub(crate) struct ReadingOf {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) reading: Result<Reading, Unknown>,
    /// What its latency is without requests.
    pub(crate) when_idle: WhenIdle,
}

/// An object that is to be read.
struct Asked {
    namespace: String,
    name: String,
    seen: Seen,
    /// Whose windows are joined.
    of: Vec<Wanted>,
    /// False when some that belong to it are not known any more.
    complete: bool,
}

impl Live {
    pub(crate) fn new(mapping: MappingHandle, seat: Seat) -> Self {
        Self { mapping, seat }
    }

    /// Every Service that a gateway routes to.
    pub(crate) async fn services(
        &self,
        namespace: Option<&str>,
        window: Window,
    ) -> Result<ServiceList, NoAnswer> {
        let readings = self.read_services(namespace, &|_| true, window).await?;
        let services = readings.objects.into_iter().map(|of| Service {
            signals: Signals::of(&of.reading, of.when_idle),
            namespace: of.namespace,
            name: of.name,
        });
        Ok(ServiceList {
            window: window.as_str(),
            services: services.collect(),
        })
    }

    /// The Services that some gateway routes to and whose labels match.
    pub(crate) async fn read_services(
        &self,
        namespace: Option<&str>,
        matches: Matches<'_>,
        window: Window,
    ) -> Result<Readings, NoAnswer> {
        self.synced()?;
        let objects = self.mapping.objects();
        let names = objects.observed_services(namespace, matches);
        let asked = names.into_iter().filter_map(|(namespace, name)| {
            // It may have gone since.
            let seen = objects.observed(&namespace, &name)?.seen;
            Some(Asked::service(namespace, name, seen))
        });
        self.read(asked.collect(), window).await
    }

    /// One Service.
    pub(crate) async fn read_service(
        &self,
        namespace: &str,
        name: &str,
        window: Window,
    ) -> Result<Readings, NoAnswer> {
        self.synced()?;
        let observed = self.mapping.objects().observed(namespace, name);
        let seen = observed.ok_or(NoAnswer::NoService)?.seen;
        let asked = Asked::service(namespace.to_owned(), name.to_owned(), seen);
        self.read(vec![asked], window).await
    }

    /// One Pod, while it exists.
    pub(crate) async fn read_pod(
        &self,
        namespace: &str,
        name: &str,
        window: Window,
    ) -> Result<Readings, NoAnswer> {
        self.synced()?;
        let seen = self.mapping.objects().observed_pod(namespace, name);
        let asked = Asked::pod(namespace, name, seen.ok_or(NoAnswer::NoPod)?);
        self.read(vec![asked], window).await
    }

    /// The Pods of a namespace that exist and whose labels match.
    pub(crate) async fn read_pods(
        &self,
        namespace: &str,
        matches: Matches<'_>,
        window: Window,
    ) -> Result<Readings, NoAnswer> {
        self.synced()?;
        let pods = self.mapping.objects().observed_pods(namespace, matches);
        let asked = pods
            .into_iter()
            .map(|of| Asked::pod(namespace, &of.name, of.seen));
        self.read(asked.collect(), window).await
    }

    /// A workload, such as the Deployment of that name: the sum over its Pods, those that are gone too.
    pub(crate) async fn read_workload(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
        window: Window,
    ) -> Result<Readings, NoAnswer> {
        self.synced()?;
        let objects = self.mapping.objects();
        let observed = objects.observed_workload(namespace, kind, name);
        let asked = Asked::workload(namespace, observed.ok_or(NoAnswer::NoWorkload)?);
        self.read(vec![asked], window).await
    }

    /// Every workload of a kind that has Pods in the namespace.
    pub(crate) async fn read_workloads(
        &self,
        namespace: &str,
        kind: &str,
        window: Window,
    ) -> Result<Readings, NoAnswer> {
        self.synced()?;
        let found = self.mapping.objects().observed_workloads(namespace);
        let found = found.into_iter().filter(|of| of.kind == kind);
        let asked = found.map(|of| Asked::workload(namespace, of));
        self.read(asked.collect(), window).await
    }

    /// The workloads of a namespace that have Pods.
    pub(crate) async fn workloads(
        &self,
        namespace: &str,
        window: Window,
    ) -> Result<WorkloadList, NoAnswer> {
        self.synced()?;
        let found = self.mapping.objects().observed_workloads(namespace);
        let (kinds, asked): (Vec<_>, Vec<_>) = found
            .into_iter()
            .map(|of| (of.kind.clone(), Asked::workload(namespace, of)))
            .unzip();
        let readings = self.read(asked, window).await?;
        let workloads = kinds.into_iter().zip(readings.objects);
        let workloads = workloads.map(|(kind, of)| Workload {
            signals: Signals::of(&of.reading, of.when_idle),
            namespace: of.namespace,
            kind,
            name: of.name,
        });
        Ok(WorkloadList {
            window: window.as_str(),
            workloads: workloads.collect(),
        })
    }

    /// One workload: all windows, and its Pods over one.
    pub(crate) async fn workload(
        &self,
        namespace: String,
        kind: String,
        name: String,
        window: Window,
    ) -> Result<WorkloadDetail, NoAnswer> {
        self.synced()?;
        let objects = self.mapping.objects();
        let observed = objects.observed_workload(&namespace, &kind, &name);
        let own = Asked::workload(&namespace, observed.ok_or(NoAnswer::NoWorkload)?);
        let pods = own.of.iter().filter_map(|of| match of {
            Wanted::Pod { name, .. } => Some(Asked::pod(&namespace, name, own.seen.clone())),
            _ => None,
        });
        let pods: Vec<_> = pods.collect();
        let recent = self.ask(own.of.clone(), Window::ALL.to_vec()).await?;
        Ok(WorkloadDetail {
            windows: all_windows(&recent, &own),
            window: window.as_str(),
            pods: pods_of(&recent, pods, window),
            namespace,
            kind,
            name,
        })
    }

    async fn read(&self, asked: Vec<Asked>, window: Window) -> Result<Readings, NoAnswer> {
        let wanted = asked.iter().flat_map(|asked| asked.of.clone()).collect();
        let recent = self.ask(wanted, vec![window]).await?;
        let judge = Judge::new(&recent, window);
        let objects = asked.into_iter().map(|asked| ReadingOf {
            reading: judge.read(&asked),
            when_idle: asked.seen.when_idle,
            namespace: asked.namespace,
            name: asked.name,
        });
        Ok(Readings {
            taken: recent.taken,
            objects: objects.collect(),
        })
    }

    /// One Service: all windows, and its Pods over one.
    pub(crate) async fn service(
        &self,
        namespace: String,
        name: String,
        window: Window,
    ) -> Result<ServiceDetail, NoAnswer> {
        self.synced()?;
        let observed = self.mapping.objects().observed(&namespace, &name);
        let observed = observed.ok_or(NoAnswer::NoService)?;
        let seen = &observed.seen;
        let own = Asked::service(namespace.clone(), name.clone(), seen.clone());
        let pods = observed.pods.iter();
        let pods = pods.map(|name| Asked::pod(&namespace, name, seen.clone()));
        let pods: Vec<_> = pods.collect();
        let all = pods.iter().chain([&own]);
        let wanted = all.flat_map(|asked| asked.of.clone()).collect();
        let recent = self.ask(wanted, Window::ALL.to_vec()).await?;
        let judge = Judge::new(&recent, window);
        let gateways = seen.reached_by.iter().map(|gateway| GatewayOf {
            name: gateway.to_string(),
            selects: seen.selected_by.contains(gateway),
            standing: judge.stand(gateway),
            signals: {
                let selecting = seen.selected_by.iter().filter(|of| *of == gateway);
                let told_by: Vec<_> = selecting.cloned().collect();
                let reading = judge.read_via(&own, &told_by, |via| via.gateway == *gateway);
                Signals::of(&reading, seen.when_idle)
            },
        });
        let sample = own.of.first().and_then(|of| recent.sample(of));
        let vias = sample.map(Sample::vias).unwrap_or_default();
        let ports: BTreeSet<_> = vias.iter().map(|via| &*via.port).collect();
        let backends = ports.into_iter().map(|port| {
            let reading = judge.read_via(&own, &seen.selected_by, |via| *via.port == *port);
            BackendOf {
                port: (!port.is_empty()).then(|| port.to_owned()),
                signals: Signals::of(&reading, seen.when_idle),
            }
        });
        Ok(ServiceDetail {
            backends: backends.collect(),
            window: window.as_str(),
            pods: pods_of(&recent, pods, window),
            gateways: gateways.collect(),
            windows: all_windows(&recent, &own),
            namespace,
            name,
        })
    }

    /// Every gateway that reported within the last ten minutes, or has worker VMs connected.
    pub(crate) async fn gateways(&self, window: Window) -> Result<GatewayList, NoAnswer> {
        let recent = self.ask(Vec::new(), vec![window]).await?;
        let workers = self.mapping.workers();
        let judge = Judge::new(&recent, window);
        let standings = judge.standings.into_iter().flat_map(Standings::iter);
        let mut names: Vec<_> = standings
            .map(|(name, _)| name)
            .chain(workers.keys())
            .collect();
        names.sort_unstable();
        names.dedup();
        let gateways = names.into_iter().map(|name| Gateway {
            name: name.to_string(),
            standing: judge.stand(name),
            worker_vms: workers.get(name).copied().unwrap_or_default(),
        });
        Ok(GatewayList {
            window: window.as_str(),
            gateways: gateways.collect(),
        })
    }

    fn synced(&self) -> Result<(), NoAnswer> {
        self.mapping
            .synced()
            .then_some(())
            .ok_or(NoAnswer::NotSynced)
    }

    async fn ask(&self, wanted: Vec<Wanted>, windows: Vec<Window>) -> Result<Recently, NoAnswer> {
        let question = Question { wanted, windows };
        let ledger = self.seat.totals().ok_or(NoAnswer::NotLeader)?;
        ledger.recent(question).await.ok_or(NoAnswer::Busy)
    }
}

/// Reads one window of an answer.
struct Judge<'a> {
    recent: &'a Recently,
    window: Window,
    standings: Option<&'a Standings>,
}

impl<'a> Judge<'a> {
    fn new(recent: &'a Recently, window: Window) -> Self {
        Self {
            recent,
            window,
            standings: recent.standings.get(&window),
        }
    }

    fn read(&self, asked: &Asked) -> Result<Reading, Unknown> {
        let all = self.known(asked, &asked.seen.selected_by)?;
        Ok(all.read(self.window, &self.recent.layout))
    }

    /// What came over some gateways and ports, as these gateways tell it.
    fn read_via(
        &self,
        asked: &Asked,
        told_by: &[GatewayName],
        chosen: impl Fn(&Via) -> bool,
    ) -> Result<Reading, Unknown> {
        let all = self.known(asked, told_by)?;
        if all.has_others() {
            return Err(Unknown::Full);
        }
        Ok(all.read_via(self.window, &self.recent.layout, chosen))
    }

    /// All there is, if it is all.
    fn known(&self, asked: &Asked, told_by: &[GatewayName]) -> Result<Sample, Unknown> {
        if asked.seen.reached_by.is_empty() {
            return Err(Unknown::NotRouted);
        }
        if asked.seen.selected_by.is_empty() {
            return Err(Unknown::NotSelected);
        }
        let standings = self.standings.ok_or(Unknown::NoGateway)?;
        let known = standings.judge(told_by)?;
        let mut samples = asked.of.iter().map(|of| self.recent.sample(of));
        let first = samples.next().flatten();
        let mut all = first.ok_or(Unknown::Full)?.clone();
        for sample in samples {
            all.join(sample.ok_or(Unknown::Full)?);
        }
        all = all.as_told(known);
        if !asked.complete || !all.is_complete(self.window) {
            return Err(Unknown::Full);
        }
        Ok(all)
    }

    fn stand(&self, gateway: &GatewayName) -> Stand {
        let all = self.standings.into_iter().flat_map(Standings::iter);
        let found = all.into_iter().find(|(name, _)| *name == gateway);
        Stand::of(found.map(|(_, standing)| standing), self.recent.taken)
    }
}

/// Signals of all windows.
fn all_windows(recent: &Recently, of: &Asked) -> BTreeMap<&'static str, Signals> {
    let one = |window: Window| {
        let reading = Judge::new(recent, window).read(of);
        (window.as_str(), Signals::of(&reading, of.seen.when_idle))
    };
    Window::ALL.map(one).into()
}

fn pods_of(recent: &Recently, pods: Vec<Asked>, window: Window) -> Vec<PodOf> {
    let judge = Judge::new(recent, window);
    let one = |asked: Asked| PodOf {
        signals: Signals::of(&judge.read(&asked), asked.seen.when_idle),
        name: asked.name,
    };
    pods.into_iter().map(one).collect()
}

impl Asked {
    fn pod(namespace: &str, name: &str, seen: Seen) -> Self {
        Self {
            of: vec![pod(namespace, name)],
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            seen,
            complete: true,
        }
    }

    /// The sum over its Pods, and over what its reports of gone Pods were kept for.
    fn workload(namespace: &str, observed: ObservedWorkload) -> Self {
        let own = Wanted::Workload {
            namespace: namespace.to_owned(),
            kind: observed.kind,
            name: observed.name.clone(),
        };
        let pods = observed.pods.iter().map(|name| pod(namespace, name));
        Self {
            of: pods.chain([own]).collect(),
            namespace: namespace.to_owned(),
            name: observed.name,
            seen: observed.seen,
            complete: observed.complete,
        }
    }

    fn service(namespace: String, name: String, seen: Seen) -> Self {
        Self {
            of: vec![Wanted::Service {
                namespace: namespace.clone(),
                name: name.clone(),
            }],
            namespace,
            name,
            seen,
            complete: true,
        }
    }
}

impl Signals {
    fn of(reading: &Result<Reading, Unknown>, when_idle: WhenIdle) -> Self {
        match reading {
            Ok(reading) => Self::known(reading, when_idle),
            Err(unknown) => Self::unknown(unknown),
        }
    }

    fn known(reading: &Reading, when_idle: WhenIdle) -> Self {
        let idle = reading.counts().requests_total() == 0;
        let quantile = |q| reading.quantile_seconds(q);
        let latency = reading.average_seconds().map(|average| Latency {
            average,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
        });
        Self {
            state: if idle { State::Idle } else { State::Active },
            reason: None,
            requests_per_second: Some(reading.requests_per_second()),
            concurrency: Some(reading.concurrency()),
            error_ratio: Some(reading.error_ratio().unwrap_or(0.0)),
            latency_seconds: latency.or((idle && when_idle == WhenIdle::Zero).then(Latency::zero)),
        }
    }
}

fn pod(namespace: &str, name: &str) -> Wanted {
    Wanted::Pod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use gaugeway_wire::Policy;

    use super::*;

    #[test]
    fn an_idle_object_has_the_latency_that_its_policy_wants() {
        let idle = Ok(Sample::empty(UnixNanos(1_000_000_000_000))
            .read(Window::Seconds60, &Policy::default().layout()));
        let zero = Signals::of(&idle, WhenIdle::Zero);
        assert_eq!(zero.state, State::Idle);
        assert!(
            zero.latency_seconds
                .is_some_and(|l| l.average == 0.0 && l.p99 == Some(0.0))
        );
        let absent = Signals::of(&idle, WhenIdle::Absent);
        assert_eq!(absent.state, State::Idle);
        assert!(absent.latency_seconds.is_none());
        assert_eq!(absent.requests_per_second, Some(0.0));
    }
}
