//! Series by slot, in shared chunks: a snapshot copies one pointer per chunk, the writer copies a chunk and a series
//! only when it changes one that a snapshot holds. So neither side ever waits for the other, and a snapshot's memory
//! is what changed since.

mod chunk;

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

pub(crate) use chunk::{CHUNK, Chunk};
use foldhash::fast::RandomState;

use crate::series::{Series, SeriesKey};

/// Where a series is kept. Reused after the series is gone: who keeps a slot compares the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// All series of one kind.
#[derive(Debug, Default)]
pub(crate) struct Store {
    chunks: Vec<Arc<Chunk>>,
    free: Vec<Slot>,
    by_key: HashMap<ByText, Slot, RandomState>,
}

/// Looks keys up by their text without copying it.
#[derive(Debug)]
struct ByText(Arc<SeriesKey>);

/// The series of one moment, in the order of their slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frozen {
    chunks: Arc<[Arc<Chunk>]>,
    len: usize,
}

impl Borrow<str> for ByText {
    fn borrow(&self) -> &str {
        self.0.text()
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.0.text() == other.0.text()
    }
}

impl Eq for ByText {}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text().hash(state);
    }
}

impl Slot {
    const fn split(self) -> (usize, usize) {
        let at = self.0 as usize;
        (at / CHUNK, at % CHUNK)
    }
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Where the series of this label text is.
    pub(crate) fn slot(&self, text: &str) -> Option<Slot> {
        self.by_key.get(text).copied()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Series> {
        let (chunk, at) = slot.split();
        self.chunks.get(chunk)?.get(at).map(|series| &**series)
    }

    /// The series to change; copied first if a snapshot holds it.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Series> {
        self.place(slot)?.as_mut().map(Arc::make_mut)
    }

    /// Whether the slot still has the series of this very key.
    pub(crate) fn holds(&self, slot: Slot, key: &Arc<SeriesKey>) -> bool {
        self.get(slot)
            .is_some_and(|series| Arc::ptr_eq(&series.key, key))
    }

    /// Adds a series whose key is not there. `None` past 2^32 series.
    pub(crate) fn insert(&mut self, series: Series) -> Option<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.grow()?,
        };
        let key = ByText(Arc::clone(&series.key));
        *self.place(slot)? = Some(Arc::new(series));
        self.by_key.insert(key, slot);
        Some(slot)
    }

    pub(crate) fn remove(&mut self, text: &str) -> Option<Arc<Series>> {
        let slot = self.by_key.remove(text)?;
        self.free.push(slot);
        self.place(slot)?.take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.by_key.values().copied().collect()
    }

    pub(crate) fn freeze(&self) -> Frozen {
        Frozen {
            chunks: self.chunks.as_slice().into(),
            len: self.len(),
        }
    }

    fn place(&mut self, slot: Slot) -> Option<&mut Option<Arc<Series>>> {
        let (chunk, at) = slot.split();
        Arc::make_mut(self.chunks.get_mut(chunk)?).place(at)
    }

    fn grow(&mut self) -> Option<Slot> {
        let first = u32::try_from(self.chunks.len() * CHUNK).ok()?;
        let last = first.checked_add(u32::try_from(CHUNK).ok()? - 1)?;
        self.chunks.push(Arc::default());
        self.free.extend((first + 1..=last).rev().map(Slot));
        Some(Slot(first))
    }
}

impl Frozen {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}
