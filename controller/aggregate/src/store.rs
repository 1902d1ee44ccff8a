//! Series by slot, in shared chunks: a snapshot copies one pointer per chunk, the writer copies a chunk and a series
//! only when it changes one that a snapshot holds. So neither side ever waits for the other, and a snapshot's memory
//! is what changed since.

use std::{borrow::Borrow, cmp::Ordering, collections::BTreeMap, sync::Arc};

use crate::series::{Series, SeriesKey};

/// Series per chunk.
const CHUNK: usize = 64;

type Chunk = Vec<Option<Arc<Series>>>;

/// Where a series is kept. Reused after the series is gone: who keeps a slot compares the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// All series of one kind.
#[derive(Debug, Default)]
pub(crate) struct Store {
    chunks: Vec<Arc<Chunk>>,
    free: Vec<Slot>,
    by_key: BTreeMap<ByText, Slot>,
    /// Slots in the order of keys, until a series comes or goes.
    order: Option<Arc<[Slot]>>,
}

/// Looks keys up by their text without copying it.
#[derive(Debug)]
struct ByText(Arc<SeriesKey>);

/// The series of one moment, ordered by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frozen {
    chunks: Arc<[Arc<Chunk>]>,
    order: Arc<[Slot]>,
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

impl PartialOrd for ByText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByText {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.text().cmp(other.0.text())
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
        self.chunks.get(chunk)?.get(at)?.as_deref()
    }

    /// The series to change; copied first if a snapshot holds it.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Series> {
        let (chunk, at) = slot.split();
        let chunk = Arc::make_mut(self.chunks.get_mut(chunk)?);
        chunk.get_mut(at)?.as_mut().map(Arc::make_mut)
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
        let (chunk, at) = slot.split();
        let place = Arc::make_mut(self.chunks.get_mut(chunk)?).get_mut(at)?;
        self.by_key.insert(ByText(Arc::clone(&series.key)), slot);
        *place = Some(Arc::new(series));
        self.order = None;
        Some(slot)
    }

    pub(crate) fn remove(&mut self, text: &str) -> Option<Arc<Series>> {
        let slot = self.by_key.remove(text)?;
        self.order = None;
        self.free.push(slot);
        let (chunk, at) = slot.split();
        Arc::make_mut(self.chunks.get_mut(chunk)?)
            .get_mut(at)?
            .take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().flatten())
    }

    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.by_key.values().copied().collect()
    }

    pub(crate) fn freeze(&mut self) -> Frozen {
        let by_key = &self.by_key;
        let order = self
            .order
            .get_or_insert_with(|| by_key.values().copied().collect());
        Frozen {
            chunks: self.chunks.as_slice().into(),
            order: Arc::clone(order),
        }
    }

    fn grow(&mut self) -> Option<Slot> {
        let first = u32::try_from(self.chunks.len() * CHUNK).ok()?;
        let last = first.checked_add(u32::try_from(CHUNK).ok()? - 1)?;
        self.chunks.push(Arc::new(vec![None; CHUNK]));
        self.free.extend((first + 1..=last).rev().map(Slot));
        Some(Slot(first))
    }
}

impl Frozen {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The series at a position of the order.
    pub(crate) fn get(&self, position: usize) -> Option<&Arc<Series>> {
        let (chunk, at) = self.order.get(position)?.split();
        self.chunks.get(chunk)?.get(at)?.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        (0..self.len()).filter_map(|position| self.get(position))
    }
}
