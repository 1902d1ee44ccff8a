//! `cargo xtask fuzz kong_attributes`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("kong_attributes", bytes));
