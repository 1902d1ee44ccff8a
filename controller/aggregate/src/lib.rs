//! Exactly-once totals per series, and their exposition.

pub mod exposition;
pub mod host;
pub mod snapshot;
pub mod units;

pub use exposition::{Exposition, Format, View};
pub use host::{Liveness, Reach};
pub use snapshot::Snapshot;
pub use units::ChangeNumber;
