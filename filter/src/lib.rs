//! The proxy-wasm module: a thin, fallible shim between the host and `gaugeway-filter-core`.

#[cfg(target_arch = "wasm32")]
mod abi;
