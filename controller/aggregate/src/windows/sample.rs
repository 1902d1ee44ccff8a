//! What windows have of an object, to be summed by whoever reads it.

use std::sync::Arc;

use gaugeway_wire::{GatewayName, Layout, UnixNanos};

use super::{
    Log, Origin, Reading, Slot, Window,
    log::{Entry, entries},
};
use crate::{counts::Counts, recent::Known};

/// Over which gateway, and at which of its ports, a Service was reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Via {
    /// The gateway that reported it.
    pub gateway: GatewayName,
    /// The Service's port; empty where targets do not tell it.
    pub port: Box<str>,
}

/// A copy of the counts of one or several objects, up to a longest window.
#[derive(Clone, Debug)]
pub struct Sample {
    running: Slot,
    /// Slots at the end that reports are due for.
    due: u32,
    bytes: Vec<u8>,
    lost: Option<Slot>,
    /// By [`Origin`]; empty when several objects were joined.
    vias: Arc<[Via]>,
}

impl Sample {
    pub(crate) fn of(log: &Log, longest: Window, now: UnixNanos, vias: &Arc<[Via]>) -> Self {
        let running = Slot::of(now);
        let mut bytes = Vec::new();
        log.copy(longest, running, &mut bytes);
        Self {
            running,
            due: 0,
            bytes,
            lost: log.lost(),
            vias: Arc::clone(vias),
        }
    }

    /// Of an object that nothing was counted for.
    #[must_use]
    pub fn empty(now: UnixNanos) -> Self {
        Self {
            running: Slot::of(now),
            due: 0,
            bytes: Vec::new(),
            lost: None,
            vias: Arc::default(),
        }
    }

    /// Of an object that had no room.
    pub(crate) fn refused(now: UnixNanos, lost: Option<Slot>) -> Self {
        Self {
            lost,
            ..Self::empty(now)
        }
    }

    /// Its windows end where the gateways told so far.
    #[must_use]
    pub fn as_told(self, known: Known) -> Self {
        Self {
            due: known.due,
            ..self
        }
    }

    /// Also has what the other has.
    pub fn join(&mut self, other: &Self) {
        self.lost = self.lost.max(other.lost);
        self.bytes.extend_from_slice(&other.bytes);
        self.vias = Arc::default();
    }

    /// False when counts of the window were left out for want of room: a sum would be too low.
    #[must_use]
    pub fn is_complete(&self, window: Window) -> bool {
        let shown = window.shown(self.running, self.due);
        self.lost.is_none_or(|lost| lost < shown.start)
    }

    /// The sum over a window, of this layout.
    #[must_use]
    pub fn read(&self, window: Window, layout: &Layout) -> Reading {
        self.sum(window, layout, |_| true)
    }

    /// The gateways and ports that are told apart; none of several objects that were joined.
    #[must_use]
    pub fn vias(&self) -> &[Via] {
        &self.vias
    }

    /// The sum of what came over those that are chosen.
    #[must_use]
    pub fn read_via(
        &self,
        window: Window,
        layout: &Layout,
        chosen: impl Fn(&Via) -> bool,
    ) -> Reading {
        self.sum(window, layout, |entry| {
            let via = self.vias.get(usize::from(entry.origin.0));
            via.is_some_and(&chosen)
        })
    }

    /// Whether some counts came over gateways and ports that had no place of their own.
    #[must_use]
    pub fn has_others(&self) -> bool {
        let last = self.vias.len();
        let other = |Origin(at): Origin| usize::from(at) >= last;
        entries(&self.bytes).any(|entry| other(entry.origin))
    }

    fn sum(&self, window: Window, layout: &Layout, fits: impl Fn(&Entry<'_>) -> bool) -> Reading {
        let shown = window.shown(self.running, self.due);
        let mut sum = Counts::new(layout.clone());
        let all = entries(&self.bytes);
        let inside = all.filter(|e| shown.contains(&e.slot) && e.fits <= window && fits(e));
        inside.for_each(|entry| entry.add_to(&mut sum, layout));
        let length = shown.end.begin().since(shown.start.begin());
        Reading::new(length.unwrap_or_default(), sum)
    }
}
