//! The contract's bytes: equal to what prost reads and writes, frozen, bounded, and safe against any input.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_sign_loss,
    reason = "all of it is test code"
)]

mod agreement;
mod bounds;
mod golden;
mod hostile;
mod models;
mod oracle;
