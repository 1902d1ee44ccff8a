//! The Helm chart as a cluster would get it: rendered by a real helm, read by Kubernetes' own types and schemas.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code"
)]

mod dashboards;
mod golden;
mod helm;
mod matrix;
mod network;
mod notes;
mod objects;
mod readme;
mod rules;
mod security;
mod values;
