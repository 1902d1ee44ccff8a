//! The Helm chart as a cluster would get it: rendered by a real helm, read by Kubernetes' own types.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code"
)]

mod helm;
mod objects;
mod readme;
mod rules;
mod values;
