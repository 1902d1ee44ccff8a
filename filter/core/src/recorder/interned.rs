//! Names of routes and of clusters, interned. They come from the gateway's configuration: few. Routes are never forgotten
//! while the VM lives; clusters are, whenever nothing waits for its owner any more.

use core::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// A name of one table of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameId(u32);

impl NameId {
    /// Not recorded, or the host named none.
    pub const NONE: Self = Self(0);
    /// Over the bound of the table.
    const OVERFLOW: Self = Self(1);

    /// Itself, unless it stands for names that found no room.
    pub(crate) fn named(self) -> Self {
        if self == Self::OVERFLOW {
            Self::NONE
        } else {
            self
        }
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0 as u64
    }
}

/// What stands in for names that found no room.
const OVERFLOW_NAME: &str = "overflow";

/// All names.
#[derive(Debug)]
pub(crate) struct Interned {
    names: Vec<Box<str>>,
    index: HashTable<u32>,
    hasher: FixedState,
    bound: usize,
    longest: usize,
}

impl Interned {
    /// At most `bound` names of at most `longest` bytes.
    pub(crate) fn new(bound: usize, longest: usize, seed: u64) -> Self {
        Self {
            names: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            bound,
            longest,
        }
    }

    pub(crate) fn name(&self, id: NameId) -> &str {
        match id {
            NameId::NONE => "",
            NameId::OVERFLOW => OVERFLOW_NAME,
            NameId(n) => self.names.get(n as usize - 2).map_or("", |name| name),
        }
    }

    /// Forgets all names; the caller has no [`NameId`] left.
    pub(crate) fn clear(&mut self) {
        self.names.clear();
        self.index.clear();
    }

    /// Its number, made if need be. Names that are no text, too long or too many share one.
    pub(crate) fn intern(&mut self, name: &[u8]) -> NameId {
        if name.is_empty() {
            return NameId::NONE;
        }
        let hash = self.hasher.hash_one(name);
        let names = &self.names;
        let same = |&n: &u32| {
            names
                .get(n as usize)
                .is_some_and(|other| other.as_bytes() == name)
        };
        match self.index.find(hash, same) {
            Some(&n) => NameId(n + 2),
            None => self.insert(hash, name).unwrap_or(NameId::OVERFLOW),
        }
    }

    fn insert(&mut self, hash: u64, name: &[u8]) -> Option<NameId> {
        if self.names.len() >= self.bound || name.len() > self.longest {
            return None;
        }
        let name = core::str::from_utf8(name).ok()?;
        let n = u32::try_from(self.names.len()).ok()?;
        let Self {
            names,
            index,
            hasher,
            ..
        } = self;
        names.try_reserve(1).ok()?;
        let rehash = |&n: &u32| {
            let name = names
                .get(n as usize)
                .map_or([].as_slice(), |name| name.as_bytes());
            hasher.hash_one(name)
        };
        let mut kept = String::new();
        kept.try_reserve_exact(name.len()).ok()?;
        kept.push_str(name);
        index.try_reserve(1, rehash).ok()?;
        index.insert_unique(hash, n, rehash);
        self.names.push(kept.into_boxed_str());
        Some(NameId(n + 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_interned_within_a_bound() {
        let mut names = Interned::new(2, 8, 1);
        let a = names.intern(b"a");
        assert_eq!(names.intern(b"a"), a);
        let b = names.intern(b"b");
        let c = names.intern(b"c");
        assert_eq!(names.intern(b""), NameId::NONE);
        assert_eq!(names.intern(&[0xff]), c);
        let told = [a, b, c, NameId::NONE].map(|id| names.name(id).to_owned());
        assert_eq!(told, ["a", "b", "overflow", ""]);
    }
}
