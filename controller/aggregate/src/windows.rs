//! What one Service, Pod or workload did over the last 15 s, 30 s, 60 s and 5 min.
//!
//! Time runs in slots of 5 s since the Unix epoch. A window ends with the last slot that is over, so that its length is
//! always exactly what a rate is divided by; its newest request is at most one slot old.
//!
//! **Invariants**
//! - A report enters a window only if its span is no longer than the window and it ends inside: a backlog never does.
//! - Counts are held per slot and smallest window that their span fits: at most [`Windows::MAX_PARTS`] per object,
//!   whatever the clocks do. Requests that are in no window hold no memory after the next report or [`Windows::expire`].
//! - Nothing here tells idle from unknown: an empty sum is 0 requests and no latency. Who reads it knows whether the
//!   gateways reported over the whole window.

mod reading;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

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

/// The recent counts of one object.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    parts: BTreeMap<(Slot, Window), Counts>,
}

impl Window {
    /// All windows, ascending.
    pub const ALL: [Self; 4] = [
        Self::Seconds15,
        Self::Seconds30,
        Self::Seconds60,
        Self::Minutes5,
    ];

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

impl Windows {
    /// Slots of the longest window and the running one, times the spans told apart.
    pub const MAX_PARTS: usize = 61 * Window::ALL.len();

    /// Adds what was counted over a span that a gateway's clock tells. An end in the future counts as now.
    ///
    /// # Errors
    /// [`Unfit`]; nothing was added.
    pub fn add(
        &mut self,
        from: UnixNanos,
        to: UnixNanos,
        counts: &Counts,
        now: UnixNanos,
    ) -> Result<(), Unfit> {
        self.expire(now);
        let span = to.since(from).ok_or(Unfit::Clock)?;
        let fits = Window::fitting(span).ok_or(Unfit::Long)?;
        let running = Slot::of(now);
        let slot = Slot::of(to.min(now));
        if slot < running.first_of(Window::Minutes5) {
            return Err(Unfit::Old);
        }
        self.parts
            .entry((slot, fits))
            .or_insert_with(|| Counts::new(counts.latency.layout().clone()))
            .merge(counts, ChangeNumber::default());
        Ok(())
    }

    /// Forgets what is in no window any more, and what lies in the future because the clock went back.
    pub fn expire(&mut self, now: UnixNanos) {
        let running = Slot::of(now);
        let first = running.first_of(Window::Minutes5);
        self.parts
            .retain(|(slot, _), _| (first..=running).contains(slot));
    }

    /// Whether nothing is held: the object can be forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What was counted in a window.
    #[must_use]
    pub fn read(&self, window: Window, layout: &Layout, now: UnixNanos) -> Reading {
        let running = Slot::of(now);
        let mut sum = Counts::new(layout.clone());
        let shown = (running.first_of(window), Window::Seconds15)..(running, Window::Seconds15);
        for ((_, fits), counts) in self.parts.range(shown) {
            if *fits <= window {
                sum.merge(counts, ChangeNumber::default());
            }
        }
        Reading::new(window, sum)
    }
}
