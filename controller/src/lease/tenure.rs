//! Until when this replica may act as the leader, by its own clock; for everybody who must not act longer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use super::machine::Moment;

/// A leader's time. Cheap to clone; all clones are one.
///
/// The clock counts while the process is stopped and while the machine sleeps (`CLOCK_BOOTTIME`): others count on then.
#[derive(Clone, Debug)]
pub struct Tenure(Arc<AtomicU64>);

/// For ever.
const UNLIMITED: u64 = u64::MAX;

impl Tenure {
    /// Of a replica that needs no Lease.
    #[must_use]
    pub fn unlimited() -> Self {
        Self(Arc::new(AtomicU64::new(UNLIMITED)))
    }

    /// Of a replica that does not lead.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::default())
    }

    /// Whether what is done now is done as the leader.
    #[must_use]
    pub fn holds(&self) -> bool {
        let until = self.0.load(Ordering::Acquire);
        until == UNLIMITED || nanos(now()) < until
    }

    /// It lasts until then.
    pub(crate) fn set(&self, until: Moment) {
        self.0
            .store(nanos(until).min(UNLIMITED - 1), Ordering::Release);
    }

    /// It is over.
    pub fn end(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// What this replica's clock reads.
pub(crate) fn now() -> Moment {
    let read = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(read.tv_nsec).unwrap_or_default();
    Moment(Duration::new(seconds, nanos))
}

fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_nanos()).unwrap_or(UNLIMITED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_until_its_end_and_not_after() {
        let tenure = Tenure::none();
        assert!(!tenure.holds());
        let clone = tenure.clone();
        clone.set(now().plus(Duration::from_secs(3600)));
        assert!(tenure.holds());
        tenure.set(now());
        assert!(!clone.holds());
        assert!(Tenure::unlimited().holds());
    }
}
