//! The certificate of the `apis` port, made here: kept in one Secret that all replicas share, rotated before it ends, and
//! registered with the API server as the one that answers the metrics API.
//!
//! ```text
//!            Secret ◀──create, update by version── Keeper (in every replica) ──▶ certificate in force
//!              │                                     │ the leader's
//!              └── authorities: old, current, next ──┴──caBundle──▶ APIServices
//! ```
//!
//! Invariant: what any replica shows verifies against the bundle that is published ([`rotation`]).

mod generation;
mod keeper;
mod registration;
mod rotation;
mod secret;

pub(crate) use keeper::Keeper;
pub use registration::Home;
pub(crate) use registration::{Registration, is_of, versions_of};
