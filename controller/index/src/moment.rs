//! Time as an argument.

use gaugeway_wire::Nanos;

/// A point on a monotonic clock, nanoseconds since a start that the caller chose. Never compared across processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Later by that much, saturating.
    #[must_use]
    pub const fn plus(self, by: Nanos) -> Self {
        Self(self.0.saturating_add(by.0))
    }

    /// Time since `earlier`; zero if that is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Whole seconds.
pub(crate) const fn seconds(n: u64) -> Nanos {
    Nanos::from_millis(n * 1000)
}
