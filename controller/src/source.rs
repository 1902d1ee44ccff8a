//! Sources of Kubernetes objects: a cluster, or a directory of manifests.

pub mod kubernetes;
pub mod manifests;
mod state;

pub use state::{SourceState, WatchState};
