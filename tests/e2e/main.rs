//! User stories on real parts: Envoy with the filter, the controller, real upstreams. Every count is exact.
//!
//! One module per story. They run in parallel, each with processes, ports and a directory of its own. Without Envoy
//! they are skipped, loudly; in CI that is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails that way, and says what it measured"
)]

mod counts;
mod manifests;
mod stage;

mod attribution;
mod chaos;
mod demo;
mod expiry;
mod explain;
mod failover;
mod lifecycle;
mod outcomes;
mod prometheus;
mod rare;
mod soak;
mod steady;
mod tls;
mod top;
mod trap;
mod wasmx;
mod windows;
