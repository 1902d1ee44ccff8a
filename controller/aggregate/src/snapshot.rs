//! The totals at one moment, for readers.

use gaugeway_wire::UnixNanos;

use crate::units::ChangeNumber;

/// The totals at one moment. Cheap to clone and to hold; the writer goes on meanwhile.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which state of the totals this is.
    pub change: ChangeNumber,
    /// When it was taken.
    pub taken: UnixNanos,
}
