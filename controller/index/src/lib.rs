//! Kubernetes objects in, upstream addresses to targets out.
