//! `cargo xtask fuzz question`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("question", bytes));
