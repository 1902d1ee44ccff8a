//! What the controller's watches would take if the objects were kept whole: the same kinds (of Pods and ReplicaSets the
//! metadata) in kube-rs's reflector stores, in a process of its own.

use std::{fmt::Debug, hash::Hash, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures::{Stream, StreamExt as _, future::join_all};
use gaugeway_rig::wait::until;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
    networking::v1::Ingress,
};
use kube::{
    Api, Client, Config, Resource,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Lookup, ObjectRef, Store},
        watcher,
    },
};
use serde::{Deserialize, Serialize};

use crate::cluster::Placed;
use crate::program::{Program, Questions, say};

/// Subcommand of the process.
pub(crate) const NAME: &str = "stores";
/// To read everything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    kubeconfig: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    /// Answers when everything is there.
    Synced,
    /// Answers when that endpoint is.
    Has(Placed),
}

/// The process, as benches hold it.
#[derive(Debug)]
pub(crate) struct Stores(Program);

impl Stores {
    pub(crate) async fn start(kubeconfig: &std::path::Path) -> Result<Self> {
        let arguments = [format!("--kubeconfig={}", kubeconfig.display())];
        let (program, ()) = Program::start(NAME, &arguments).await?;
        Ok(Self(program))
    }

    pub(crate) fn process(&self) -> Result<u32> {
        self.0.process()
    }

    pub(crate) async fn synced(&mut self) -> Result<()> {
        self.0.ask(&Question::Synced).await
    }

    pub(crate) async fn has(&mut self, placed: &Placed) -> Result<()> {
        self.0.ask(&Question::Has(placed.clone())).await
    }
}

/// Runs the process.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let file = Kubeconfig::read_from(&options.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let slices = whole::<EndpointSlice>(&client);
    let mut ready = vec![
        wait(whole::<Service>(&client)),
        wait(slices.clone()),
        wait(whole::<Ingress>(&client)),
        wait(whole::<PartialObjectMeta<Pod>>(&client)),
        wait(whole::<PartialObjectMeta<ReplicaSet>>(&client)),
    ];
    for kind in ["Gateway", "HTTPRoute", "GRPCRoute", "ReferenceGrant"] {
        let of = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", kind);
        let resource = ApiResource::from_gvk(&of);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        ready.push(wait(keep(
            resource,
            watcher(api, watcher::Config::default()),
        )));
    }
    let mut questions = Questions::new();
    say(&())?;
    while let Some(question) = questions.next().await? {
        match question {
            Question::Synced => {
                for ready in join_all(ready.drain(..)).await {
                    ready.context("a watch has ended")?;
                }
            }
            Question::Has(placed) => {
                until("the endpoint", PATIENCE, || async { has(&slices, &placed) }).await?;
            }
        }
        say(&())?;
    }
    Ok(())
}

fn has(slices: &Store<EndpointSlice>, placed: &Placed) -> Result<()> {
    let name = ObjectRef::new(&placed.slice).within(&placed.namespace);
    let slice = slices.get(&name).context("no such EndpointSlice")?;
    let endpoints = slice.endpoints.iter().flatten();
    let mut pods = endpoints.filter_map(|e| e.target_ref.as_ref()?.name.as_ref());
    ensure!(pods.any(|pod| *pod == placed.pod), "another Pod");
    Ok(())
}

fn whole<K>(client: &Client) -> Store<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    keep(
        (),
        watcher(Api::<K>::all(client.clone()), watcher::Config::default()),
    )
}

/// Keeps what the stream says for as long as the process lives.
fn keep<K>(
    kind: K::DynamicType,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
) -> Store<K>
where
    K: Resource<DynamicType: Clone + Debug + Eq + Hash + Send + Sync + Unpin>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static,
{
    let writer = reflector::store::Writer::new(kind);
    let store = writer.as_reader();
    let kept = events.default_backoff().reflect(writer);
    tokio::spawn(kept.for_each(|_| std::future::ready(())));
    store
}

type Ready =
    std::pin::Pin<Box<dyn Future<Output = Result<(), reflector::store::WriterDropped>> + Send>>;

fn wait<K>(store: Store<K>) -> Ready
where
    K: Lookup<DynamicType: Clone + Eq + Hash + Send + Sync> + Clone + Send + Sync + 'static,
{
    Box::pin(async move { store.wait_until_ready().await })
}
