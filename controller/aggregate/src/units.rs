//! Numbers of the aggregate, so that no bare integer crosses a signature.

/// State of the totals within the life of a ledger: grows with everything applied, survives restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeNumber(pub u64);
