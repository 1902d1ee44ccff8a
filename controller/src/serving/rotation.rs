//! When which certificate is made, shown and forgotten: pure.
//!
//! A *generation* is an authority and the one certificate that it signed; its key is thrown away then, so an authority can
//! sign nothing else. The next generation is made long before the current one ends, and shown only after its authority has
//! been published for a while. An authority leaves the bundle when it has ended, and no sooner: a replica that could not
//! read the Secret for long may still show what it signed.
//!
//! Whoever publishes reads what is published *before* it reads the Secret, and writes only if that has not changed since:
//! so an older state never replaces a newer one. The test below has this as a property.

use std::collections::BTreeSet;

/// Share of its life after which a certificate gets a successor.
const RENEW_AT: (u64, u64) = (2, 3);
/// Between the making of a successor and its use, in seconds: those who verify have read its authority by then.
pub(crate) const SETTLE: u64 = 600;

/// Seconds since 1970.
pub(crate) type Seconds = u64;

/// An authority's certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Authority {
    pub(crate) pem: String,
    pub(crate) until: Seconds,
}

/// A certificate with its key and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) authority: Authority,
    /// The port's own, in PEM.
    pub(crate) certificate: String,
    /// In PEM.
    pub(crate) key: String,
    /// The names that it is for.
    pub(crate) names: BTreeSet<String>,
    pub(crate) from: Seconds,
}

/// What the Secret holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// What is shown.
    pub(crate) current: Generation,
    /// What will be.
    pub(crate) next: Option<Generation>,
    /// Of those that were shown before.
    pub(crate) older: BTreeSet<Authority>,
}

impl Held {
    pub(crate) fn first(current: Generation) -> Self {
        Self {
            current,
            next: None,
            older: BTreeSet::new(),
        }
    }

    /// All authorities, in PEM: what those who verify are to trust.
    pub(crate) fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|next| &next.authority);
        let mut all: BTreeSet<&Authority> = self.older.iter().chain(next).collect();
        all.insert(&self.current.authority);
        all.into_iter().map(|of| of.pem.as_str()).collect()
    }

    /// What it becomes at `now`; `None` when nothing is to be done. `published` is the bundle that those who verify have,
    /// if anybody was told one.
    pub(crate) fn step(
        &self,
        now: Seconds,
        names: &BTreeSet<String>,
        published: Option<&str>,
        make: impl FnOnce() -> Option<Generation>,
    ) -> Option<Self> {
        let mut held = self.clone();
        held.older.retain(|authority| authority.until > now);
        match &self.next {
            None if self.current.is_due(now, names) => held.next = make(),
            Some(next) if self.may_show(next, now, published) => {
                held.older.insert(held.current.authority);
                held.current = next.clone();
                held.next = None;
            }
            _ => {}
        }
        (held != *self).then_some(held)
    }

    fn may_show(&self, next: &Generation, now: Seconds, published: Option<&str>) -> bool {
        let known = published.is_none_or(|bundle| bundle.contains(next.authority.pem.trim()));
        let settled = now >= next.from.saturating_add(SETTLE);
        known && (settled || self.current.authority.until <= now)
    }
}

impl Generation {
    fn is_due(&self, now: Seconds, names: &BTreeSet<String>) -> bool {
        let life = self.authority.until.saturating_sub(self.from);
        let renew = self.from.saturating_add(life / RENEW_AT.1 * RENEW_AT.0);
        now >= renew || self.names != *names
    }
}

#[cfg(test)]
mod tests;
