//! The controller's shells: everything that awaits, does IO or logs, around the pure `index`, `aggregate` and `operator`.
//!
//! ```text
//! source (manifests) ──changes──▶ mapping (index, subscriptions) ◀──POST /v1/mapping── filters port
//!                                     │ targets, reach, liveness                          │
//!                                     ▼                                                   │
//!                                 ledger (writer thread: aggregate, log, snapshots) ◀─POST /v1/report
//!                                     │ snapshots
//!                                     ▼
//!                                 metrics port: GET /metrics, API port: GET /api/v1 (windows, explain)
//! ```
//!
//! Of several replicas one leads by a Lease and has the ledger and the mapping's sessions; the others stand by: they
//! read the same source and pass calls on ([`lease`], `role`, `forward`, `leading`).
//!
//! One writer per state: the mapping task owns the index, the ledger thread owns the totals. The HTTP side holds
//! handles only, so a scrape never blocks ingest and a slow client blocks nobody.
#![forbid(unsafe_code)]

pub mod auth;
mod callers;
pub mod config;
mod crds;
mod custom_metrics;
mod deploy;
pub mod detach;
pub mod explain;
mod files;
mod forward;
mod http;
#[cfg(feature = "laws")]
pub mod laws;
mod leading;
pub mod lease;
pub mod ledger;
mod live;
pub mod mapping;
mod policies;
pub mod render;
mod role;
mod run;
mod serving;
pub mod source;
pub mod telemetry;
mod tls;

pub use config::Config;
pub use crds::crds;
pub use custom_metrics::custom_metrics;
pub use deploy::cluster_domain;
pub use gaugeway_aggregate::Family;
pub use http::{openapi, rejection_reasons};
pub use run::{Controller, Ports, run};
pub use telemetry::Telemetry;
