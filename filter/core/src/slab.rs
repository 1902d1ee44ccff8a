//! A bounded table of values with handles that cannot name a successor by mistake.

use core::{fmt, marker::PhantomData};

/// Names one value of a [`Slab`]; stale once that value was removed.
pub(crate) struct Id<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}

impl<T> Eq for Id<T> {}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl<T> Id<T> {
    /// Mixes into a hash.
    pub(crate) const fn bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
    /// The next free slot, when this one is free.
    next: u32,
}

const NONE: u32 = u32::MAX;
/// Slots per chunk. Growing takes a chunk, and never moves what is there: moving a large table takes milliseconds, and
/// twice its memory.
const CHUNK: usize = 128;

/// At most `bound` values.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// All but the last are full.
    chunks: Vec<Vec<Slot<T>>>,
    free: u32,
    len: u32,
    bound: u32,
}

impl<T> Slab<T> {
    /// Empty.
    pub(crate) const fn new(bound: u32) -> Self {
        Self {
            chunks: Vec::new(),
            free: NONE,
            len: 0,
            bound,
        }
    }

    /// Values in it.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Most values that it takes.
    pub(crate) const fn bound(&self) -> u32 {
        self.bound
    }

    /// Whether [`Slab::insert`] would find its bound reached.
    pub(crate) const fn is_full(&self) -> bool {
        self.len >= self.bound
    }

    /// Whether an eighth or less of the bound is left.
    pub(crate) const fn is_nearly_full(&self) -> bool {
        self.len >= self.bound - self.bound / 8
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    /// Slots, free ones too.
    fn slots(&self) -> u32 {
        let last = self.chunks.last().map_or(0, Vec::len);
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        u32::try_from(full + last).unwrap_or(u32::MAX)
    }

    /// Puts a value in; `None` (and the value is dropped) at the bound or when memory is refused.
    pub(crate) fn insert(&mut self, value: T) -> Option<Id<T>> {
        if self.is_full() {
            return None;
        }
        let index = self.vacancy()?;
        let slot = self.slot_mut(index)?;
        let (next, generation) = (slot.next, slot.generation);
        slot.value = Some(value);
        self.free = next;
        self.len += 1;
        Some(Id {
            index,
            generation,
            of: PhantomData,
        })
    }

    /// Index of a free slot.
    fn vacancy(&mut self) -> Option<u32> {
        if self.free != NONE {
            return Some(self.free);
        }
        let index = self.slots();
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            let left = self.bound.saturating_sub(index) as usize;
            let mut chunk = Vec::new();
            chunk.try_reserve_exact(left.min(CHUNK)).ok()?;
            self.chunks.try_reserve(1).ok()?;
            self.chunks.push(chunk);
        }
        self.chunks.last_mut()?.push(Slot {
            generation: 0,
            value: None,
            next: NONE,
        });
        Some(index)
    }

    /// A value.
    pub(crate) fn get(&self, id: Id<T>) -> Option<&T> {
        let slot = self.slot(id.index)?;
        slot.value
            .as_ref()
            .filter(|_| slot.generation == id.generation)
    }

    /// A value.
    pub(crate) fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let slot = self.slot_mut(id.index)?;
        slot.value
            .as_mut()
            .filter(|_| slot.generation == id.generation)
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(id.index)?;
        if slot.generation != id.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next = free;
        self.free = id.index;
        self.len -= 1;
        Some(value)
    }

    /// All values, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let slots = self.chunks.iter_mut().flatten();
        slots.filter_map(|slot| slot.value.as_mut())
    }

    /// All values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        (0..)
            .zip(self.chunks.iter().flatten())
            .filter_map(|(index, slot)| {
                let id = Id {
                    index,
                    generation: slot.generation,
                    of: PhantomData,
                };
                Some((id, slot.value.as_ref()?))
            })
    }

    /// The next `steps` values' handles from `cursor` on, wrapping around; for walks in bounded steps.
    pub(crate) fn walk(
        &self,
        cursor: &mut u32,
        steps: u32,
    ) -> impl Iterator<Item = Id<T>> + use<T> {
        let slots = self.slots();
        let start = if *cursor < slots { *cursor } else { 0 };
        let end = start.saturating_add(steps).min(slots);
        *cursor = end;
        let found: Vec<_> = (start..end)
            .filter_map(|index| {
                let slot = self.slot(index)?;
                slot.value.as_ref()?;
                Some(Id {
                    index,
                    generation: slot.generation,
                    of: PhantomData,
                })
            })
            .collect();
        found.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_handle_names_nothing() {
        let mut slab = Slab::new(2);
        let a = slab.insert('a').unwrap();
        let b = slab.insert('b').unwrap();
        assert!(slab.insert('c').is_none());
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        let c = slab.insert('c').unwrap();
        assert_eq!(
            (slab.get(a), slab.get(b), slab.get(c)),
            (None, Some(&'b'), Some(&'c'))
        );
        assert_eq!(slab.len(), 2);
    }

    #[test]
    fn a_walk_visits_all_in_steps() {
        let mut slab = Slab::new(100);
        let ids: Vec<_> = (0..10).filter_map(|n| slab.insert(n)).collect();
        slab.remove(ids[3]);
        let mut cursor = 0;
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.extend(
                slab.walk(&mut cursor, 3)
                    .filter_map(|id| slab.get(id).copied()),
            );
        }
        assert_eq!(seen, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
        assert_eq!(slab.walk(&mut cursor, 1).count(), 1);
    }

    #[test]
    fn it_grows_to_its_bound_and_no_further() {
        let bound = u32::try_from(2 * CHUNK + 7).unwrap();
        let mut slab = Slab::new(bound);
        let ids: Vec<_> = (0..bound).filter_map(|n| slab.insert(n)).collect();
        assert_eq!(ids.len(), bound as usize);
        assert!(slab.is_full() && slab.insert(0).is_none());
        assert!((0..).zip(&ids).all(|(n, &id)| slab.get(id) == Some(&n)));
        assert!(slab.iter().map(|(id, _)| id).eq(ids.iter().copied()));
        let capacity: usize = slab.chunks.iter().map(Vec::capacity).sum();
        assert_eq!(capacity, bound as usize);
    }
}
