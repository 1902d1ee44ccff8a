//! `cargo xtask fuzz mapping_request`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("mapping_request", bytes));
