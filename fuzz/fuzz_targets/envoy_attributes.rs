//! `cargo xtask fuzz envoy_attributes`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("envoy_attributes", bytes));
