//! The book of `docs/`: it has every page, it builds, its links lead somewhere, and its snippets work.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code"
)]

mod build;
mod commands;
mod envoy;
mod flags;
mod inline;
mod objects;
mod pages;
mod pictures;
mod queries;
mod stage;
mod yaml;
