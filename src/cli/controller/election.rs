//! The flags of a controller of several replicas.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args;
use gaugeway_controller::config::{Election, Timing};

use crate::cli::values;

#[derive(Debug, Args)]
pub(super) struct ElectionFlags {
    /// Elect a leader by a Lease in --own-namespace: needed where there is more than one replica. The leader takes
    /// reports and shows totals; the others pass calls on to it and take over when it goes.
    #[arg(
        long,
        env = "GAUGEWAY_LEADER_ELECTION",
        requires_all = ["kubernetes", "identity", "advertise", "own_namespace"]
    )]
    leader_election: bool,
    /// Names this replica and no other that ever was: its Pod's UID.
    #[arg(long, env = "GAUGEWAY_IDENTITY", value_name = "UID")]
    identity: Option<String>,
    /// Address at which the other replicas reach this one: its Pod's IP.
    #[arg(long, env = "GAUGEWAY_ADVERTISE", value_name = "ADDR")]
    advertise: Option<IpAddr>,
    /// Name of the Lease.
    #[arg(
        long,
        env = "GAUGEWAY_LEASE_NAME",
        default_value = "gaugeway",
        value_name = "NAME"
    )]
    lease_name: String,
    /// A leader whose Lease has not been renewed for so long is replaced; whole seconds.
    #[arg(long, env = "GAUGEWAY_LEASE_DURATION", default_value = "15s", value_name = "TIME", value_parser = values::duration)]
    lease_duration: Duration,
    /// A leader that could not renew for so long refuses reports until it can; filters keep them.
    #[arg(long, env = "GAUGEWAY_LEASE_RENEW_DEADLINE", default_value = "10s", value_name = "TIME", value_parser = values::duration)]
    lease_renew_deadline: Duration,
    /// Between two renewals, and between two looks whether the leader is still there.
    #[arg(long, env = "GAUGEWAY_LEASE_RETRY", default_value = "2s", value_name = "TIME", value_parser = values::duration)]
    lease_retry: Duration,
    /// A leader that ends hands over at once; then it shows its final totals for so long at most, until everybody who
    /// scrapes it regularly has them.
    #[arg(long, env = "GAUGEWAY_FINAL_SCRAPE", default_value = "20s", value_name = "TIME", value_parser = values::duration)]
    final_scrape: Duration,
}

impl ElectionFlags {
    pub(super) fn final_scrape(&self) -> Duration {
        self.final_scrape
    }

    /// Clap has made sure that what it needs is there.
    pub(super) fn election(self, own_namespace: Option<&str>) -> Result<Option<Election>> {
        if !self.leader_election {
            return Ok(None);
        }
        let timing = Timing {
            lease: self.lease_duration,
            deadline: self.lease_renew_deadline,
            retry: self.lease_retry,
        };
        Ok(Some(Election {
            identity: self.identity.context("--identity is missing")?,
            namespace: own_namespace
                .context("--own-namespace is missing")?
                .to_owned(),
            lease: self.lease_name,
            advertise: self.advertise.context("--advertise is missing")?,
            timing: timing
                .check()
                .context("--lease-duration, --lease-renew-deadline, --lease-retry")?,
        }))
    }
}
