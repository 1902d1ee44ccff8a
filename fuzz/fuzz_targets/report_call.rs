//! `cargo xtask fuzz report_call`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("report_call", bytes));
