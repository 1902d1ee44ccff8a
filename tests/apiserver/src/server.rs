//! The server, as tests hold it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, anyhow};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch::{Receiver, Sender, channel},
    task::{AbortHandle, JoinSet},
};

use crate::{
    faults::{self, Effect, Fault},
    log::Logged,
    outcome::{Outcome, Refusal},
    request::{Asked, Place},
    reviews::Reviews,
    serve::serve,
    store::{Store, Write},
    watch::Scope,
};

/// A running double on a loopback port. Dropping it ends it.
#[derive(Debug)]
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    dir: TempDir,
    task: AbortHandle,
}

#[derive(Debug)]
pub(crate) struct Shared {
    store: Mutex<Store>,
    faults: Mutex<Vec<Fault>>,
    log: Mutex<Vec<Logged>>,
    reviews: Mutex<Reviews>,
    signals: Sender<State>,
}

/// What watches and connections listen to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    version: u64,
    drops: u64,
    bookmarks: u64,
    away: bool,
}

/// One watch's view of [`State`].
pub(crate) struct Signals {
    receiver: Receiver<State>,
    start: State,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    /// Starts on a port that the system chooses, with the kinds that every cluster has and no objects.
    ///
    /// # Errors
    /// When the system gives no port or no temporary directory.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new()),
            faults: Mutex::default(),
            log: Mutex::default(),
            reviews: Mutex::default(),
            signals: channel(State::default()).0,
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        let server = Self {
            shared,
            address,
            dir: tempfile::tempdir()?,
            task,
        };
        std::fs::write(server.kubeconfig(), server.kubeconfig_text()).context("kubeconfig")?;
        Ok(server)
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A file that `kubectl` and its like take.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    fn kubeconfig_text(&self) -> String {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "double",
            "clusters": [{"name": "double", "cluster": {"server": self.url()}}],
            "users": [{"name": "double", "user": {}}],
            "contexts": [{"name": "double", "context": {"cluster": "double", "user": "double"}}],
        });
        config.to_string()
    }

    /// Lays on a fault; the first that matches a request is in force.
    pub fn fault(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Lifts all faults.
    pub fn lift_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Breaks every watch off in the middle of its stream.
    pub fn drop_watches(&self) {
        self.shared.signals.send_modify(|s| s.drops += 1);
    }

    /// Sends every watch that takes them a bookmark.
    pub fn bookmark(&self) {
        self.shared.signals.send_modify(|s| s.bookmarks += 1);
    }

    /// Forgets the past: a watch from an earlier resource version gets 410. Watches that run go on.
    pub fn expire(&self) {
        self.shared.store().expire();
    }

    /// Creates or replaces the object that a path names, without a request.
    ///
    /// # Errors
    /// When a client would be refused.
    pub fn put(&self, path: &str, object: Value) -> Result<()> {
        let place = Place::parse(path).map_err(|refusal| anyhow!("{path}: {refusal:?}"))?;
        let held = self.shared.store().get(&place).is_ok();
        let write = if held { Write::Replace } else { Write::Create };
        let written = self.shared.write(&place, write(object), false);
        written.map_err(|refusal| anyhow!("{path}: {refusal:?}"))?;
        Ok(())
    }

    /// Deletes the object that a path names, without a request.
    ///
    /// # Errors
    /// When a client would be refused.
    pub fn remove(&self, path: &str) -> Result<()> {
        let place = Place::parse(path).map_err(|refusal| anyhow!("{path}: {refusal:?}"))?;
        let deleted = self.shared.delete(&place, &Value::Null, false);
        deleted.map_err(|refusal| anyhow!("{path}: {refusal:?}"))?;
        Ok(())
    }

    /// Keeps the last changes of each kind only, so many or twice as many: a server that changes for long forgets.
    pub fn keep_changes(&self, changes: usize) {
        self.shared.store().kept = changes;
    }

    /// Ends all connections and takes no new ones, as if the server had gone.
    pub fn go_away(&self) {
        self.shared.signals.send_modify(|s| s.away = true);
    }

    /// Ends [`ApiServer::go_away`].
    pub fn come_back(&self) {
        self.shared.signals.send_modify(|s| s.away = false);
    }

    /// From now on a token belongs to a user (a `UserInfo`).
    pub fn know_token(&self, token: &str, user: Value) {
        lock(&self.shared.reviews).know(token, user);
    }

    /// From now on a token belongs to nobody.
    pub fn forget_token(&self, token: &str) {
        lock(&self.shared.reviews).forget(token);
    }

    /// From now on a user may do what has these attributes (`resourceAttributes` or `nonResourceAttributes`), whatever
    /// its others are.
    pub fn grant(&self, user: &str, attributes: Value) {
        lock(&self.shared.reviews).grant(user, attributes);
    }

    /// From now on a user may do nothing.
    pub fn revoke(&self, user: &str) {
        lock(&self.shared.reviews).revoke(user);
    }

    /// Everything that was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Logged> {
        lock(&self.shared.log).clone()
    }
}

impl Shared {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// The answer to a review; `None` where a resource is none.
    pub(crate) fn review(&self, place: &Place, sent: &Value) -> Option<Value> {
        lock(&self.reviews).answer(&place.group, &place.resource, sent)
    }

    /// Logs a request and says what fault it meets.
    pub(crate) fn note(&self, asked: &Asked) -> Option<Effect> {
        let logged = asked.logged();
        let effect = faults::take(&mut lock(&self.faults), &logged);
        lock(&self.log).push(logged);
        effect
    }

    pub(crate) fn write(
        &self,
        place: &Place,
        write: Write<'_>,
        dry_run: bool,
    ) -> Outcome<Arc<Value>> {
        let written = self.store().write(place, write, dry_run);
        self.tell();
        written
    }

    pub(crate) fn delete(
        &self,
        place: &Place,
        options: &Value,
        dry_run: bool,
    ) -> Outcome<Arc<Value>> {
        let deleted = self.store().delete(place, options, dry_run);
        self.tell();
        deleted
    }

    pub(crate) fn signals(&self) -> Signals {
        let receiver = self.signals.subscribe();
        let start = *receiver.borrow();
        Signals { receiver, start }
    }

    /// What happened after `from`, which moves on. `None` when the kind is no longer served.
    pub(crate) fn news(
        &self,
        place: &Place,
        scope: &Scope,
        from: &mut u64,
    ) -> Option<Outcome<Vec<Value>>> {
        let store = self.store();
        let table = store.table(place).ok()?;
        if *from < table.lost {
            return Some(Err(Refusal::expired()));
        }
        let after = table.changes.partition_point(|c| c.version <= *from);
        let new = table.changes.get(after..).unwrap_or_default();
        *from = store.version;
        Some(Ok(new.iter().filter_map(|c| scope.event(c)).collect()))
    }

    pub(crate) fn bookmark(&self, place: &Place, scope: &Scope, version: u64) -> Option<Value> {
        let store = self.store();
        let table = store.table(place).ok()?;
        Some(scope.bookmark(table, version))
    }

    fn tell(&self) {
        let version = self.store().version;
        self.signals.send_modify(|s| s.version = version);
    }
}

impl Signals {
    /// Whether a bookmark is due since the last look.
    pub(crate) fn bookmark(&mut self) -> bool {
        let bookmarks = self.receiver.borrow_and_update().bookmarks;
        std::mem::replace(&mut self.start.bookmarks, bookmarks) != bookmarks
    }

    /// Resolves when the test drops watches.
    pub(crate) async fn dropped(&self) {
        let mut receiver = self.receiver.clone();
        let drops = self.start.drops;
        let _ = receiver.wait_for(|s| s.drops != drops).await;
    }

    /// Resolves when anything has changed since the last look.
    pub(crate) async fn changed(&self) {
        let mut receiver = self.receiver.clone();
        if receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if !shared.signals.borrow().away {
            connections.spawn(connection(stream, Arc::clone(&shared)));
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut state = shared.signals.subscribe();
    let service = service_fn(move |request| serve(Arc::clone(&shared), request));
    let serving =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = serving => {}
        _ = state.wait_for(|s| s.away) => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
