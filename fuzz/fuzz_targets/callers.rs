//! `cargo xtask fuzz callers`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("callers", bytes));
