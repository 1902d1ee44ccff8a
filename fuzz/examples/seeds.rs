//! Writes the seeds of all targets: `cargo run -p gaugeway-fuzz --example seeds -- DIRECTORY`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::{env, fs, path::PathBuf};

fn main() {
    let directory = PathBuf::from(env::args_os().nth(1).unwrap());
    for target in gaugeway_fuzz::TARGETS {
        let directory = directory.join(target.name);
        fs::create_dir_all(&directory).unwrap();
        for (number, seed) in target.seeds().iter().enumerate() {
            fs::write(directory.join(format!("seed-{number}")), seed).unwrap();
        }
    }
}
