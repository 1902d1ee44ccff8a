//! What one Service, Pod or workload did over the last 15 s, 30 s, 60 s and 5 min.
//!
//! Time runs in slots of 5 s since the Unix epoch. A window ends with the last slot that is over, so its newest request is
//! at most one slot old. The three short windows have their exact length; the longest begins where a half minute does, up
//! to 25 s earlier than its name says. Rates are divided by the length that was summed.
//!
//! Where reports are late, a window ends as many of their intervals earlier: what nobody told of yet is not idle. It begins
//! earlier too where that is kept, in the two shorter ones; the others are shorter then.
//!
//! **Invariants**
//! - A report enters a window only if its span is no longer than the window and it ends inside: a backlog never does.
//! - Counts are kept apart per slot, smallest window that their span fits, and origin; where only the longest window looks,
//!   per half minute. What is kept is bounded by [`crate::limits::RECENT_BYTES`] over all objects.
//! - What was left out for want of room makes the windows that it belongs to incomplete, never low.
//! - Nothing here tells idle from unknown: an empty sum is 0 requests and no latency. Who reads it knows whether the
//!   gateways reported over the whole window.
//! - Time does not go back here: who keeps windows begins anew where a clock does.

mod log;
mod reading;
mod sample;
#[cfg(test)]
mod tests;

use gaugeway_wire::{Nanos, UnixNanos};

pub(crate) use log::{Log, Origin, Scratch, keep};
pub use reading::Reading;
pub use sample::{Sample, Via};

use crate::units::seconds;

const SLOT: Nanos = seconds(5);
/// Slots that are summed where only the longest window looks.
const COARSE: u32 = 6;
/// Slots that a window may end early, at most: so many are kept before the half minute's window begins.
pub(crate) const LATE: u32 = 6;

/// How far back a reading looks. Ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// 15 s.
    Seconds15,
    /// 30 s.
    Seconds30,
    /// 60 s.
    Seconds60,
    /// 5 min, up to 25 s more.
    Minutes5,
}

/// Number of a slot since the Unix epoch. All of 64 bits of nanoseconds has fewer than 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

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

    /// The longest span that enters it.
    #[must_use]
    pub const fn span(self) -> Nanos {
        Nanos(self.slots() as u64 * SLOT.0)
    }

    const fn slots(self) -> u32 {
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

    /// The first slot that it still shows while this one runs.
    pub(crate) const fn first(self, running: Slot) -> Slot {
        let first = Slot(running.0.saturating_sub(self.slots()));
        match self {
            Self::Minutes5 => first.coarse(),
            _ => first,
        }
    }

    /// The slots that are summed while this one runs, without so many that reports are due for.
    pub(crate) fn shown(self, running: Slot, due: u32) -> std::ops::Range<Slot> {
        let end = Slot(running.0.saturating_sub(due.min(LATE)));
        let first = match self {
            Self::Minutes5 => self.first(running),
            _ => self.first(end).max(Self::Seconds60.first(running)),
        };
        first..end
    }

    /// A number below 4.
    const fn code(self) -> u8 {
        self as u8
    }

    const fn of_code(code: u8) -> Self {
        match code & 3 {
            0 => Self::Seconds15,
            1 => Self::Seconds30,
            2 => Self::Seconds60,
            _ => Self::Minutes5,
        }
    }
}

impl Slot {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "2^64 nanoseconds have fewer slots"
    )]
    pub(crate) const fn of(at: UnixNanos) -> Self {
        Self((at.0 / SLOT.0) as u32)
    }

    pub(crate) const fn begin(self) -> UnixNanos {
        UnixNanos(self.0 as u64 * SLOT.0)
    }

    /// How many slots later this one is.
    pub(crate) const fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    /// How many slots a report spans, about; at least one.
    pub(crate) fn spanned(by: Nanos) -> u32 {
        let about = by.0.saturating_add(SLOT.0 / 2) / SLOT.0;
        u32::try_from(about).unwrap_or(u32::MAX).max(1)
    }

    /// The slot after it.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The first of the half minute that it belongs to.
    const fn coarse(self) -> Self {
        Self(self.0 / COARSE * COARSE)
    }

    /// Where it is kept while another runs: once no short window will look at any slot of its half minute, with these.
    fn kept_at(self, running: Self) -> Self {
        let whole = self.coarse();
        // One more, for a clock that is set back a little.
        let shown = Window::Seconds60.first(running).0.saturating_sub(1);
        if whole.0 + COARSE <= shown {
            whole
        } else {
            self
        }
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
        if slot < Window::Minutes5.first(Slot::of(now)) {
            return Err(Unfit::Old);
        }
        Ok(Self { slot, fits })
    }

    pub(crate) const fn slot(self) -> Slot {
        self.slot
    }

    /// The shortest window that takes it.
    #[must_use]
    pub const fn fits(self) -> Window {
        self.fits
    }
}
