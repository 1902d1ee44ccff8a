//! One kind's list and watch, for as long as the source lives.

use std::{
    fmt::Debug,
    pin::{Pin, pin},
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicResourceScope},
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::{
    Pace,
    deliver::{Deliver, Told},
    discovery::Discovery,
    failure::{Failure, Retry},
    kinds::Served,
};
use crate::{
    mapping::MappingStopped,
    source::state::{WatchHandle, WatchState},
    telemetry::SourceMetrics,
};

/// Objects handed over at once, at most.
const BATCH: usize = 256;
/// After a failure: so long without another one means that the watch runs again, though nothing has changed.
const SETTLED: Duration = Duration::from_secs(10);

/// What the client can ask for.
pub(super) trait Asked:
    Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
}

impl<T> Asked for T where
    T: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static
{
}

/// See the module's documentation.
pub(super) struct Pump {
    pub(super) client: Client,
    pub(super) discovery: Discovery,
    pub(super) served: Served,
    /// All if `None`.
    pub(super) namespace: Option<String>,
    /// A selector; all if `None`.
    pub(super) labels: Option<String>,
    pub(super) pace: Pace,
    pub(super) watch: WatchHandle,
    pub(super) metrics: SourceMetrics,
}

/// The kind is no longer served.
struct Vanished;

impl Pump {
    /// Runs until nobody listens any more.
    pub(super) async fn run<D: Deliver<Object: Asked>>(self, mut deliver: D) {
        let mut retry = Retry::new(self.pace);
        loop {
            let wait = match self.discovery.find(&self.served).await {
                Ok(Some(resource)) => match self.follow(&resource, &mut deliver).await {
                    // Looked at once more before it is called absent.
                    Ok(Vanished) => {
                        self.discovery.forget().await;
                        retry.next()
                    }
                    Err(MappingStopped) => return,
                },
                Ok(None) => {
                    retry.reset();
                    if self.absent(&mut deliver).await.is_err() {
                        return;
                    }
                    self.pace.discovery
                }
                Err(failure) => {
                    self.failed(&failure);
                    retry.next()
                }
            };
            sleep(wait).await;
        }
    }

    async fn absent<D: Deliver>(&self, deliver: &mut D) -> Result<(), MappingStopped> {
        deliver.push(Told::Begin);
        deliver.push(Told::End);
        deliver.flush().await?;
        debug!(kind = self.served.kind, "not served by this cluster");
        self.set(WatchState::Absent, deliver).await
    }

    /// Until the kind vanishes or nobody listens.
    async fn follow<D: Deliver<Object: Asked>>(
        &self,
        resource: &ApiResource,
        deliver: &mut D,
    ) -> Result<Vanished, MappingStopped> {
        let api: Api<D::Object> = match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        };
        let asked = watcher::Config {
            label_selector: self.labels.clone(),
            ..watcher::Config::default()
        };
        let mut events = pin!(watcher(api, asked));
        let mut following = Following::default();
        let mut retry = Retry::new(self.pace);
        loop {
            let mut heard = next(&mut events, following.failing).await;
            let mut taken = 0;
            while let Heard::Event(event) = heard {
                self.count(&event);
                following.take(event, deliver);
                taken += 1;
                // What else is there already comes along.
                heard = if taken < BATCH {
                    at_once(&mut events)
                } else {
                    Heard::Nothing
                };
            }
            deliver.flush().await?;
            match heard {
                Heard::Event(_) | Heard::Nothing => {}
                Heard::Quiet => following.failing = false,
                Heard::Error(error) => {
                    let failure = Failure::of_watch(&error);
                    if failure.is_not_found() {
                        return Ok(Vanished);
                    }
                    following.failing = true;
                    self.failed(&failure);
                    sleep(retry.next()).await;
                    continue;
                }
                Heard::Over => return Err(MappingStopped),
            }
            if !following.failing {
                self.set(following.state(), deliver).await?;
                if !following.listing {
                    retry.reset();
                }
            }
        }
    }

    fn count<T>(&self, event: &Event<T>) {
        if matches!(event, Event::InitDone) {
            self.metrics
                .lists
                .with_label_values(&[self.served.kind])
                .inc();
        }
    }

    /// Says how it stands, and if this was the last of the source's watches to complete, that too.
    async fn set<D: Deliver>(
        &self,
        state: WatchState,
        deliver: &mut D,
    ) -> Result<(), MappingStopped> {
        if self.watch.set(state) {
            info!("the cluster has been read completely");
            deliver.synced().await?;
        }
        Ok(())
    }

    fn failed(&self, failure: &Failure) {
        let kind = self.served.kind;
        let labels = [kind, failure.reason];
        self.metrics.watch_errors.with_label_values(&labels).inc();
        let text = failure.advice(self.served.plural, self.served.group);
        let news = self.watch.fail(&text);
        if news && !failure.is_ordinary() {
            warn!(kind, namespace = self.namespace, "{text}");
        } else {
            debug!(kind, namespace = self.namespace, "{text}");
        }
    }
}

/// Where one list and watch is.
#[derive(Debug, Default)]
struct Following {
    listing: bool,
    failing: bool,
}

impl Following {
    fn take<D: Deliver>(&mut self, event: Event<D::Object>, deliver: &mut D) {
        // A list begins before the server is asked for it: that is no success yet.
        self.failing &= matches!(event, Event::Init);
        deliver.push(match event {
            Event::Init => {
                self.listing = true;
                Told::Begin
            }
            Event::InitApply(object) | Event::Apply(object) => Told::Apply(object),
            Event::Delete(object) => Told::Delete(object),
            Event::InitDone => {
                self.listing = false;
                Told::End
            }
        });
    }

    fn state(&self) -> WatchState {
        if self.listing {
            WatchState::Listing
        } else {
            WatchState::Watching
        }
    }
}

enum Heard<T> {
    Event(Event<T>),
    Error(watcher::Error),
    /// Nothing more at the moment.
    Nothing,
    /// Nothing for [`SETTLED`].
    Quiet,
    Over,
}

async fn next<T>(
    events: &mut Pin<&mut impl Stream<Item = watcher::Result<Event<T>>>>,
    failing: bool,
) -> Heard<T> {
    if !failing {
        return heard(events.next().await);
    }
    timeout(SETTLED, events.next())
        .await
        .map_or(Heard::Quiet, heard)
}

/// The stream keeps what it is doing between polls, so giving up a look loses nothing.
fn at_once<T>(events: &mut Pin<&mut impl Stream<Item = watcher::Result<Event<T>>>>) -> Heard<T> {
    events.next().now_or_never().map_or(Heard::Nothing, heard)
}

fn heard<T>(item: Option<watcher::Result<Event<T>>>) -> Heard<T> {
    match item {
        Some(Ok(event)) => Heard::Event(event),
        Some(Err(error)) => Heard::Error(error),
        None => Heard::Over,
    }
}
