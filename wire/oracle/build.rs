//! Compiles `gaugeway.proto` with protox (no `protoc` needed) and prost-build.
#![forbid(unsafe_code)]

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = Path::new("../proto");
    println!("cargo::rerun-if-changed=../proto/gaugeway.proto");
    let files = protox::compile(["gaugeway.proto"], [directory])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
