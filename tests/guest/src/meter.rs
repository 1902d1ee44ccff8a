//! What a guest cost: host calls by name, guest entries by callback, fuel, memory. Exact and repeatable.

use std::{collections::BTreeMap, fmt};

/// Counts since the last [`Meter::take`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Host calls by import name, those of WASI included.
    pub host_calls: BTreeMap<&'static str, u64>,
    /// Attributes asked for, by path with dots, whatever the answer.
    pub attributes: BTreeMap<String, u64>,
    /// Entries into the guest by callback, without the allocator's.
    pub entries: BTreeMap<&'static str, u64>,
    /// Fuel by callback, the allocator's re-entries included. About one per executed instruction.
    pub fuel: BTreeMap<&'static str, Fuel>,
    /// Entries into the guest's allocator, made by the host to hand over bytes.
    pub allocator_entries: u64,
    /// Bytes asked of the guest's allocator.
    pub allocated_bytes: u64,
    /// Pointers of the guest that did not lie in its memory.
    pub bad_pointers: u64,
    /// The guest's memory after the last entry, in bytes. Memory never shrinks: also its peak.
    pub memory: u64,
    /// Bytes by which the memory grew.
    pub grown: u64,
}

/// Fuel of one callback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fuel {
    /// Over all entries.
    pub total: u64,
    /// The dearest entry.
    pub max: u64,
}

impl Meter {
    /// Returns the counts and starts again at zero; `memory` stays.
    pub fn take(&mut self) -> Self {
        let fresh = Self {
            memory: self.memory,
            ..Self::default()
        };
        std::mem::replace(self, fresh)
    }

    /// All host calls.
    #[must_use]
    pub fn host_call_count(&self) -> u64 {
        self.host_calls.values().sum()
    }

    /// All entries, without the allocator's.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.entries.values().sum()
    }

    /// All fuel.
    #[must_use]
    pub fn fuel_total(&self) -> u64 {
        self.fuel.values().map(|fuel| fuel.total).sum()
    }

    /// The dearest entry of all.
    #[must_use]
    pub fn fuel_max(&self) -> u64 {
        self.fuel.values().map(|fuel| fuel.max).max().unwrap_or(0)
    }

    /// Adds another's counts; `memory` becomes the greater.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.host_calls {
            *self.host_calls.entry(name).or_default() += count;
        }
        for (path, count) in &other.attributes {
            *self.attributes.entry(path.clone()).or_default() += count;
        }
        for (name, count) in &other.entries {
            *self.entries.entry(name).or_default() += count;
        }
        for (name, fuel) in &other.fuel {
            let mine = self.fuel.entry(name).or_default();
            mine.total += fuel.total;
            mine.max = mine.max.max(fuel.max);
        }
        self.allocator_entries += other.allocator_entries;
        self.allocated_bytes += other.allocated_bytes;
        self.bad_pointers += other.bad_pointers;
        self.memory = self.memory.max(other.memory);
        self.grown += other.grown;
    }

    pub(crate) fn call(&mut self, name: &'static str) {
        *self.host_calls.entry(name).or_default() += 1;
    }

    /// Paths are few in a filter that is sane; what another makes up is counted in one.
    pub(crate) fn attribute(&mut self, path: &[u8]) {
        const PATHS: usize = 256;
        let mut path = String::from_utf8_lossy(path).replace('\0', ".");
        if self.attributes.len() >= PATHS && !self.attributes.contains_key(&path) {
            "others".clone_into(&mut path);
        }
        *self.attributes.entry(path).or_default() += 1;
    }

    pub(crate) fn entry(&mut self, name: &'static str, fuel: u64, memory: u64) {
        *self.entries.entry(name).or_default() += 1;
        let used = self.fuel.entry(name).or_default();
        used.total += fuel;
        used.max = used.max.max(fuel);
        self.grown += memory.saturating_sub(self.memory);
        self.memory = memory;
    }

    pub(crate) fn allocation(&mut self, bytes: u32) {
        self.allocator_entries += 1;
        self.allocated_bytes += u64::from(bytes);
    }
}

/// The exact part, one count a line: what golden files hold.
impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host calls {}", self.host_call_count())?;
        for (name, count) in &self.host_calls {
            writeln!(f, "  {name} {count}")?;
            let asked = (*name == "proxy_get_property").then_some(&self.attributes);
            for (path, count) in asked.into_iter().flatten() {
                writeln!(f, "    {path} {count}")?;
            }
        }
        writeln!(f, "guest entries {}", self.entry_count())?;
        for (name, count) in &self.entries {
            writeln!(f, "  {name} {count}")?;
        }
        writeln!(f, "allocator entries {}", self.allocator_entries)?;
        writeln!(f, "allocated bytes {}", self.allocated_bytes)?;
        writeln!(f, "memory grown {}", self.grown)?;
        writeln!(f, "fuel {}", self.fuel_total())
    }
}
