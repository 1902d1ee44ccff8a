//! Time that only goes forward, made of a wall clock that may step.

use gaugeway_wire::{Nanos, UnixNanos};

/// Time that has passed since the VM's first event. Deadlines are made of this, never of wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Nanos);

impl Instant {
    /// The VM's first event.
    pub(crate) const START: Self = Self(Nanos(0));

    /// This instant, later.
    pub(crate) const fn plus(self, by: Nanos) -> Self {
        Self(Nanos(self.0.0.saturating_add(by.0)))
    }

    /// Time from `earlier` to this instant, zero if it is not earlier.
    pub(crate) const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.0.saturating_sub(earlier.0.0))
    }
}

/// Advances an [`Instant`] by wall-clock readings; a step back, or of over a day forward, counts as no time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stopwatch {
    last: Option<UnixNanos>,
    passed: Instant,
}

impl Stopwatch {
    /// Time that had passed at the last reading.
    pub(crate) const fn passed(&self) -> Instant {
        self.passed
    }

    /// Time that has passed by `now`.
    pub(crate) fn read(&mut self, now: UnixNanos) -> Instant {
        let last = self.last.replace(now).unwrap_or(now);
        if let Some(delta) = now.since(last).filter(|&delta| delta <= Nanos::DAY) {
            self.passed = self.passed.plus(delta);
        }
        self.passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_the_clock_are_not_time() {
        let mut watch = Stopwatch::default();
        let start = watch.read(UnixNanos(1_000));
        assert_eq!(watch.read(UnixNanos(1_500)).since(start), Nanos(500));
        assert_eq!(watch.read(UnixNanos(10)).since(start), Nanos(500));
        assert_eq!(watch.read(UnixNanos(20)).since(start), Nanos(510));
        let leap = UnixNanos(20 + Nanos::DAY.0 + 1);
        assert_eq!(watch.read(leap).since(start), Nanos(510));
    }
}
