//! What a soak found, as a Markdown table.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, ensure};

use super::{WORKERS, faults::Fault};

/// Resident bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) controller: u64,
    pub(super) envoy: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Report {
    faults: BTreeMap<Fault, u64>,
    memory: Vec<Memory>,
    services: Vec<(String, u64, u64)>,
    pub(super) sent: u64,
    pub(super) counted: u64,
    pub(super) workers: u64,
    pub(super) traps: Vec<String>,
}

/// How much more than in its first third a process may hold in the last: a tenth, and what allocators keep.
fn allowed(first: u64) -> u64 {
    first + first / 10 + (8 << 20)
}

impl Report {
    pub(super) fn happened(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(super) fn remember(&mut self, memory: Memory) {
        self.memory.push(memory);
    }

    pub(super) fn service(&mut self, name: &str, served: u64, counted: u64) {
        self.services.push((name.to_owned(), served, counted));
    }

    /// Every request counted once, by workers that all live.
    pub(super) fn counts_must_match(&self) -> Result<()> {
        ensure!(
            self.counted == self.sent,
            "{} of {} counted",
            self.counted,
            self.sent
        );
        for (service, served, counted) in &self.services {
            ensure!(
                served == counted,
                "{service}: {counted} of {served} counted"
            );
        }
        ensure!(
            self.workers == u64::from(WORKERS),
            "{} workers live",
            self.workers
        );
        ensure!(self.traps.is_empty(), "traps: {:#?}", self.traps);
        Ok(())
    }

    pub(super) fn memory_must_be_flat(&self) -> Result<()> {
        for (process, [first, last]) in self.thirds() {
            ensure!(
                last <= allowed(first),
                "{process}: {last} bytes in the last third, {first} in the first"
            );
        }
        Ok(())
    }

    /// Median memory in the first and in the last third of the soak.
    fn thirds(&self) -> [(&'static str, [u64; 2]); 2] {
        let third = self.memory.len().div_ceil(3);
        let median = |read: fn(&Memory) -> u64, part: &[Memory]| {
            let mut values: Vec<_> = part.iter().map(read).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let both = |read| {
            let (first, last) = (
                &self.memory[..third],
                &self.memory[self.memory.len() - third..],
            );
            [median(read, first), median(read, last)]
        };
        [
            ("controller", both(|memory| memory.controller)),
            ("Envoy", both(|memory| memory.envoy)),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | times |\n|---|---|")?;
        for (fault, times) in &self.faults {
            writeln!(f, "| {} | {times} |", fault.name())?;
        }
        writeln!(f, "\n| what | expected | found |\n|---|---|---|")?;
        writeln!(f, "| requests | {} | {} |", self.sent, self.counted)?;
        for (service, served, counted) in &self.services {
            writeln!(f, "| requests of {service} | {served} | {counted} |")?;
        }
        writeln!(f, "| workers that live | {WORKERS} | {} |", self.workers)?;
        writeln!(f, "| traps | 0 | {} |", self.traps.len())?;
        for (process, [first, last]) in self.thirds() {
            let mebibytes = |bytes: u64| bytes >> 20;
            writeln!(
                f,
                "| MiB of {process}, first and last third | {} to {} | {} |",
                mebibytes(first),
                mebibytes(allowed(first)),
                mebibytes(last)
            )?;
        }
        Ok(())
    }
}
