//! `cargo xtask fuzz selector`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("selector", bytes));
