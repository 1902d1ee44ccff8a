//! Exactly-once totals per series, and their exposition.
//!
//! Reports go in through [`Aggregate::apply`], definitions of their targets through [`Aggregate::define`]; readers get
//! [`Snapshot`]s and render them with an [`Exposition`]. [`journal`] writes down what was applied and applies it
//! again, [`state`] the whole of the totals: a shell puts both into files.
//!
//! **Invariant: no IO, no clock, no randomness, no locks.** Time and the index's verdicts are arguments. One writer
//! owns the [`Aggregate`]; snapshots share its series and never make it wait.
#![forbid(unsafe_code)]

pub mod aggregate;
pub mod client_model;
pub mod counts;
pub mod exposition;
mod gateway;
pub mod host;
pub mod journal;
mod labels;
pub mod limits;
mod makers;
pub mod recent;
mod routes;
mod scrapers;
pub mod series;
pub mod snapshot;
pub mod state;
mod store;
mod totals;
pub mod units;
mod vms;
pub mod windows;

#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, Applied, Config, DefineError, Defined, Refused, Swept};
pub use counts::{ClassCount, Counts};
pub use exposition::{DataplaneUrls, Encoding, Exposition, Family, Format, Request, View};
pub use host::{Liveness, Reach};
pub use makers::{Births, Maker};
pub use recent::{Known, LastReport, Recent, Silence, Standing, Standings, Subject, Unknown};
pub use series::{Series, SeriesKey};
pub use snapshot::Snapshot;
pub use units::ChangeNumber;
pub use windows::{Place, Reading, Sample, Unfit, Via, Window};
