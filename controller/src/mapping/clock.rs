//! The index's time.

use gaugeway_index::Moment;
use tokio::time::{Duration, Instant};

/// The runtime's monotonic clock as [`Moment`]s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(super) fn now(self) -> Moment {
        let nanos = self.start.elapsed().as_nanos();
        Moment(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(super) fn instant(self, moment: Moment) -> Instant {
        self.start + Duration::from_nanos(moment.0)
    }
}
