//! Sources of Kubernetes objects: a directory of manifests.

pub mod manifests;
