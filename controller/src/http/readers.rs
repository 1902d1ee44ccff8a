//! Who scrapes, and who of them has the final totals of a leader that ends.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::ledger::Scraper;

/// Scrapers that are remembered, at most; nobody waits for further ones.
const READERS: usize = 64;
/// Who has not come back for so long is not waited for.
const GONE: Duration = Duration::from_secs(180);

/// Cheap to clone; clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seen: Mutex<BTreeMap<String, Seen>>,
    told: Notify,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    /// Comes again and again: no person's look.
    regular: bool,
    has_final: bool,
}

impl Readers {
    /// A scraper has got a page, completely.
    pub(super) fn delivered(&self, scraper: &Scraper, is_final: bool) {
        let (mut seen, now) = (self.seen(), Instant::now());
        seen.retain(|_, seen| now.duration_since(seen.at) < GONE);
        if let Some(seen) = seen.get_mut(&scraper.0) {
            seen.at = now;
            seen.regular = true;
            seen.has_final |= is_final;
        } else if seen.len() < READERS {
            let first = Seen {
                at: now,
                regular: false,
                has_final: is_final,
            };
            seen.insert(scraper.0.clone(), first);
        }
        self.0.told.notify_waiters();
    }

    /// Resolves when everybody who comes regularly has the final totals.
    pub(crate) async fn have_final(&self) {
        loop {
            let told = self.0.told.notified();
            let now = Instant::now();
            let awaited =
                |seen: &Seen| seen.regular && !seen.has_final && now.duration_since(seen.at) < GONE;
            if !self.seen().values().any(awaited) {
                return;
            }
            told.await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_comes_regularly_is_waited_for() {
        let readers = Readers::default();
        let (prometheus, person) = (
            Scraper("10.0.0.1 p".into()),
            Scraper("10.0.0.2 curl".into()),
        );
        readers.delivered(&person, false);
        readers.delivered(&prometheus, false);
        assert!(readers.have_final().now_or_never().is_some());
        readers.delivered(&prometheus, false);
        assert!(readers.have_final().now_or_never().is_none());
        readers.delivered(&prometheus, true);
        assert!(readers.have_final().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn scrapers_are_bounded_and_those_that_left_are_forgotten() {
        let readers = Readers::default();
        for number in 0..2 * READERS {
            let scraper = Scraper(number.to_string());
            readers.delivered(&scraper, false);
            readers.delivered(&scraper, false);
        }
        assert_eq!(readers.seen().len(), READERS);
        assert!(readers.have_final().now_or_never().is_none());
        tokio::time::advance(GONE).await;
        assert!(readers.have_final().now_or_never().is_some());
    }
}
