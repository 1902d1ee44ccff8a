//! The proxy-wasm module: a thin, fallible shim between the host and `gaugeway-filter-core`.
//!
//! ```text
//! host -> abi (C entry points) -> callbacks (one Instance) -> gaugeway-filter-core
//!                                                                  |
//! host <- abi (C imports, each may fail) <- host (traits) <--------+
//! ```
//! It never pauses or changes a request, never refuses a configuration, and no answer of the host makes it trap.
#![cfg(any(target_arch = "wasm32", test))]

mod abi;
mod callbacks;
mod host;
