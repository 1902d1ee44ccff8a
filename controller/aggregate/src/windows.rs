//! What one Service, Pod or workload did over the last 15 s, 30 s, 60 s and 5 min.
//!
//! Time runs in slots of 5 s since the Unix epoch. A window ends with the last slot that is over, so that its length is
//! always exactly what a rate is divided by; its newest request is at most one slot old.
//!
//! **Invariants**
//! - A report enters a window only if its span is no longer than the window and it ends inside: a backlog never does.
//! - Counts are held per slot and smallest window that their span fits: at most [`Windows::MAX_PARTS`] per object,
//!   whatever the clocks do, once [`Windows::expire`] was called.
//! - What was left out for want of room makes the windows that it belongs to incomplete, never low.
//! - Nothing here tells idle from unknown: an empty sum is 0 requests and no latency. Who reads it knows whether the
//!   gateways reported over the whole window.

mod reading;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use gaugeway_wire::{Layout, Nanos, UnixNanos};
pub use reading::Reading;

use crate::{
    counts::Counts,
    units::{ChangeNumber, seconds},
};

const SLOT: Nanos = seconds(5);

/// How far back a reading looks. Ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// 15 s.
    Seconds15,
    /// 30 s.
    Seconds30,
    /// 60 s.
    Seconds60,
    /// 5 min.
    Minutes5,
}

/// Number of a slot since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot(u64);

/// Why a report entered no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It spans more than the longest window.
    #[error("the report spans more than the longest window")]
    Long,
    /// It ended before the longest window began.
    #[error("the report ended before the longest window began")]
    Old,
    /// Its end lies before its begin.
    #[error("the gateway's clock went back within the report")]
    Clock,
}

/// Where in the windows a report's counts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    slot: Slot,
    fits: Window,
}

/// The recent counts of one object.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    parts: BTreeMap<(Slot, Window), Arc<Counts>>,
    /// When counts were last left out for want of room.
    lost: Option<Slot>,
}

/// What a window has of one object, to be summed by whoever reads it. Cheap to take: it shares the counts.
#[derive(Clone, Debug)]
pub struct Sample {
    pub(crate) window: Window,
    pub(crate) parts: Vec<Arc<Counts>>,
    pub(crate) complete: bool,
}

impl Window {
    /// All windows, ascending.
    pub const ALL: [Self; 4] = [
        Self::Seconds15,
        Self::Seconds30,
        Self::Seconds60,
        Self::Minutes5,
    ];

    /// As in a query: `15s`, `30s`, `60s`, `5m`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds15 => "15s",
            Self::Seconds30 => "30s",
            Self::Seconds60 => "60s",
            Self::Minutes5 => "5m",
        }
    }

    /// The inverse of [`Window::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.as_str() == text)
    }

    /// Its length.
    #[must_use]
    pub const fn span(self) -> Nanos {
        seconds(self.slots() * 5)
    }

    const fn slots(self) -> u64 {
        match self {
            Self::Seconds15 => 3,
            Self::Seconds30 => 6,
            Self::Seconds60 => 12,
            Self::Minutes5 => 60,
        }
    }

    /// The shortest window that a report of this span fits.
    fn fitting(span: Nanos) -> Option<Self> {
        Self::ALL.into_iter().find(|window| span <= window.span())
    }
}

impl Slot {
    const fn of(at: UnixNanos) -> Self {
        Self(at.0 / SLOT.0)
    }

    /// The first slot that a window still shows at a moment of this slot.
    const fn first_of(self, window: Window) -> Self {
        Self(self.0.saturating_sub(window.slots()))
    }
}

impl Place {
    /// Where counts over a span go, as a gateway's clock tells it. An end in the future counts as now.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn of(from: UnixNanos, to: UnixNanos, now: UnixNanos) -> Result<Self, Unfit> {
        let span = to.since(from).ok_or(Unfit::Clock)?;
        let fits = Window::fitting(span).ok_or(Unfit::Long)?;
        let slot = Slot::of(to.min(now));
        if slot < Slot::of(now).first_of(Window::Minutes5) {
            return Err(Unfit::Old);
        }
        Ok(Self { slot, fits })
    }

    /// The shortest window that takes it.
    #[must_use]
    pub const fn fits(self) -> Window {
        self.fits
    }
}

impl Windows {
    /// Slots of the longest window and the running one, times the spans told apart.
    pub const MAX_PARTS: usize = 61 * Window::ALL.len();

    /// Whether there are counts at this place already.
    #[must_use]
    pub fn has(&self, place: Place) -> bool {
        self.parts.contains_key(&(place.slot, place.fits))
    }

    /// The counts at a place, to be added to; those that a reader holds are copied.
    pub fn part(&mut self, place: Place, layout: &Layout) -> &mut Counts {
        let part = self.parts.entry((place.slot, place.fits));
        Arc::make_mut(part.or_insert_with(|| Arc::new(Counts::new(layout.clone()))))
    }

    /// Counts of this place were left out.
    pub fn lose(&mut self, place: Place) {
        self.lost = self.lost.max(Some(place.slot));
    }

    /// Forgets what is in no window any more, and what lies in the future because the clock went back. Returns how many
    /// parts went.
    pub fn expire(&mut self, now: UnixNanos) -> usize {
        let running = Slot::of(now);
        let first = running.first_of(Window::Minutes5);
        let before = self.parts.len();
        let held = |slot: &Slot| (first..=running).contains(slot);
        self.parts.retain(|(slot, _), _| held(slot));
        self.lost = self.lost.filter(held);
        before - self.parts.len()
    }

    /// Whether nothing is held: the object can be forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.lost.is_none()
    }

    /// What was counted in a window.
    #[must_use]
    pub fn sample(&self, window: Window, now: UnixNanos) -> Sample {
        let running = Slot::of(now);
        let first = running.first_of(window);
        let shown = (first, Window::Seconds15)..(running, Window::Seconds15);
        let parts = self.parts.range(shown);
        let fitting = parts.filter(|((_, fits), _)| *fits <= window);
        Sample {
            window,
            parts: fitting.map(|(_, counts)| Arc::clone(counts)).collect(),
            complete: self.lost.is_none_or(|lost| lost < first),
        }
    }
}

impl Window {
    /// When the window that is read at `now` began.
    #[must_use]
    pub const fn begin(self, now: UnixNanos) -> UnixNanos {
        UnixNanos(Slot::of(now).first_of(self).0.saturating_mul(SLOT.0))
    }
}

impl Sample {
    /// Of an object that nothing was counted for.
    #[must_use]
    pub const fn empty(window: Window, complete: bool) -> Self {
        Self {
            window,
            parts: Vec::new(),
            complete,
        }
    }

    /// Also has what the other has, of the same window.
    pub fn join(&mut self, other: Self) {
        self.complete &= other.complete;
        self.parts.extend(other.parts);
    }

    /// False when counts of the window were left out for want of room: a sum would be too low.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The sum.
    #[must_use]
    pub fn read(&self, layout: &Layout) -> Reading {
        let mut sum = Counts::new(layout.clone());
        for counts in &self.parts {
            sum.merge(counts, ChangeNumber::default());
        }
        Reading::new(self.window, sum)
    }
}
