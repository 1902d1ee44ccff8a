//! How many series each policy has made, so that none makes more than it may.
//!
//! **Invariants**
//! - A maker's number is that of the series that the store has of it: what it may make is judged when a series would be
//!   born, never later. A lower bound takes nothing away; a higher one lets in what comes next.
//! - Who refuses is not part of the state. The journal says what was refused, so a replay asks nobody.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use gaugeway_wire::UnixNanos;

use crate::limits::REFUSAL_AGE;

/// What makes a series, and how many it may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Its name, for people.
    pub name: Arc<str>,
    /// Series at most; no bound of its own if `None`.
    pub max_series: Option<usize>,
}

/// What becomes of a series that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    /// It is made, by a policy if one speaks for it.
    Made(Option<Arc<str>>),
    /// Its maker has as many as it may.
    Refused,
}

/// What was decided of the series that a report or a definition brought and that were not there yet. A position counts
/// what it brought, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Births {
    /// Made by a policy: position and policy, ascending.
    pub made: Vec<(u32, Arc<str>)>,
    /// Refused because of a policy's bound, ascending.
    pub refused: Vec<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Makers {
    known: HashMap<Arc<str>, Made, RandomState>,
    /// Who refuses has changed.
    news: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Made {
    series: usize,
    /// When a series was refused last.
    refused: Option<UnixNanos>,
}

impl Makers {
    /// Whether it may make one more.
    pub(crate) fn decide(&mut self, maker: Maker, now: UnixNanos) -> Birth {
        let made = self.known.entry(Arc::clone(&maker.name)).or_default();
        if maker.max_series.is_none_or(|max| made.series < max) {
            return Birth::Made(Some(maker.name));
        }
        self.news |= made.refused.is_none();
        made.refused = Some(now);
        Birth::Refused
    }

    /// Its name as it is held.
    pub(crate) fn name(&self, name: &str) -> Arc<str> {
        let held = self.known.get_key_value(name);
        held.map_or_else(|| name.into(), |(held, _)| Arc::clone(held))
    }

    /// A series was born.
    pub(crate) fn add(&mut self, name: &Arc<str>) {
        let made = self.known.entry(Arc::clone(name)).or_default();
        made.series += 1;
    }

    /// A series is gone.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(made) = self.known.get_mut(name) {
            made.series = made.series.saturating_sub(1);
        }
    }

    /// Forgets refusals that were long ago, and who has nothing.
    pub(crate) fn forget(&mut self, now: UnixNanos) {
        let horizon = now.minus(REFUSAL_AGE);
        for made in self.known.values_mut() {
            if made.refused.is_some_and(|at| at < horizon) {
                made.refused = None;
                self.news = true;
            }
        }
        self.known
            .retain(|_, made| made.series > 0 || made.refused.is_some());
    }

    /// Who refused lately, if that has changed since this was asked last.
    pub(crate) fn take_news(&mut self) -> Option<BTreeSet<Arc<str>>> {
        let refusing = |(name, made): (&Arc<str>, &Made)| made.refused.map(|_| Arc::clone(name));
        std::mem::take(&mut self.news).then(|| self.known.iter().filter_map(refusing).collect())
    }
}

impl Births {
    /// Notes what became of the series at a position; later ones follow.
    pub(crate) fn note(&mut self, at: u32, birth: &Birth) {
        match birth {
            Birth::Made(Some(maker)) => self.made.push((at, Arc::clone(maker))),
            Birth::Made(None) => {}
            Birth::Refused => self.refused.push(at),
        }
    }

    /// What was noted.
    pub(crate) fn at(&self, at: u32) -> Birth {
        if self.refused.binary_search(&at).is_ok() {
            return Birth::Refused;
        }
        let made = self.made.binary_search_by_key(&at, |(at, _)| *at);
        let maker = made.ok().and_then(|place| self.made.get(place));
        Birth::Made(maker.map(|(_, maker)| Arc::clone(maker)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::seconds;

    fn maker(max: usize) -> Maker {
        Maker {
            name: "p".into(),
            max_series: Some(max),
        }
    }

    #[test]
    fn who_refuses_is_told_on_change_and_forgotten_later() {
        let (mut makers, start) = (Makers::default(), UnixNanos(1 << 60));
        assert_eq!(makers.take_news(), None);
        let made = makers.decide(maker(1), start);
        assert_eq!(made, Birth::Made(Some("p".into())));
        makers.add(&"p".into());
        assert_eq!(makers.decide(maker(1), start), Birth::Refused);
        assert_eq!(makers.take_news(), Some(BTreeSet::from(["p".into()])));
        assert_eq!(makers.decide(maker(1), start), Birth::Refused);
        makers.forget(start.plus(REFUSAL_AGE));
        assert_eq!(makers.take_news(), None, "nothing new");
        makers.forget(start.plus(REFUSAL_AGE).plus(seconds(1)));
        assert_eq!(makers.take_news(), Some(BTreeSet::new()));
    }

    #[test]
    fn a_bound_that_rises_lets_more_in_and_one_that_falls_takes_nothing() {
        let (mut makers, now) = (Makers::default(), UnixNanos(1 << 60));
        for _ in 0..3 {
            makers.add(&"p".into());
        }
        assert_eq!(makers.decide(maker(2), now), Birth::Refused);
        assert_eq!(makers.decide(maker(3), now), Birth::Refused);
        let more = makers.decide(maker(4), now);
        assert_eq!(more, Birth::Made(Some("p".into())));
        makers.remove("p");
        let freed = makers.decide(maker(3), now);
        assert_eq!(freed, Birth::Made(Some("p".into())));
    }

    #[test]
    fn what_was_noted_is_found() {
        let mut births = Births::default();
        births.note(1, &Birth::Made(Some("p".into())));
        births.note(2, &Birth::Made(None));
        births.note(5, &Birth::Refused);
        assert_eq!(births.at(1), Birth::Made(Some("p".into())));
        assert_eq!(births.at(2), Birth::Made(None));
        assert_eq!(births.at(5), Birth::Refused);
    }
}
