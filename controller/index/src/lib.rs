//! Kubernetes objects in, upstream addresses to targets out.
//!
//! - [`Index`] holds what matters of the objects, compactly, and resolves an upstream key for a gateway.
//! - [`Hub`] holds what each worker VM subscribes to, and decides when it is told what.
//!
//! Both are plain state machines: no IO, no clock, no randomness, no logging. Time comes in as [`Moment`]; what is to be
//! said goes out as values. Kubernetes's types appear in [`Object`] only.
#![forbid(unsafe_code)]

mod backend;
mod changes;
mod history;
pub mod hub;
mod index;
mod key;
mod moment;
mod name;
pub mod object;
mod pods;
pub mod policy;
mod routes;
mod services;
mod slices;
mod text;

pub use changes::{Changes, Issue, Problem, Subject};
pub use hub::{
    Hub, HubCounters, HubCounts, HubLimits, Refused, Reply, Ticket, Worker, WorkerFacts,
};
pub use index::{
    Candidate, Counts, EncodedTarget, Index, Labels, Matches, Observed, ObservedPod,
    ObservedWorkload, Resolution, Seen, Selection, explain,
};
pub use moment::Moment;
pub use object::{Kind, Object, ObjectId, Scope};
pub use policy::{
    Dimension, Dimensions, ObjectLabels, RecordingPolicy, Rule, ServiceSelector, Services, Shown,
    Terms, WhenIdle,
};
pub use slices::EndpointState;
