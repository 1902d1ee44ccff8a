//! The HTTP servers: filters port (mapping, reports), wasm port (the modules), metrics port (scrapes, probes), API port
//! (windows), and the `apis` port, which shows the same to who may see it.
//!
//! Invariants: every wait on a peer has an end, every size a bound, every refusal one line of text that says what to
//! do and a count under a label from a closed set; a refused call has changed nothing.

mod api;
mod body;
mod custom_metrics;
mod filters;
mod gate;
mod io;
mod metrics;
mod negotiate;
mod readers;
mod refusal;
mod scrape;
mod server;
mod wasm;

pub(crate) use api::Api;
#[cfg(feature = "laws")]
pub(crate) use api::narrowed_to;
pub use api::openapi;
pub(crate) use custom_metrics::CustomMetrics;
pub(crate) use filters::Filters;
pub(crate) use gate::{Gate, of_this_machine};
pub(crate) use metrics::Metrics;
pub(crate) use readers::Readers;
pub use refusal::rejection_reasons;
pub(crate) use server::{Port, Server};
pub(crate) use wasm::Modules;
