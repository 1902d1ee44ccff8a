//! What only a leader has begins when this replica leads, and ends in order.
//!
//! A replica that lost its Lease to another ends its process: it starts again as one that stands by, with nothing left of
//! what it knew. That is the simplest that is right: worker VMs notice it as they notice any restart, and no total of two
//! ledgers can ever be mixed.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{anyhow, bail};
use gaugeway_aggregate::DataplaneUrls;
use gaugeway_wire::UnixNanos;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    config::{Config, Source},
    lease::{Began, Election, Elector, Standing, Tenure},
    ledger::{self, LedgerConfig, LedgerHandle, Owner, Shape},
    mapping::MappingHandle,
    role::{Appoint, Seat},
    source::kubernetes,
    telemetry::Telemetry,
};

/// Longest wait for the ledger's last snapshot. What was acknowledged is in the log anyway.
const LEDGER_STOP: Duration = Duration::from_secs(10);

/// How a ledger starts here.
pub(crate) struct Ledgers {
    /// But for the owner.
    config: LedgerConfig,
    mapping: MappingHandle,
    shape: Arc<watch::Sender<Shape>>,
    telemetry: Arc<Telemetry>,
}

/// This replica's part, as the process sees it.
pub(crate) struct Leading {
    seat: Seat,
    appoint: Appoint,
    ledgers: Ledgers,
    identity: String,
    /// `None` for a replica that is alone.
    standing: Option<Standing>,
    /// Its tenure has not begun yet.
    waits: bool,
}

impl Ledgers {
    pub(crate) fn new(config: &Config, mapping: MappingHandle, telemetry: &Arc<Telemetry>) -> Self {
        let alone = config.election.is_none();
        let shape = Shape {
            layout: config.recording.wire.layout(),
            by_service: config.kong_metric,
        };
        let config = LedgerConfig {
            state_dir: config.state_dir.clone(),
            owner: Owner::sole(),
            continues: Some(Owner::sole()),
            tenure: if alone {
                Tenure::unlimited()
            } else {
                Tenure::none()
            },
            shape: shape.clone(),
            // Who is elected knows the policies by then.
            policies_follow: alone && matches!(config.source, Source::Kubernetes(_)),
            max_series: config.series.max,
            series_expiry: config.series.expiry,
            kong: kong_urls(&mapping, config.kong_metric),
            clock: Arc::new(wall_clock),
        };
        Self {
            config,
            mapping,
            shape: Arc::new(watch::channel(shape).0),
            telemetry: Arc::clone(telemetry),
        }
    }

    /// How totals are kept from now on.
    pub(crate) fn shape(&self) -> Arc<watch::Sender<Shape>> {
        Arc::clone(&self.shape)
    }

    /// Reads what the state directory holds, on a thread that may block.
    async fn start(&self, owner: Owner, continues: Option<Owner>) -> anyhow::Result<LedgerHandle> {
        let config = LedgerConfig {
            owner,
            continues,
            shape: self.shape.borrow().clone(),
            ..self.config.clone()
        };
        let (objects, telemetry) = (
            Arc::new(self.mapping.objects()),
            Arc::clone(&self.telemetry),
        );
        let started =
            tokio::task::spawn_blocking(move || ledger::start(config, objects, telemetry));
        Ok(started.await??)
    }
}

impl Leading {
    /// A replica that is alone: it leads at once and for ever.
    pub(crate) async fn alone(ledgers: Ledgers) -> anyhow::Result<Self> {
        let ledger = ledgers.start(Owner::sole(), Some(Owner::sole())).await?;
        let leading = Self::new(ledgers, Owner::sole().identity, None);
        leading.appoint.lead(ledger);
        Ok(leading)
    }

    /// One of several: it stands for election as soon as it has read the source.
    pub(crate) async fn elected(
        election: &Election,
        config: &Config,
        ledgers: Ledgers,
        filters: SocketAddr,
    ) -> anyhow::Result<Self> {
        let Source::Kubernetes(cluster) = &config.source else {
            bail!(
                "replicas elect a leader by a Lease of the cluster: --leader-election needs --kubernetes"
            );
        };
        election.timing.check()?;
        let client = kubernetes::client(cluster).await?;
        info!(
            lease = format!("{}/{}", election.namespace, election.lease),
            identity = election.identity,
            address = %election.address(filters),
            "stands for election"
        );
        let (ready, is_ready) = watch::channel(false);
        let mapping = ledgers.mapping.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = mapping.until_synced() => drop(ready.send_replace(true)),
                () = mapping.ended() => {}
            }
        });
        let (tenure, telemetry) = (
            ledgers.config.tenure.clone(),
            Arc::clone(&ledgers.telemetry),
        );
        let standing = Elector::start(client, election, filters, is_ready, tenure, telemetry);
        Ok(Self::new(
            ledgers,
            election.identity.clone(),
            Some(standing),
        ))
    }

    fn new(ledgers: Ledgers, identity: String, standing: Option<Standing>) -> Self {
        let holder = match &standing {
            Some(standing) => standing.holder.clone(),
            None => watch::channel(None).1,
        };
        let tenure = ledgers.config.tenure.clone();
        let (seat, appoint) = Seat::new(&identity, tenure, holder, Arc::clone(&ledgers.telemetry));
        Self {
            seat,
            appoint,
            ledgers,
            identity,
            waits: standing.is_some(),
            standing,
        }
    }

    pub(crate) fn seat(&self) -> Seat {
        self.seat.clone()
    }

    /// Runs until it cannot go on; says why. May be given up at any time.
    pub(crate) async fn run(&mut self) -> anyhow::Error {
        if let Some(standing) = self.standing.as_mut().filter(|_| self.waits) {
            tokio::select! {
                began = &mut standing.began => match began {
                    Ok(began) => {
                        self.waits = false;
                        if let Err(error) = self.lead(began).await {
                            return error.context("this replica was elected and cannot lead");
                        }
                    }
                    Err(_) => return anyhow!("the election ended by itself; the log says why, a restart helps"),
                },
                lost = &mut standing.lost => return self.lost(lost.ok().as_deref()),
            }
        }
        let Some(ledger) = self.seat.totals() else {
            return anyhow!("no ledger has started");
        };
        match &mut self.standing {
            None => ledger.ended().await,
            Some(standing) => tokio::select! {
                () = ledger.ended() => {}
                lost = &mut standing.lost => return self.lost(lost.ok().as_deref()),
            },
        }
        anyhow!("the ledger ended by itself; the log says why, a restart helps")
    }

    async fn lead(&self, began: Began) -> anyhow::Result<()> {
        let owner = |term| Owner {
            identity: self.identity.clone(),
            term,
        };
        let continues = began.continues.map(owner);
        let ledger = self.ledgers.start(owner(began.term), continues).await?;
        self.appoint.lead(ledger.clone());
        // Policies may have come into force while it started.
        ledger.configure(self.ledgers.shape.borrow().clone());
        info!(term = began.term, "leads");
        Ok(())
    }

    fn lost(&self, to: Option<&str>) -> anyhow::Error {
        let to = to.filter(|to| !to.is_empty()).unwrap_or("nobody");
        let identity = &self.identity;
        anyhow!(
            "the Lease of this replica ({identity}) is held by {to} now: its totals have ended. The process ends, so that \
             it starts again and stands by"
        )
    }

    /// Answers what was told, then gives the Lease back: the next leader need not wait. True if it led.
    pub(crate) async fn hand_over(&self) -> bool {
        let Some(standing) = &self.standing else {
            return false;
        };
        let led = self.seat.totals();
        if let Some(ledger) = &led
            && tokio::time::timeout(LEDGER_STOP, ledger.seal())
                .await
                .is_err()
        {
            warn!("the ledger does not answer; what it was told last may count twice");
        }
        self.appoint.retire();
        standing.release().await;
        led.is_some()
    }

    /// Writes the ledger's last snapshot.
    pub(crate) async fn stop(self) {
        let Some(ledger) = self.seat.totals() else {
            return;
        };
        let stopped = tokio::time::timeout(LEDGER_STOP, ledger.stop()).await;
        if stopped.is_err() {
            warn!("the last snapshot takes too long; the next start reads the log instead");
        }
    }
}

/// What stands in `dataplane_url`, for Services whose policy wants `kong_upstream_latency_ms`: Kong's operator puts the
/// data plane's address there, we the gateway.
fn kong_urls(mapping: &MappingHandle, default: bool) -> DataplaneUrls {
    let objects = mapping.objects();
    DataplaneUrls(Arc::new(move |gateway, namespace, service| {
        let told = objects.kong_compatible(gateway, namespace, service);
        told.unwrap_or(default).then(|| gateway.as_str().to_owned())
    }))
}

/// Zero before 1970.
fn wall_clock() -> UnixNanos {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixNanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
