//! `cargo xtask fuzz policy`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("policy", bytes));
