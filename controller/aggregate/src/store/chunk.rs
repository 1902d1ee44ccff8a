//! A few series that are shared, copied and shown together.
//!
//! **Invariant**: what was packed is what the series are. Whoever can change a series holds the chunk exclusively, and
//! gets at it only through functions that throw the packed output away; a copy starts without any.

use std::{
    hint::black_box,
    sync::{Arc, OnceLock},
};

use crate::{exposition::Packed, series::Series};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Series per chunk: few, so that a change spoils little packed output and copies little; enough to pack well.
pub(crate) const CHUNK: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Chunk {
    series: [Option<Arc<Series>>; CHUNK],
    packed: OnceLock<Box<Packed>>,
}

impl Clone for Chunk {
    fn clone(&self) -> Self {
        Self {
            series: self.series.clone(),
            packed: OnceLock::new(),
        }
    }
}

impl Chunk {
    pub(crate) fn get(&self, at: usize) -> Option<&Arc<Series>> {
        self.series.get(at)?.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.series.iter().flatten()
    }

    /// Looks at a little of every series, before all of them are read: each is some cache lines somewhere in memory,
    /// and looks that do not wait for each other are answered together.
    pub(crate) fn approach(&self) {
        let mut seen: u64 = 0;
        let mut see = |value: u64| seen ^= value;
        self.iter().for_each(|series| see(series.born.0));
        for series in self.iter() {
            see(series.key.text().len() as u64);
            see(series.counts.latency.classic().len() as u64);
        }
        for series in self.iter() {
            let text = series.key.text().as_bytes();
            text.iter()
                .step_by(LINE)
                .for_each(|byte| see(u64::from(*byte)));
        }
        black_box(seen);
    }

    /// A place, to change what is there.
    pub(crate) fn place(&mut self, at: usize) -> Option<&mut Option<Arc<Series>>> {
        self.packed.take();
        self.series.get_mut(at)
    }

    /// What these series look like in compressed form, as far as a scraper asked for it.
    pub(crate) fn packed(&self) -> &Packed {
        self.packed
            .get_or_init(|| Box::new(Packed::new(self.iter().map(|series| &**series))))
    }
}
