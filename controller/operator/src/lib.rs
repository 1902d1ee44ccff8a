//! Policies in, what is recorded and what gateways need out.
//!
//! - [`crd`] holds our kinds as they stand in the cluster, and their CustomResourceDefinitions.
//! - [`Policy`] is a checked [`crd::LatencyPolicy`]; [`resolve`] says which policies hold for which gateway, in which order.
//! - [`deploy`] says what a gateway needs to carry the filter.
//! - [`dropin`] reads the extensions of Kong's operator as policies.
//! - [`attachments`] and [`status`] say what became of each.
//!
//! All of it is plain functions: no IO, no clock, no client. Time comes in as an argument. Kubernetes's types appear
//! here and in the index only.
#![forbid(unsafe_code)]

mod attach;
pub mod crd;
pub mod deploy;
pub mod dropin;
mod duration;
mod policy;
mod resolve;
mod status;
mod target;

pub use attach::{Scene, attachments, told};
pub use policy::{Invalid, Origin, Policy, PolicyId, Settings};
pub use resolve::{Known, Layouts, layouts, resolve};
pub use status::{Attachment, Verdict, status};
pub use target::Target;

#[cfg(test)]
mod tests;

/// How this controller is called in the status of what it writes.
pub const CONTROLLER_NAME: &str = "gaugeway.dev/controller";
