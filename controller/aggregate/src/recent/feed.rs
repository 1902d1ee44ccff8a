//! Brings the counts of one report into the windows while it is applied.

use gaugeway_wire::{GatewayName, Report, Target, UnixNanos, VmId};

use super::Recent;
use crate::{
    aggregate::{Applied, Config, Refused},
    totals::Increase,
    units::ChangeNumber,
    windows::{Place, Unfit},
};

/// One report's way into the windows. It holds them until [`Feed::end`].
pub(crate) struct Feed {
    recent: Recent,
    vm: VmId,
    gateway: GatewayName,
    span: (UnixNanos, UnixNanos),
    place: Result<Place, Unfit>,
    now: UnixNanos,
    left_out: u64,
}

impl Feed {
    pub(crate) fn new(
        recent: Recent,
        gateway: &GatewayName,
        report: &Report<'_>,
        now: UnixNanos,
    ) -> Self {
        Self {
            recent,
            vm: report.vm,
            gateway: gateway.clone(),
            span: (report.from, report.to),
            place: Place::of(report.from, report.to, now),
            now,
            left_out: 0,
        }
    }

    /// The report is new.
    pub(crate) fn begin(&mut self) {
        let (vm, place, now) = (self.vm, self.place, self.now);
        self.recent.cover(vm, &self.gateway, self.span, place, now);
    }

    pub(crate) fn add(&mut self, target: &Target, config: &Config, increase: Increase<'_>) {
        let Ok(place) = self.place else {
            return;
        };
        let add_to = |counts: &mut _| increase.add_to(counts, ChangeNumber::default());
        if !self.recent.add(place, target, &config.layout, add_to) {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Gives the windows back, and says what became of the report in them.
    pub(crate) fn end(
        feed: Option<Self>,
        mut applied: Result<Applied, Refused>,
    ) -> (Option<Recent>, Result<Applied, Refused>) {
        let Some(feed) = feed else {
            return (None, applied);
        };
        if let Ok(applied) = &mut applied {
            applied.unfit = feed.place.err().filter(|_| applied.fresh);
            applied.left_out = feed.left_out;
        }
        (Some(feed.recent), applied)
    }
}
