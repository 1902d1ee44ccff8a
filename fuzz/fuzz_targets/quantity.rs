//! `cargo xtask fuzz quantity`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("quantity", bytes));
