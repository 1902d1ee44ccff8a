//! `cargo xtask fuzz report_answer`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("report_answer", bytes));
