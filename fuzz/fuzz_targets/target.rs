//! `cargo xtask fuzz target`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("target", bytes));
