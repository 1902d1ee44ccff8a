//! What this replica is: the leader, or one that stands by. For everybody who acts differently as either.
//!
//! Invariants:
//! - Who leads takes calls only while its [`Tenure`] holds; in between it refuses them and shows what it has as stale.
//! - A replica leads at most once in its process's life: what it knew as a leader ends with the process.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    lease::{Peer, Tenure},
    ledger::LedgerHandle,
    telemetry::Telemetry,
};

/// What this replica is, at any time. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    identity: Arc<str>,
    role: watch::Receiver<Role>,
    holder: watch::Receiver<Option<Peer>>,
    tenure: Tenure,
    telemetry: Arc<Telemetry>,
}

/// Whoever has it decides what a [`Seat`] says.
#[derive(Debug)]
pub(crate) struct Appoint(watch::Sender<Role>);

#[derive(Clone, Debug, Default)]
enum Role {
    #[default]
    Standby,
    Leads(LedgerHandle),
    /// Takes no calls any more; its totals are final.
    Retired(LedgerHandle),
}

/// Who takes a call.
#[derive(Clone, Debug)]
pub(crate) enum Taker {
    /// This replica.
    Here(LedgerHandle),
    /// Another.
    At(Peer),
    /// This replica would, if its Lease were renewed.
    Expired,
    /// Nobody that is known.
    Nobody,
}

/// Whether one may act on the cluster: write statuses, objects. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Seat);

impl Seat {
    /// A replica that stands by.
    pub(crate) fn new(
        identity: &str,
        tenure: Tenure,
        holder: watch::Receiver<Option<Peer>>,
        telemetry: Arc<Telemetry>,
    ) -> (Self, Appoint) {
        let (appoint, role) = watch::channel(Role::Standby);
        let seat = Self {
            identity: identity.into(),
            role,
            holder,
            tenure,
            telemetry,
        };
        (seat, Appoint(appoint))
    }

    /// Who takes a call that comes now.
    pub(crate) fn taker(&self) -> Taker {
        if let Role::Leads(ledger) = &*self.role.borrow() {
            return if self.tenure.holds() {
                Taker::Here(ledger.clone())
            } else {
                Taker::Expired
            };
        }
        match &*self.holder.borrow() {
            // Itself: its ledger is about to start, or it has just given the Lease back.
            Some(peer) if *peer.identity != *self.identity => Taker::At(peer.clone()),
            _ => Taker::Nobody,
        }
    }

    pub(crate) fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// The totals that this replica shows: those of its time as a leader.
    pub(crate) fn totals(&self) -> Option<LedgerHandle> {
        match &*self.role.borrow() {
            Role::Standby => None,
            Role::Leads(ledger) | Role::Retired(ledger) => Some(ledger.clone()),
        }
    }

    /// Whether what it shows may be behind what another counts.
    pub(crate) fn is_stale(&self) -> bool {
        match &*self.role.borrow() {
            Role::Standby => false,
            Role::Leads(_) => !self.tenure.holds(),
            Role::Retired(_) => true,
        }
    }

    /// Whether the totals that it shows do not change any more.
    pub(crate) fn is_final(&self) -> bool {
        matches!(&*self.role.borrow(), Role::Retired(_))
    }

    pub(crate) fn gate(&self) -> Gate {
        Gate(self.clone())
    }

    /// Brings the gauges up to date; to be called before own metrics are shown.
    pub(crate) fn observe(&self) {
        let lease = &self.telemetry.lease;
        lease.leader.set(i64::from(self.gate().is_open()));
        lease.stale.set(i64::from(self.is_stale()));
    }

    /// In words.
    pub(crate) fn describe(&self) -> String {
        match self.taker() {
            Taker::Here(_) => "leads".to_owned(),
            Taker::Expired => {
                "leads, but could not renew its Lease: reports are refused".to_owned()
            }
            Taker::At(peer) => format!("stands by; {} leads", peer.identity),
            Taker::Nobody => "stands by; nobody leads".to_owned(),
        }
    }
}

impl Gate {
    /// Whether one may act now.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.0.taker(), Taker::Here(_))
    }

    /// Resolves when it may have opened or closed. A Lease that runs out closes it without a sign: look before each act.
    pub(crate) async fn changed(&mut self) {
        if self.0.role.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Appoint {
    /// It leads from now on.
    pub(crate) fn lead(&self, ledger: LedgerHandle) {
        self.0.send_replace(Role::Leads(ledger));
    }

    /// It leads no more, and shows its final totals.
    pub(crate) fn retire(&self) {
        self.0.send_modify(|role| {
            if let Role::Leads(ledger) = role {
                let ledger = ledger.clone();
                *role = Role::Retired(ledger);
            }
        });
    }
}
