//! Who owned an address before.
//!
//! A request may outlive the mapping: it began under an owner that the address no longer has, or reaches an endpoint
//! that the gateway's own configuration has not dropped yet. So an address whose owners change is remembered:
//! - It has no owner now: for [`LINGER`] the last ones go on owning it (an EndpointSlice that moves to another, or a
//!   gateway that lags, is no change). Then they are the previous ones.
//! - It has other owners: the former ones are the previous ones for [`REMEMBER`].
//!
//! Bounded: past [`MAX_PASTS`] the oldest is forgotten, and counted.

use std::collections::VecDeque;

use gaugeway_wire::Nanos;
use hashbrown::HashMap;

use crate::{
    backend::{Backend, Backends, same_owners},
    key::SocketKey,
    moment::{Moment, seconds},
};

/// How long an address without an owner still counts as its last owners'.
pub(crate) const LINGER: Nanos = seconds(60);
/// How long a change of owners is remembered.
pub(crate) const REMEMBER: Nanos = seconds(15 * 60);
/// Addresses remembered, at most: about 20 MiB.
const MAX_PASTS: usize = 65_536;

/// Addresses whose owners changed lately.
#[derive(Debug, Default)]
pub(crate) struct History {
    pasts: HashMap<SocketKey, Past>,
    /// Ends of lingering, oldest first. An entry whose moment is not its past's is stale.
    linger: VecDeque<(Moment, SocketKey)>,
    /// Ends of memory, likewise.
    remember: VecDeque<(Moment, SocketKey)>,
    evicted: u64,
}

/// What was before.
#[derive(Clone, Debug)]
struct Past {
    /// When the owners ceased, or, once there are others, when those took over.
    since: Moment,
    owners: Backends,
    /// It has other owners now.
    taken: bool,
}

/// What an address without owners of its own counts as, or what it was before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory<'a> {
    /// Nothing is remembered.
    None,
    /// No owner now; these still count.
    Lingers(&'a [Backend]),
    /// Since then it has what it has now; these were before.
    Before(Moment, &'a [Backend]),
}

/// Owners that there were and are no more; all of them if others only joined. An address that moves may belong to both
/// for a moment, and its previous owner is the one that it left.
fn departed(before: Backends, after: &[Backend]) -> Backends {
    let stays = |b: &Backend| after.iter().any(|a| a.same_owner(b));
    let gone: Backends = before.iter().filter(|b| !stays(b)).cloned().collect();
    if gone.is_empty() { before } else { gone }
}

impl History {
    pub(crate) fn len(&self) -> usize {
        self.pasts.len()
    }

    /// Forgotten early because the bound was reached.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Notes that owners changed from `before` to `after`. Returns addresses forgotten early.
    pub(crate) fn changed(
        &mut self,
        key: SocketKey,
        before: Backends,
        after: &[Backend],
        now: Moment,
    ) -> Option<SocketKey> {
        match (before.is_empty(), after.is_empty()) {
            (true, true) => return None,
            (true, false) => self.taken(key, after, now),
            (false, gone) => {
                let past = Past {
                    since: now,
                    owners: departed(before, after),
                    taken: !gone,
                };
                self.pasts.insert(key, past);
                self.queue(key, now, gone);
            }
        }
        self.bound()
    }

    pub(crate) fn memory(&self, key: &SocketKey, now: Moment) -> Memory<'_> {
        match self.pasts.get(key) {
            None => Memory::None,
            Some(past) if past.taken => Memory::Before(past.since, &past.owners),
            Some(past) => {
                let end = past.since.plus(LINGER);
                if now < end {
                    Memory::Lingers(&past.owners)
                } else {
                    Memory::Before(end, &past.owners)
                }
            }
        }
    }

    /// Returns addresses that stop lingering.
    pub(crate) fn advance(&mut self, now: Moment) -> Vec<SocketKey> {
        let mut ended = Vec::new();
        while let Some((since, key)) = self
            .linger
            .pop_front_if(|(since, _)| since.plus(LINGER) <= now)
        {
            if self.is_of(&key, since) {
                ended.push(key);
            }
        }
        while let Some((since, key)) = self
            .remember
            .pop_front_if(|(since, _)| since.plus(REMEMBER) <= now)
        {
            if self.is_of(&key, since) {
                self.pasts.remove(&key);
            }
        }
        ended
    }

    /// An address without owners has some again.
    fn taken(&mut self, key: SocketKey, after: &[Backend], now: Moment) {
        let Some(past) = self.pasts.get_mut(&key) else {
            return;
        };
        if same_owners(&past.owners, after) {
            self.pasts.remove(&key);
        } else {
            past.since = now;
            past.taken = true;
            self.queue(key, now, false);
        }
    }

    fn queue(&mut self, key: SocketKey, now: Moment, lingers: bool) {
        self.remember.push_back((now, key));
        if lingers {
            self.linger.push_back((now, key));
        }
    }

    fn is_of(&self, key: &SocketKey, since: Moment) -> bool {
        self.pasts.get(key).is_some_and(|p| p.since == since)
    }

    fn bound(&mut self) -> Option<SocketKey> {
        // Stale entries count too: an address that flaps must not grow the queues.
        if self.remember.len() > 4 * MAX_PASTS {
            self.drop_stale();
        }
        if self.pasts.len() <= MAX_PASTS {
            return None;
        }
        while let Some((since, key)) = self.remember.pop_front() {
            if self.is_of(&key, since) {
                self.pasts.remove(&key);
                self.evicted += 1;
                return Some(key);
            }
        }
        None
    }

    fn drop_stale(&mut self) {
        let pasts = &self.pasts;
        let live =
            |since: Moment, key: &SocketKey| pasts.get(key).is_some_and(|p| p.since == since);
        self.remember.retain(|(since, key)| live(*since, key));
        self.linger.retain(|(since, key)| live(*since, key));
    }
}
