//! The controller's ports over real sockets, in this process: what is served, who is refused and how, what a
//! refused call changes (nothing), and how it stops.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code"
)]

mod api;
mod calls;
mod custom_metrics;
mod frozen;
mod hostile;
mod hpa;
mod keys;
mod limits;
mod scene;
mod scrape;
mod stop;
