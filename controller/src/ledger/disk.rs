//! Writing bytes to files: the one thing that fails when a disk is full, so tests put their own in its place.

use std::{
    fs::File,
    io::{self, Write},
};

pub(super) trait Disk: Send + Sync + std::fmt::Debug {
    /// Writes all, or fails having written a part.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
}

#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }
}
