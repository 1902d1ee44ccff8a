//! A cluster's objects, by list and watch.
//!
//! One pump per kind (and namespace, where the controller may read some namespaces only) feeds the same index as the
//! manifests do. Invariants:
//! - An API server that is away, refuses or forgets takes nothing away: what was known stays in force until a complete
//!   list says otherwise.
//! - A kind that the cluster does not serve is empty, not an error; it is looked for again, so a CustomResourceDefinition
//!   that comes later is picked up.
//! - Of Pods and ReplicaSets nothing but metadata is ever asked for.
//! - The mapping is told that everything is known only when the policies are in force: until then a Service that no
//!   policy selects would be recorded.

mod client;
mod deliver;
mod discovery;
mod failure;
mod keep;
mod kinds;
mod lean;
mod lists;
mod pump;

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::{sync::watch, task::JoinSet};
use tracing::info;

pub(crate) use self::{
    client::connect,
    discovery::Discovery,
    failure::{Failure, Retry},
    keep::{Kept, Store},
    kinds::Served,
    lists::{Keep, Lists, Which},
};

use self::{
    deliver::{Deliver, ToIndex},
    keep::ToStore,
    kinds::{
        EndpointSlices, GrpcRoutes, HttpRoutes, Ingresses, Pods, ReferenceGrants, ReplicaSets,
        Services, Watched,
    },
    lists::Watching,
    pump::{Asked, Pump},
};
use crate::{
    config::Cluster,
    deploy::{self, Operator, Replicas},
    mapping::Feed,
    policies::{Keeper, News, Prover, Recorders},
    source::SourceState,
    telemetry::Telemetry,
};

/// The running source. Dropping it ends it.
#[derive(Debug)]
pub struct KubernetesSource {
    _pumps: JoinSet<()>,
    state: SourceState,
    news: watch::Receiver<News>,
}

/// How often things are tried. The defaults suit production; tests shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two looks for a kind that is not served.
    pub discovery: Duration,
    /// After a first failure; doubles with each further one.
    pub retry: Duration,
    /// After many failures.
    pub retry_most: Duration,
    /// Between two writes of a policy's status, and between two looks whether it is still true.
    pub status: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            discovery: Duration::from_secs(30),
            retry: Duration::from_millis(500),
            retry_most: Duration::from_secs(30),
            status: Duration::from_secs(10),
        }
    }
}

/// Starts to list and watch. An API server that cannot be reached now is tried again and again.
///
/// # Errors
/// When the configuration that says where the cluster is cannot be used.
pub(crate) async fn start(
    cluster: &Cluster,
    feed: Feed,
    recorders: Recorders,
    telemetry: &Arc<Telemetry>,
) -> anyhow::Result<KubernetesSource> {
    let client = connect(cluster).await?;
    let origin = format!("the cluster at {}", client.address);
    info!(
        cluster = client.address,
        namespaces = if cluster.namespaces.is_empty() {
            "all"
        } else {
            "some"
        },
        "watching"
    );
    let mut source = Starting {
        discovery: Discovery::new(client.client.clone(), cluster.pace.status / 2),
        client: client.client,
        cluster,
        feed,
        state: SourceState::new(origin, telemetry),
        telemetry,
        places: Vec::new(),
        store: Store::new(),
        known: Arc::new(watch::channel(false).0),
        pumps: Vec::new(),
    };
    source.places = source.namespaces();
    source.index::<Services>();
    source.index::<EndpointSlices>();
    source.index::<Pods>();
    source.index::<ReplicaSets>();
    source.index::<HttpRoutes>();
    source.index::<GrpcRoutes>();
    source.index::<ReferenceGrants>();
    source.index::<Ingresses>();
    source.keep(Kept::LatencyPolicy);
    source.keep(Kept::Gateway);
    if cluster.namespaces.is_empty() {
        // No Role can allow to read these: they have no namespace.
        source.keep(Kept::IngressClass);
    }
    if cluster.kong_extensions {
        source.keep(Kept::MetricsExtension);
        source.keep(Kept::ControlPlane);
        source.keep(Kept::GatewayConfiguration);
        if cluster.namespaces.is_empty() {
            source.keep(Kept::GatewayClass);
        }
    }
    Ok(source.go(recorders))
}

/// A client of its own: what it asks does not wait behind lists.
///
/// # Errors
/// When the configuration that says where the cluster is cannot be used.
pub(crate) async fn client(cluster: &Cluster) -> anyhow::Result<Client> {
    Ok(connect(cluster).await?.client)
}

impl KubernetesSource {
    /// How far it is.
    #[must_use]
    pub fn state(&self) -> SourceState {
        self.state.clone()
    }

    /// What is known of policies and gateways beside what is in force.
    pub(crate) fn news(&self) -> watch::Receiver<News> {
        self.news.clone()
    }
}

struct Starting<'a> {
    client: Client,
    discovery: Discovery,
    cluster: &'a Cluster,
    feed: Feed,
    state: SourceState,
    telemetry: &'a Arc<Telemetry>,
    /// Each namespace, or `None` for all.
    places: Vec<Option<String>>,
    store: Store,
    /// Becomes true when every watch has been complete once.
    known: Arc<watch::Sender<bool>>,
    /// None runs before all are known: the last to complete says that the source is.
    pumps: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Starting<'_> {
    fn namespaces(&self) -> Vec<Option<String>> {
        let some = self.cluster.namespaces.iter().cloned().map(Some);
        let mut places: Vec<_> = some.collect();
        if places.is_empty() {
            places.push(None);
        }
        places
    }

    /// One kind into the index.
    fn index<W: Watched>(&mut self) {
        for namespace in self.places.clone() {
            let known = Arc::clone(&self.known);
            let deliver = ToIndex::<W>::new(self.feed.clone(), namespace.clone(), known);
            self.pump(W::SERVED, namespace, deliver);
        }
    }

    /// One kind into the store.
    fn keep(&mut self, kind: Kept) {
        for namespace in self.places.clone() {
            let (store, known) = (self.store.clone(), Arc::clone(&self.known));
            let deliver = ToStore::new(store, kind, namespace.clone(), known);
            self.pump(kind.served(), namespace, deliver);
        }
    }

    fn pump<D>(&mut self, served: Served, namespace: Option<String>, deliver: D)
    where
        D: Deliver<Object: Asked> + 'static,
    {
        let pump = Pump {
            client: self.client.clone(),
            discovery: self.discovery.clone(),
            served,
            watch: self.state.watch(served.kind, namespace.clone()),
            namespace,
            labels: None,
            pace: self.cluster.pace,
            metrics: self.telemetry.source.clone(),
        };
        self.pumps.push(Box::pin(pump.run(deliver)));
    }

    /// Who works with what it says of the cluster.
    fn asked(&self, own_namespace: String, watched: deploy::Watched) -> deploy::Cluster {
        deploy::Cluster {
            client: self.client.clone(),
            namespaces: self.cluster.namespaces.clone(),
            own_namespace,
            watched: Some(watched),
        }
    }

    fn go(self, recorders: Recorders) -> KubernetesSource {
        let (judge, judged) = watch::channel(None);
        let (tell, told) = watch::channel(Arc::default());
        let mut pumps = JoinSet::new();
        let (proved, proofs) = watch::channel(Arc::default());
        let watching = Watching {
            client: self.client.clone(),
            discovery: self.discovery.clone(),
            pace: self.cluster.pace,
            state: self.state.clone(),
            metrics: self.telemetry.source.clone(),
        };
        let watched = deploy::Watched {
            discovery: self.discovery.clone(),
            objects: Lists::new(watching.clone()),
            routes: Lists::new(watching),
        };
        if self.cluster.kong_extensions {
            let prover = Prover {
                cluster: self.asked(
                    self.cluster.own_namespace.clone().unwrap_or_default(),
                    watched.clone(),
                ),
                store: self.store.clone(),
                gate: recorders.seat.gate(),
                judged: judged.clone(),
                proofs: proved,
                pause: self.cluster.pace.discovery,
            };
            pumps.spawn(prover.run());
        }
        if let Some(deploying) = &self.cluster.deploying {
            let operator = Operator {
                cluster: self.asked(deploying.home.namespace.clone(), watched),
                store: self.store.clone(),
                replicas: Replicas::new(&deploying.home.wasm.name),
                deploying: (**deploying).clone(),
                verifier: recorders.verifier.clone(),
                gate: recorders.seat.gate(),
                judged,
                told: tell,
                telemetry: Arc::clone(self.telemetry),
                warned: None,
            };
            pumps.spawn(operator.run());
        }
        let keeper = Keeper::new(
            self.client,
            self.store,
            self.cluster,
            recorders,
            judge,
            (told, proofs),
            Arc::clone(self.telemetry),
        );
        let news = keeper.news();
        pumps.spawn(keeper.run(self.feed, self.known.subscribe()));
        for pump in self.pumps {
            pumps.spawn(pump);
        }
        KubernetesSource {
            _pumps: pumps,
            state: self.state,
            news,
        }
    }
}
