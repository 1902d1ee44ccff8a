//! Memory of another process.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    /// The most that was ever resident.
    pub(crate) peak: f64,
}

impl Memory {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        parse(&text).with_context(|| format!("no memory in {path}"))
    }
}

fn parse(status: &str) -> Option<Memory> {
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib: f64 = line?.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib / 1024.0)
    };
    Some(Memory {
        resident: mib("VmRSS:")?,
        peak: mib("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_are_read() {
        let text = "Name:\tx\nVmHWM:\t    4096 kB\nVmRSS:\t    1024 kB\n";
        let memory = Memory {
            resident: 1.0,
            peak: 4.0,
        };
        assert_eq!(parse(text), Some(memory));
        assert_eq!(parse("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_has_some() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.resident > 0.0 && memory.peak >= memory.resident);
    }
}
