//! Where a pump's objects go.

use std::{marker::PhantomData, sync::Arc};

use gaugeway_index::{ObjectId, Scope};
use kube::ResourceExt as _;
use tokio::sync::watch;

use super::kinds::{Seen, Watched};
use crate::mapping::{Event, Feed, MappingStopped};

/// What a pump says of its kind.
#[derive(Debug)]
pub(super) enum Told<T> {
    /// All objects follow.
    Begin,
    /// As it is now.
    Apply(T),
    /// Gone.
    Delete(T),
    /// Those that did not follow are gone.
    End,
}

/// Takes what a pump says, in batches.
pub(super) trait Deliver: Send {
    /// Of what.
    type Object;

    /// Keeps it for the next [`Deliver::flush`].
    fn push(&mut self, told: Told<Self::Object>);

    /// Hands over what was kept.
    ///
    /// # Errors
    /// When nobody listens any more.
    fn flush(&mut self) -> impl Future<Output = Result<(), MappingStopped>> + Send;

    /// Every watch of the source has been complete once.
    ///
    /// # Errors
    /// When nobody listens any more.
    fn synced(&mut self) -> impl Future<Output = Result<(), MappingStopped>> + Send;
}

/// Into the index.
#[derive(Debug)]
pub(super) struct ToIndex<W> {
    feed: Feed,
    scope: Scope,
    known: Arc<watch::Sender<bool>>,
    batch: Vec<Event>,
    kind: PhantomData<W>,
}

impl<W: Watched> ToIndex<W> {
    pub(super) fn new(
        feed: Feed,
        namespace: Option<String>,
        known: Arc<watch::Sender<bool>>,
    ) -> Self {
        let kind = W::KIND;
        Self {
            feed,
            scope: Scope { kind, namespace },
            known,
            batch: Vec::new(),
            kind: PhantomData,
        }
    }
}

impl<W: Watched> Deliver for ToIndex<W> {
    type Object = Seen<W>;

    fn push(&mut self, told: Told<Seen<W>>) {
        self.batch.push(match told {
            Told::Begin => Event::BeginReset(self.scope.clone()),
            Told::Apply(seen) => Event::Apply(seen.object),
            Told::Delete(seen) => Event::Delete(ObjectId {
                kind: W::KIND,
                namespace: seen.namespace().unwrap_or_default(),
                name: seen.name_any(),
            }),
            Told::End => Event::EndReset(self.scope.clone()),
        });
    }

    async fn flush(&mut self) -> Result<(), MappingStopped> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.feed.send(std::mem::take(&mut self.batch)).await
    }

    async fn synced(&mut self) -> Result<(), MappingStopped> {
        self.known.send_replace(true);
        Ok(())
    }
}
