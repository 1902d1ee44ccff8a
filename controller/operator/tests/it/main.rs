//! Policies as a cluster has them: what is taken, what is refused, who wins, and what their status says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "all of this is test code"
)]

mod check;
mod definition;
mod deploying;
mod dropin;
mod kong_objects;
mod kong_plugins;
mod make;
mod naming;
mod resolving;
mod scene;
mod schemas;
mod statuses;
