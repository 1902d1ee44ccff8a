//! What each scraper was shown: decides who gets a new series at 0 first, and when a dead series has been seen.

use std::collections::BTreeMap;

use gaugeway_wire::UnixNanos;

use crate::{
    limits::{SCRAPER_ACTIVE, SCRAPER_BYTES, SCRAPERS},
    units::ChangeNumber,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// State of the totals in the last scrape that arrived.
    pub(crate) last: ChangeNumber,
    /// The one before.
    pub(crate) previous: Option<ChangeNumber>,
    pub(crate) seen: UnixNanos,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Scrapers {
    known: BTreeMap<Box<str>, Shown>,
}

impl Scrapers {
    /// What the scraper was shown last; `None` for one that is not known.
    pub(crate) fn shown(&self, scraper: &str) -> Option<ChangeNumber> {
        self.known.get(cut(scraper)).map(|shown| shown.last)
    }

    /// Notes that a scrape arrived.
    pub(crate) fn delivered(&mut self, scraper: &str, change: ChangeNumber, now: UnixNanos) {
        let scraper = cut(scraper);
        let previous = self.known.get(scraper).map(|shown| shown.last);
        let last = previous.map_or(change, |before| before.max(change));
        let shown = Shown {
            last,
            previous,
            seen: now,
        };
        self.restore(scraper, shown);
    }

    /// Puts a scraper where it was.
    pub(crate) fn restore(&mut self, scraper: &str, shown: Shown) {
        if self.known.len() >= SCRAPERS && !self.known.contains_key(scraper) {
            let oldest = self.known.iter().min_by_key(|(_, shown)| shown.seen);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(scraper.into(), shown);
    }

    /// Whether every scraper that is around has had two scrapes since that state, and there is one.
    pub(crate) fn have_seen_twice(&self, changed: ChangeNumber, now: UnixNanos) -> bool {
        let horizon = now.minus(SCRAPER_ACTIVE);
        let mut active = self
            .known
            .values()
            .filter(|shown| shown.seen >= horizon)
            .peekable();
        active.peek().is_some()
            && active.all(|shown| shown.previous.is_some_and(|before| before >= changed))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Shown)> {
        self.known.iter().map(|(name, shown)| (&**name, shown))
    }
}

fn cut(scraper: &str) -> &str {
    let mut end = scraper.len().min(SCRAPER_BYTES);
    while !scraper.is_char_boundary(end) {
        end -= 1;
    }
    scraper.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::seconds;

    const NOW: UnixNanos = UnixNanos(10_000_000_000_000);

    #[test]
    fn a_scraper_is_shown_what_it_was_delivered() {
        let mut s = Scrapers::default();
        assert_eq!(s.shown("a"), None);
        s.delivered("a", ChangeNumber(4), NOW);
        assert_eq!(s.shown("a"), Some(ChangeNumber(4)));
        assert_eq!(s.shown("b"), None);
    }

    #[test]
    fn seen_twice_needs_every_scraper_that_is_around() {
        let mut s = Scrapers::default();
        let changed = ChangeNumber(5);
        assert!(!s.have_seen_twice(changed, NOW));
        s.delivered("a", ChangeNumber(5), NOW);
        assert!(!s.have_seen_twice(changed, NOW));
        s.delivered("a", ChangeNumber(5), NOW);
        assert!(s.have_seen_twice(changed, NOW));
        s.delivered("b", ChangeNumber(6), NOW);
        assert!(!s.have_seen_twice(changed, NOW));
        let later = NOW.plus(SCRAPER_ACTIVE).plus(seconds(1));
        s.delivered("a", ChangeNumber(7), later);
        assert!(s.have_seen_twice(changed, later), "b went away");
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_gives_way() {
        let mut s = Scrapers::default();
        for n in 0..=SCRAPERS as u64 {
            s.delivered(&n.to_string(), ChangeNumber(n), NOW.plus(seconds(n)));
        }
        assert_eq!(s.iter().count(), SCRAPERS);
        assert_eq!(s.shown("0"), None);
        assert_eq!(s.shown("1"), Some(ChangeNumber(1)));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = "ü".repeat(SCRAPER_BYTES);
        assert_eq!(cut(&name).len(), SCRAPER_BYTES);
        assert_eq!(cut(&format!("x{name}")).len(), SCRAPER_BYTES - 1);
    }
}
