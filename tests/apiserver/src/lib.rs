//! A Kubernetes API server's double, in the test's own process.
//!
//! It does what a controller depends on: discovery, lists in pages, watches with bookmarks and 410, resource versions
//! with conflicts, generations, the status subresource, finalizers, CustomResourceDefinitions that bring kinds and take
//! them away, metadata-only answers, merge patches, dry runs. And what tests want: every request is logged, and faults
//! are laid on at will: answers, latency, dropped watches, a server that is away.
//!
//! It does *not* pretend to server-side apply (an apply is a merge that creates), admission, validation, RBAC (a review
//! says what the test wants, requests themselves are never refused) or garbage collection. What depends on those is tested against a real cluster.
#![forbid(unsafe_code)]

mod faults;
mod log;
mod merge;
mod outcome;
mod request;
mod resource;
mod reviews;
mod serve;
mod server;
mod store;
mod watch;

pub use faults::{Effect, Fault};
pub use log::Logged;
pub use request::Verb;
pub use resource::crd;
pub use server::ApiServer;
