//! Policies as a cluster has them: what is taken, what is refused, who wins, and what their status says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code"
)]

mod check;
mod definition;
mod make;
mod resolving;
mod statuses;
