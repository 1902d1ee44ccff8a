//! `cargo xtask fuzz http`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("http", bytes));
