//! What Services, Pods and gateways did lately: windows of the ledger, judged by what the index knows.
//!
//! **Invariant**: idle is not unknown. Idle (selected, gateways told of the whole window, no requests) has rates of 0;
//! unknown has no numbers, and a reason.

pub(crate) mod answer;

use std::collections::BTreeMap;

use gaugeway_aggregate::{Reading, Sample, Standings, Unknown, Window};
use gaugeway_index::Observed;

use crate::{
    ledger::{LedgerHandle, Question, Recently, Wanted},
    mapping::MappingHandle,
};
use answer::{
    Gateway, GatewayList, GatewayOf, Latency, PodOf, Service, ServiceDetail, ServiceList, Signals,
    Stand, State,
};

/// Answers questions about the last seconds. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    mapping: MappingHandle,
    ledger: LedgerHandle,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("the controller has not read all objects yet; ask again later")]
    NotSynced,
    #[error("the ledger is busy or stopping; ask again later")]
    Busy,
    #[error("there is no such Service")]
    NoService,
}

impl Live {
    pub(crate) fn new(mapping: MappingHandle, ledger: LedgerHandle) -> Self {
        Self { mapping, ledger }
    }

    /// Every Service that a gateway routes to.
    pub(crate) async fn services(
        &self,
        namespace: Option<&str>,
        window: Window,
    ) -> Result<ServiceList, NoAnswer> {
        self.synced()?;
        let objects = self.mapping.objects();
        let mut names = objects.observed_services();
        names.retain(|(of, _)| namespace.is_none_or(|n| n == of));
        let wanted = names.iter().map(|(n, s)| service(n, s)).collect();
        let recent = self.ask(wanted, vec![window]).await?;
        let judge = Judge::new(&recent, window);
        let services = names.into_iter().filter_map(|(namespace, name)| {
            // It may have gone since.
            let observed = objects.observed(&namespace, &name)?;
            let signals = judge.signals(&observed, service(&namespace, &name));
            Some(Service {
                namespace,
                name,
                signals,
            })
        });
        Ok(ServiceList {
            window: window.as_str(),
            services: services.collect(),
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
        let pods = observed.pods.iter().map(|p| pod(&namespace, p));
        let wanted = pods.chain([service(&namespace, &name)]).collect();
        let recent = self.ask(wanted, Window::ALL.to_vec()).await?;
        let mut windows = BTreeMap::new();
        for window in Window::ALL {
            let signals =
                Judge::new(&recent, window).signals(&observed, service(&namespace, &name));
            windows.insert(window.as_str(), signals);
        }
        let judge = Judge::new(&recent, window);
        let pods = observed.pods.iter().map(|name| PodOf {
            name: name.clone(),
            signals: judge.signals(&observed, pod(&namespace, name)),
        });
        let gateways = observed.reached_by.iter().map(|gateway| GatewayOf {
            name: gateway.to_string(),
            selects: observed.selected_by.contains(gateway),
            standing: judge.stand(gateway),
        });
        Ok(ServiceDetail {
            window: window.as_str(),
            pods: pods.collect(),
            gateways: gateways.collect(),
            namespace,
            name,
            windows,
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
        self.ledger.recent(question).await.ok_or(NoAnswer::Busy)
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

    /// What an object of a Service (or the Service) did.
    fn signals(&self, observed: &Observed, wanted: Wanted) -> Signals {
        match self.read(observed, wanted) {
            Ok(reading) => Signals::from(&reading),
            Err(unknown) => Signals::unknown(&unknown),
        }
    }

    fn read(&self, observed: &Observed, wanted: Wanted) -> Result<Reading, Unknown> {
        if observed.reached_by.is_empty() {
            return Err(Unknown::NotRouted);
        }
        if observed.selected_by.is_empty() {
            return Err(Unknown::NotSelected);
        }
        let standings = self.standings.ok_or(Unknown::NoGateway)?;
        standings.judge(&observed.selected_by)?;
        let sample = self.recent.sample(wanted, self.window);
        let sample = sample.filter(|s| Sample::is_complete(s));
        let sample = sample.ok_or(Unknown::Full)?;
        Ok(sample.read(&self.recent.layout))
    }

    fn stand(&self, gateway: &gaugeway_wire::GatewayName) -> Stand {
        let all = self.standings.into_iter().flat_map(Standings::iter);
        let found = all.into_iter().find(|(name, _)| *name == gateway);
        Stand::of(found.map(|(_, standing)| standing), self.recent.taken)
    }
}

impl From<&Reading> for Signals {
    fn from(reading: &Reading) -> Self {
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
            latency_seconds: latency,
        }
    }
}

fn service(namespace: &str, name: &str) -> Wanted {
    Wanted::Service {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn pod(namespace: &str, name: &str) -> Wanted {
    Wanted::Pod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}
