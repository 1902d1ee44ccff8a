//! The filter's logic without its host: recording, attribution, reporting.
//!
//! Everything is a state machine that is handed events together with the host as small traits by role ([`host`]);
//! nothing here reads a clock, does IO or keeps global state. One [`Instance`] is one worker VM.
//!
//! ```text
//! Instance: contexts and roots of one VM
//!   └─ Agent: one (gateway, controller)
//!        ├─ Recorder: tables of keys, targets and series
//!        ├─ Mapping: client of POST /v1/mapping
//!        └─ Reporter: client of POST /v1/report
//! ```
//! Invariants: every table that outside input fills has a bound and an overflow entry; a request is counted exactly
//! once; nothing is allocated for an ordinary request once its series exists; no input makes this code panic.
#![forbid(unsafe_code)]

mod agent;
mod backoff;
pub mod config;
pub mod counters;
pub mod envoy;
pub mod host;
pub mod identity;
mod instance;
pub mod kong;
mod mapping;
pub mod recorder;
mod reporter;
mod roots;
mod slab;
mod time;

#[cfg(test)]
mod simulation;

pub use instance::{ContextId, Instance};
pub use recorder::Limits;
