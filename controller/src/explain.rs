//! Why something is or is not measured: facts are gathered here, and judged by plain functions.
//!
//! Invariant: an explanation says nothing that the controller does not know. Before the source has been read, an absent
//! object means nothing, so there is no verdict.

mod answer;
mod extension;
mod facts;
mod gateway;
mod pods;
mod registration;
mod service;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use gaugeway_aggregate::{Snapshot, Standing, Unknown, Window};
use gaugeway_index::explain::{RouteUse, Selected};
use gaugeway_wire::{GatewayName, target::names};
use tokio::sync::watch;

pub use answer::{Explanation, Step, StepState, Verdict};

use facts::{AddressCase, CountsCase, GatewayCase, PodCase, ReachCase, ReportCase, ServiceCase};

use crate::{
    ledger::{Question, Recently, Scraper, Wanted},
    mapping::MappingHandle,
    policies::News,
    role::Seat,
    serving::Registration,
    source::SourceState,
};

/// Services explained in one answer, at most.
const SERVICES: usize = 8;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Service {
        namespace: String,
        name: String,
    },
    Pod {
        namespace: String,
        name: String,
    },
    /// A Deployment, StatefulSet, …
    Workload {
        kind: String,
        namespace: String,
        name: String,
    },
    Address {
        address: String,
        gateway: Option<GatewayName>,
    },
    Gateway(GatewayName),
    /// A DataPlaneMetricsExtension.
    Extension {
        namespace: String,
        name: String,
    },
}

impl Asked {
    /// Whether autoscalers ask for numbers of it.
    const fn is_scaled(&self) -> bool {
        matches!(
            self,
            Self::Service { .. } | Self::Pod { .. } | Self::Workload { .. }
        )
    }
}

/// Answers such questions. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Explainer {
    pub(crate) mapping: MappingHandle,
    pub(crate) seat: Seat,
    pub(crate) source: SourceState,
    /// What is known of policies and gateways beside what is in force; `None` without a cluster.
    pub(crate) news: Option<watch::Receiver<News>>,
    /// How the registration of the metrics API is, as this replica found it; nothing where it does not register.
    pub(crate) registered: watch::Receiver<Option<Registration>>,
    pub(crate) max_series: usize,
}

/// What the ledger said, once per question. Nothing where this replica has none.
#[derive(Default)]
struct Counted {
    recent: Option<Recently>,
    snapshot: Option<Snapshot>,
    /// Policies that have as many series as they may.
    refusing: Arc<BTreeSet<Arc<str>>>,
}

impl Explainer {
    pub(crate) async fn explain(&self, asked: &Asked) -> Explanation {
        if !self.mapping.synced() {
            return not_synced(asked, &self.source.missing());
        }
        let mut explanation = self.of(asked).await;
        if asked.is_scaled() {
            let registered = self.registered.borrow();
            let step = registered.as_ref().map(registration::step);
            explanation.steps.extend(step);
        }
        explanation
    }

    async fn of(&self, asked: &Asked) -> Explanation {
        match asked {
            Asked::Service { namespace, name } => {
                let pair = (namespace.clone(), name.clone());
                let cases = self.services(&[pair]).await;
                let explained = cases.first().map(service::explain);
                explained.unwrap_or_else(|| not_synced(asked, "the controller stops"))
            }
            Asked::Pod { namespace, name } => {
                let facts = self
                    .mapping
                    .objects()
                    .ask(|i, _| i.pod_facts(namespace, name));
                pods::explain(&PodCase {
                    kind: "Pod".to_owned(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                    services: self.services_of(&facts.services, &facts.pods).await,
                    facts,
                })
            }
            Asked::Workload {
                kind,
                namespace,
                name,
            } => {
                let objects = self.mapping.objects();
                let facts = objects.ask(|i, _| i.workload_facts(namespace, kind, name));
                pods::explain(&PodCase {
                    kind: kind.clone(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                    services: self.services_of(&facts.services, &facts.pods).await,
                    facts,
                })
            }
            Asked::Address { address, gateway } => {
                pods::explain_address(&self.address(address, gateway.as_ref()).await)
            }
            Asked::Gateway(name) => gateway::explain(&self.reach(name).await),
            Asked::Extension { namespace, name } => {
                let news = self.news.as_ref().map(|news| news.borrow().clone());
                let known = news.as_ref().and_then(News::extensions);
                extension::explain(namespace, name, known)
            }
        }
    }

    /// Services as they are for some of their Pods.
    async fn services_of(&self, names: &[(String, String)], pods: &[String]) -> Vec<ServiceCase> {
        let mut cases = self.services(names).await;
        for case in &mut cases {
            let of = |pod: &Option<String>| pod.as_ref().is_some_and(|pod| pods.contains(pod));
            case.endpoints.retain(|e| of(&e.pod));
        }
        cases
    }

    async fn services(&self, names: &[(String, String)]) -> Vec<ServiceCase> {
        let names = names.get(..SERVICES).unwrap_or(names);
        let counted = self.counted(names).await;
        let mut cases = Vec::new();
        for (namespace, name) in names {
            cases.push(self.service(namespace, name, &counted).await);
        }
        cases
    }

    async fn service(&self, namespace: &str, name: &str, counted: &Counted) -> ServiceCase {
        let (facts, uses, endpoints) = self.mapping.objects().ask(|index, _| {
            (
                index.service_facts(namespace, name),
                index.route_uses(namespace, name),
                index.endpoint_facts(namespace, name),
            )
        });
        let addresses: Vec<_> = endpoints.iter().map(|e| e.address.clone()).collect();
        let mut gateways = Vec::new();
        for gateway in reaching(&uses) {
            let case = self.gateway(&gateway, addresses.clone(), counted).await;
            let objects = self.mapping.objects();
            let selected = objects.ask(|i, _| i.selected(gateway.as_str(), namespace, name));
            gateways.push((case, selected));
        }
        ServiceCase {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            counts: self.counts(namespace, name, &gateways, counted),
            facts,
            uses,
            endpoints,
            gateways,
            only: None,
        }
    }

    async fn gateway(
        &self,
        name: &GatewayName,
        addresses: Vec<String>,
        counted: &Counted,
    ) -> GatewayCase {
        let workers = self.mapping.worker_facts(name.clone(), addresses).await;
        let news = self.news.as_ref().map(|news| news.borrow().clone());
        let objects = self.mapping.objects();
        GatewayCase {
            name: name.to_string(),
            deployment: news
                .as_ref()
                .map(|news| news.deployment(name))
                .unwrap_or_default(),
            exists: news.as_ref().and_then(|news| news.has(name)),
            policies: objects.ask(|index, _| index.policies_of(name.as_str())),
            unusable: news.map(|news| news.unusable(name)).unwrap_or_default(),
            workers: workers.unwrap_or_default(),
            report: counted.recent.as_ref().and_then(|r| report(r, name)),
        }
    }

    async fn address(&self, address: &str, gateway: Option<&GatewayName>) -> AddressCase {
        let facts = self
            .mapping
            .objects()
            .ask(|index, now| index.address_facts(address, now));
        let mut names: Vec<_> = facts
            .owners
            .iter()
            .map(|o| (o.namespace.clone(), o.name.clone()))
            .collect();
        names.dedup();
        let mut services = self.services(&names).await;
        for case in &mut services {
            if let Some(asked) = gateway {
                case.only = Some(asked.to_string());
                case.gateways.retain(|(g, _)| g.name == asked.as_str());
                case.uses
                    .retain(|u| u.gateways.iter().any(|g| g == asked.as_str()));
            }
        }
        let counted = self.counted(&[]).await;
        let reaching = services.iter().flat_map(|case| reaching(&case.uses));
        let mut gateways: Vec<_> = gateway.cloned().into_iter().chain(reaching).collect();
        gateways.sort_unstable();
        gateways.dedup();
        let mut told = Vec::new();
        for name in gateways {
            let case = self
                .gateway(&name, vec![address.to_owned()], &counted)
                .await;
            let objects = self.mapping.objects();
            told.push((
                case,
                objects.ask(|i, now| i.candidate_facts(&name, address, now)),
            ));
        }
        AddressCase {
            address: address.to_owned(),
            facts,
            told,
            services,
        }
    }

    async fn reach(&self, name: &GatewayName) -> ReachCase {
        let counted = self.counted(&[]).await;
        let objects = self.mapping.objects();
        let facts = objects.ask(|index, _| index.gateway_facts(name.as_str()));
        let selected = |(namespace, service): &(String, String)| {
            let selected = objects.ask(|i, _| i.selected(name.as_str(), namespace, service));
            (namespace.clone(), service.clone(), selected)
        };
        ReachCase {
            gateway: self.gateway(name, Vec::new(), &counted).await,
            services: facts.services.iter().map(selected).collect(),
            routes: facts.routes,
        }
    }

    async fn counted(&self, services: &[(String, String)]) -> Counted {
        let wanted = services.iter().map(|(namespace, name)| Wanted::Service {
            namespace: namespace.clone(),
            name: name.clone(),
        });
        let question = Question {
            wanted: wanted.collect(),
            windows: vec![Window::Seconds60],
        };
        let Some(ledger) = self.seat.totals() else {
            return Counted::default();
        };
        // A scraper of this name is never told that anything was delivered, so it changes nothing.
        let scrape = ledger.scrape(Scraper("explain".to_owned())).await;
        Counted {
            recent: ledger.recent(question).await,
            snapshot: scrape.map(|scrape| scrape.snapshot),
            refusing: ledger.refusing(),
        }
    }

    fn counts(
        &self,
        namespace: &str,
        name: &str,
        gateways: &[(GatewayCase, Selected)],
        counted: &Counted,
    ) -> CountsCase {
        let Counted {
            recent: Some(recent),
            snapshot: Some(snapshot),
            refusing,
        } = counted
        else {
            return CountsCase::default();
        };
        let mine = |series: &gaugeway_aggregate::Series| {
            let target = series.key.target();
            target.label(names::NAMESPACE) == Some(namespace)
                && target.label(names::SERVICE) == Some(name)
        };
        let (mut all, mut series, mut requests) = (0, 0, 0_u64);
        for one in snapshot.series() {
            all += 1;
            if mine(one) {
                series += 1;
                requests = requests.saturating_add(one.counts.requests_total());
            }
        }
        CountsCase {
            minute: minute(recent, namespace, name, gateways),
            series,
            requests,
            full: all >= self.max_series,
            refusing: refusing_of(gateways, refusing),
        }
    }
}

/// Gateways whose routes reach a Service.
fn reaching(uses: &[RouteUse]) -> Vec<GatewayName> {
    let works = |u: &&RouteUse| u.granted;
    let names = uses.iter().filter(works).flat_map(|u| &u.gateways);
    let mut names: Vec<_> = names.filter_map(|g| GatewayName::try_new(g).ok()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Of the policies that decide for a Service, those that have as many series as they may.
fn refusing_of(gateways: &[(GatewayCase, Selected)], refusing: &BTreeSet<Arc<str>>) -> Vec<String> {
    let deciding = gateways.iter().filter_map(|(_, selected)| match selected {
        Selected::By(policies) => policies.first(),
        Selected::ByDefault => None,
    });
    let mut found: Vec<_> = deciding
        .filter(|p| refusing.contains(p.as_str()))
        .cloned()
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn report(recent: &Recently, gateway: &GatewayName) -> Option<ReportCase> {
    let last = recent.last_reports.get(gateway)?;
    let standings = recent.standings.get(&Window::Seconds60)?;
    let standing = standings.iter().find(|(name, _)| *name == gateway);
    Some(ReportCase {
        age: recent.taken.since(last.until).unwrap_or_default(),
        overdue: matches!(standing, Some((_, Standing::Silent(_)))),
    })
}

fn minute(
    recent: &Recently,
    namespace: &str,
    name: &str,
    gateways: &[(GatewayCase, Selected)],
) -> Option<Result<u64, String>> {
    let window = Window::Seconds60;
    let standings = recent.standings.get(&window)?;
    let names = gateways.iter().map(|(gateway, _)| gateway.name.as_str());
    let names: Vec<_> = names.filter_map(|n| GatewayName::try_new(n).ok()).collect();
    let known = match standings.judge(&names) {
        Ok(known) => known,
        Err(unknown) => return Some(Err(unknown.to_string())),
    };
    let wanted = Wanted::Service {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let sample = recent.sample(&wanted)?.clone().as_told(known);
    if !sample.is_complete(window) {
        return Some(Err(Unknown::Full.to_string()));
    }
    let reading = sample.read(window, &recent.layout);
    Some(Ok(reading.counts().requests_total()))
}

fn not_synced(asked: &Asked, missing: &str) -> Explanation {
    let subject = match asked {
        Asked::Service { namespace, name } => format!("service {namespace}/{name}"),
        Asked::Pod { namespace, name } => format!("pod {namespace}/{name}"),
        Asked::Workload {
            kind,
            namespace,
            name,
        } => {
            format!("{} {namespace}/{name}", kind.to_lowercase())
        }
        Asked::Address { address, .. } => format!("address {address}"),
        Asked::Gateway(name) => format!("gateway {name}"),
        Asked::Extension { namespace, name } => format!("extension {namespace}/{name}"),
    };
    let step = Step::unclear(
        "source",
        missing,
        "until it has been read, nothing is measured and an absent object means nothing; /readyz says the same",
    );
    Explanation::conclude(subject, vec![step], String::new())
}
