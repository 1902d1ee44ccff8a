//! Writing a snapshot file: whole or not at all.

use std::{
    fs::{self, File},
    io,
};

use gaugeway_aggregate::state::SavePoint;

use crate::ledger::{
    directory::{Directory, Name},
    disk::Disk,
    frame,
    header::{self, Identity},
};

/// Bytes per write.
const BLOCK: usize = 256 * 1024;

/// Writes a snapshot beside, makes it lasting, and gives it its name; says how long it is.
pub(super) fn write(
    dir: &Directory,
    disk: &dyn Disk,
    name: Name,
    identity: &Identity,
    save_point: &SavePoint,
) -> io::Result<u64> {
    let unfinished = dir.unfinished(name);
    let written = write_unfinished(dir, disk, name, identity, save_point);
    if written.is_err() {
        // Best effort: what is left is removed at the next start.
        let _ = fs::remove_file(&unfinished);
    }
    let bytes = written?;
    fs::rename(&unfinished, dir.of(name))?;
    dir.sync()?;
    Ok(bytes)
}

fn write_unfinished(
    dir: &Directory,
    disk: &dyn Disk,
    name: Name,
    identity: &Identity,
    save_point: &SavePoint,
) -> io::Result<u64> {
    let mut file = File::create(dir.unfinished(name))?;
    let mut block = header::encode(name, identity);
    let mut bytes = 0;
    save_point.write(|record| {
        frame::put(&mut block, record);
        if block.len() >= BLOCK {
            disk.write(&mut file, &block)?;
            bytes += block.len() as u64;
            block.clear();
        }
        io::Result::Ok(())
    })?;
    disk.write(&mut file, &block)?;
    file.sync_all()?;
    Ok(bytes + block.len() as u64)
}
