//! Names of routes, interned. Routes come from the gateway's configuration: few, and never forgotten while the VM lives.

use core::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use gaugeway_wire::limits::ROUTE_BYTES;
use hashbrown::HashTable;

/// A route's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(u32);

impl RouteId {
    /// Not recorded, or the host named none.
    pub const NONE: Self = Self(0);
    /// Over the bound of the table.
    const OVERFLOW: Self = Self(1);

    pub(crate) const fn bits(self) -> u64 {
        self.0 as u64
    }
}

/// What stands in for routes that found no room.
const OVERFLOW_NAME: &str = "overflow";

/// All names.
#[derive(Debug)]
pub(crate) struct Routes {
    names: Vec<Box<str>>,
    index: HashTable<u32>,
    hasher: FixedState,
    bound: usize,
}

impl Routes {
    pub(crate) fn new(bound: usize, seed: u64) -> Self {
        Self {
            names: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            bound,
        }
    }

    pub(crate) fn name(&self, id: RouteId) -> &str {
        match id {
            RouteId::NONE => "",
            RouteId::OVERFLOW => OVERFLOW_NAME,
            RouteId(n) => self.names.get(n as usize - 2).map_or("", |name| name),
        }
    }

    /// Its number, made if need be. Names that are no text, too long or too many share one.
    pub(crate) fn intern(&mut self, name: &[u8]) -> RouteId {
        if name.is_empty() {
            return RouteId::NONE;
        }
        let hash = self.hasher.hash_one(name);
        let names = &self.names;
        let same = |&n: &u32| {
            names
                .get(n as usize)
                .is_some_and(|other| other.as_bytes() == name)
        };
        match self.index.find(hash, same) {
            Some(&n) => RouteId(n + 2),
            None => self.insert(hash, name).unwrap_or(RouteId::OVERFLOW),
        }
    }

    fn insert(&mut self, hash: u64, name: &[u8]) -> Option<RouteId> {
        if self.names.len() >= self.bound || name.len() > ROUTE_BYTES {
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
        let rehash = |&n: &u32| {
            let name = names
                .get(n as usize)
                .map_or([].as_slice(), |name| name.as_bytes());
            hasher.hash_one(name)
        };
        index.try_reserve(1, rehash).ok()?;
        index.insert_unique(hash, n, rehash);
        self.names.push(name.into());
        Some(RouteId(n + 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_interned_within_a_bound() {
        let mut routes = Routes::new(2, 1);
        let a = routes.intern(b"a");
        assert_eq!(routes.intern(b"a"), a);
        let b = routes.intern(b"b");
        let c = routes.intern(b"c");
        assert_eq!(routes.intern(b""), RouteId::NONE);
        assert_eq!(routes.intern(&[0xff]), c);
        let names = [a, b, c, RouteId::NONE].map(|id| routes.name(id).to_owned());
        assert_eq!(names, ["a", "b", "overflow", ""]);
    }
}
