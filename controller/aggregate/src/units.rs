//! Numbers of the aggregate, so that no bare integer crosses a signature.

use gaugeway_wire::Nanos;

/// State of the totals within the life of a ledger: grows with everything applied, survives restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeNumber(pub u64);

impl ChangeNumber {
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Whole seconds as nanoseconds.
pub(crate) const fn seconds(n: u64) -> Nanos {
    Nanos::from_millis(n.saturating_mul(1000))
}
