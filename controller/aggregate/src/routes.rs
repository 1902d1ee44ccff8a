//! Routes, each kept once. A gateway names them, so their number is bounded.

use std::{collections::HashSet, sync::Arc};

use foldhash::fast::RandomState;

use crate::{limits::ROUTES, store::Store};

/// The route of all routes past the bound.
pub(crate) const OVERFLOW: &str = "overflow";

#[derive(Debug, Default)]
pub(crate) struct Routes {
    known: HashSet<Arc<str>, RandomState>,
}

impl Routes {
    /// The route, or [`OVERFLOW`] when there are too many.
    pub(crate) fn intern(&mut self, route: &str) -> Arc<str> {
        if let Some(known) = self.known.get(route) {
            return Arc::clone(known);
        }
        if self.known.len() >= ROUTES && route != OVERFLOW {
            return self.intern(OVERFLOW);
        }
        let new: Arc<str> = route.into();
        self.known.insert(Arc::clone(&new));
        new
    }

    /// Forgets routes that no series has; returns how many. Only what the store says counts, so that a replayed log
    /// comes to the same table.
    pub(crate) fn forget_unused(&mut self, series: &Store) -> usize {
        if self.known.len() < ROUTES / 2 {
            return 0;
        }
        let used: HashSet<&str, RandomState> = series.iter().map(|of| of.key.route()).collect();
        let before = self.known.len();
        self.known.retain(|route| used.contains(&**route));
        before - self.known.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.known.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_past_the_bound_share_one() {
        let mut routes = Routes::default();
        for n in 0..ROUTES {
            routes.intern(&n.to_string());
        }
        assert_eq!(&*routes.intern("one more"), OVERFLOW);
        assert_eq!(&*routes.intern("7"), "7");
        assert_eq!(routes.forget_unused(&Store::default()), ROUTES + 1);
        assert_eq!(&*routes.intern("one more"), "one more");
    }
}
