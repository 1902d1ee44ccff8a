//! The hosts themselves: each behaviour shown on a tiny hand-written module.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "host/controller.rs"]
mod controller;
#[path = "host/envoy.rs"]
mod envoy;
#[path = "host/faults.rs"]
mod faults;
#[path = "host/tiny.rs"]
mod tiny;
#[path = "host/wasmx.rs"]
mod wasmx;
