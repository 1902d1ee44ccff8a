//! `cargo xtask fuzz latency_policy`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("latency_policy", bytes));
