//! Does what the machine says, at the API server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::{
    api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{PostParams, WatchParams},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Election, Tenure,
    machine::{Began, Machine, Step, Write, Written},
    record::{self, Author},
    tenure,
};
use crate::{source::kubernetes::Failure, telemetry::Telemetry};

/// A replica that holds the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) identity: String,
    /// Its filters port.
    pub(crate) address: Option<SocketAddr>,
}

/// What the election says, for the rest of the process. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Standing {
    /// This replica leads. At most once in a process's life.
    pub(crate) began: oneshot::Receiver<Began>,
    /// It led, and another does (or nobody, if empty).
    pub(crate) lost: oneshot::Receiver<String>,
    /// Who holds the Lease.
    pub(crate) holder: watch::Receiver<Option<Peer>>,
    release: mpsc::Sender<oneshot::Sender<()>>,
    tasks: [AbortHandle; 2],
}

impl Standing {
    /// Gives the Lease back, if this replica has it, so that another need not wait; looks on afterwards.
    pub(crate) async fn release(&self) {
        let (done, released) = oneshot::channel();
        if self.release.send(done).await.is_ok() {
            let _ = released.await;
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// See the module's documentation.
pub(crate) struct Elector {
    api: Api<Lease>,
    author: Author,
    /// Longest wait for an answer: two fit into a tenure.
    patience: Duration,
    machine: Machine,
    tenure: Tenure,
    /// As last read or written.
    last: Option<Lease>,
    began: Option<oneshot::Sender<Began>>,
    holder: watch::Sender<Option<Peer>>,
    telemetry: Arc<Telemetry>,
    /// What was warned of last, so that it is said once.
    warned: Option<String>,
    was_acting: bool,
}

impl Elector {
    /// Takes part from now on; stands only once `ready` is true. `tenure` follows what this replica holds.
    pub(crate) fn start(
        client: Client,
        election: &Election,
        filters: SocketAddr,
        ready: watch::Receiver<bool>,
        tenure: Tenure,
        telemetry: Arc<Telemetry>,
    ) -> Standing {
        let api = Api::namespaced(client, &election.namespace);
        let (began, begins) = oneshot::channel();
        let (lost, loses) = oneshot::channel();
        let (holder, held) = watch::channel(None);
        let (release, releases) = mpsc::channel(1);
        let (hint, hints) = mpsc::channel(1);
        let timing = election.timing;
        let elector = Self {
            author: Author {
                namespace: election.namespace.clone(),
                name: election.lease.clone(),
                address: election.address(filters),
                lease: timing.lease,
            },
            patience: timing.deadline / 3,
            machine: Machine::new(election.identity.clone(), timing),
            tenure,
            last: None,
            began: Some(began),
            holder,
            telemetry,
            warned: None,
            was_acting: false,
            api: api.clone(),
        };
        let looking = follow(api, election.lease.clone(), timing.retry, hint);
        let tasks = [
            tokio::spawn(elector.run(ready, hints, releases, lost)).abort_handle(),
            tokio::spawn(looking).abort_handle(),
        ];
        Standing {
            began: begins,
            lost: loses,
            holder: held,
            release,
            tasks,
        }
    }

    async fn run(
        mut self,
        mut ready: watch::Receiver<bool>,
        mut hints: mpsc::Receiver<()>,
        mut releases: mpsc::Receiver<oneshot::Sender<()>>,
        lost: oneshot::Sender<String>,
    ) {
        loop {
            let stands = *ready.borrow_and_update();
            match self.machine.step(tenure::now(), stands) {
                Step::Rest(time) => tokio::select! {
                    () = sleep(time) => {}
                    Some(()) = hints.recv() => self.machine.hint(tenure::now()),
                    Ok(()) = ready.changed() => self.machine.hint(tenure::now()),
                    Some(done) = releases.recv() => {
                        self.release().await;
                        // Nobody waits any more: no matter.
                        let _ = done.send(());
                    }
                },
                Step::Look => self.look().await,
                Step::Write(write) => self.write(&write).await,
                Step::Lost(to) => {
                    self.tenure.end();
                    let _ = lost.send(to);
                    return;
                }
            }
            self.publish();
        }
    }

    async fn look(&mut self) {
        let got = timeout(self.patience, self.api.get_opt(&self.author.name)).await;
        let found = match self.answer(got) {
            Ok(found) => found,
            Err(failure) => {
                self.warn(&failure, "get");
                return self.machine.seen(tenure::now(), Err(()));
            }
        };
        let record = found.as_ref().map(record::read);
        self.last = found;
        self.machine.seen(tenure::now(), Ok(record));
    }

    async fn write(&mut self, write: &Write) {
        let sent = tenure::now();
        let result = match self.put(write).await {
            Ok(lease) => {
                let record = record::read(&lease);
                self.last = Some(lease);
                self.warned = None;
                Written::Done(record)
            }
            Err(failure) if failure.is_stale() => Written::Conflict,
            Err(failure) => {
                self.warn(
                    &failure,
                    if write.over.is_some() {
                        "update"
                    } else {
                        "create"
                    },
                );
                Written::Unknown
            }
        };
        self.count(&result);
        let began = self.machine.written(sent, tenure::now(), write, result);
        // Before anybody acts on it.
        self.publish();
        if let Some(began) = began
            && let Some(tell) = self.began.take()
        {
            info!(term = began.term, "holds the Lease: this replica leads");
            let _ = tell.send(began);
        }
    }

    async fn release(&mut self) {
        // What was acknowledged so far may still leave: it counts here, and these totals are shown until they were scraped.
        // So the tenure runs out by itself.
        let Some(back) = self.machine.retire() else {
            return;
        };
        match self.put(&back).await {
            Ok(lease) => {
                let record = record::read(&lease);
                self.last = Some(lease);
                let now = tenure::now();
                self.machine.written(now, now, &back, Written::Done(record));
                info!("gave the Lease back");
            }
            Err(failure) => warn!(
                "cannot give the Lease back, another replica leads when it has run out: {}",
                failure.text()
            ),
        }
    }

    async fn put(&self, write: &Write) -> Result<Lease, Failure> {
        let now = MicroTime(Timestamp::now());
        let lease = record::written(&self.author, write, self.last.as_ref(), now);
        let params = PostParams::default();
        let done = if write.over.is_some() {
            timeout(
                self.patience,
                self.api.replace(&self.author.name, &params, &lease),
            )
            .await
        } else {
            timeout(self.patience, self.api.create(&params, &lease)).await
        };
        self.answer(done)
    }

    fn answer<T>(
        &self,
        result: Result<Result<T, kube::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, Failure> {
        match result {
            Ok(answered) => answered.map_err(|error| Failure::of(&error)),
            Err(_) => Err(Failure::slow(self.patience)),
        }
    }

    fn count(&self, result: &Written) {
        let result = match result {
            Written::Done(_) => "ok",
            Written::Conflict => "conflict",
            Written::Unknown => "error",
        };
        let writes = &self.telemetry.lease.writes;
        writes.with_label_values(&[result]).inc();
    }

    /// Says what is so now: to those who act, to those who forward, and once to people.
    fn publish(&mut self) {
        if let Some(until) = self.machine.until() {
            self.tenure.set(until);
        }
        let held = self.machine.record().filter(|r| !r.holder.is_empty());
        let peer = held.map(|record| Peer {
            identity: record.holder.clone(),
            address: record.address,
        });
        self.holder.send_if_modified(|now| {
            let changed = *now != peer;
            now.clone_from(&peer);
            changed
        });
        let acting = self.tenure.holds();
        if self.was_acting && !acting && self.machine.until().is_some() {
            warn!(
                "the Lease could not be renewed in time: reports are refused until it is, filters keep them; what is \
                 read is marked stale"
            );
        } else if acting && !self.was_acting {
            info!("acts as the leader");
        }
        self.was_acting = acting;
    }

    fn warn(&mut self, failure: &Failure, verb: &str) {
        let grant = if failure.is_forbidden() {
            format!(
                "; grant its account {verb} on leases of coordination.k8s.io in namespace {}",
                self.author.namespace
            )
        } else {
            String::new()
        };
        let text = format!("{}{grant}", failure.text());
        if self.warned.as_ref() != Some(&text) {
            let lease = &self.author.name;
            warn!(lease, "cannot {verb} the Lease: {text}");
            self.warned = Some(text);
        }
    }
}

/// Tells whenever the Lease may have changed. A help only: who waits looks from time to time anyhow.
async fn follow(api: Api<Lease>, name: String, pause: Duration, hint: mpsc::Sender<()>) {
    let of = WatchParams::default().fields(&format!("metadata.name={name}"));
    loop {
        if let Ok(events) = api.watch(&of, "0").await {
            let mut events = std::pin::pin!(events);
            while let Some(Ok(_)) = events.next().await {
                // Full: it will look anyhow.
                if let Err(mpsc::error::TrySendError::Closed(())) = hint.try_send(()) {
                    return;
                }
            }
        }
        sleep(pause).await;
    }
}
