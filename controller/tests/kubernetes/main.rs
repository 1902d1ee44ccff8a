//! Stories of a controller that watches a cluster.
//!
//! They run over HTTP against the API server's double, and against a real cluster where `GAUGEWAY_TEST_KUBECONFIG` names
//! a kubeconfig: then in namespaces of their own, which they delete, and without what only a double can do (faults,
//! expiry). A real cluster needs no kubelet: Pods are objects whose state the story writes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a story that cannot go on fails"
)]

mod cluster;
/// Held against the real definitions there.
#[path = "../../operator/tests/it/kong_objects.rs"]
mod kong_objects;
mod objects;
mod stage;

mod attribution;
mod autoscaling;
mod callers;
mod callers_limits;
mod dashboards;
mod deploying;
mod dropin;
mod explaining;
mod failures;
mod killed;
mod kinds;
mod kong;
mod kong_faults;
mod policies;
mod replicas;
mod rights;
mod scope;
mod serving;
mod watched;
