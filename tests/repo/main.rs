//! The repository's rules, as tests: who may depend on whom, what every crate and file has, what no file says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code"
)]

mod files;
mod image;
mod layers;
mod links;
mod text;
mod threats;
mod workflows;
