//! `cargo xtask fuzz filter_answers`
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gaugeway_fuzz::run("filter_answers", bytes));
