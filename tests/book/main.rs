//! The book of `docs/`: it has every page, it builds, its links lead somewhere, and its snippets work.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code"
)]

mod build;
mod commands;
mod pages;
mod stage;
mod yaml;
