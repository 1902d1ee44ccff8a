//! Brings the counts of one report into the windows while it is applied.

use gaugeway_wire::{GatewayName, Layout, Report, UnixNanos, VmId, report::Series};

use super::Recent;
use crate::{
    aggregate::{Applied, Refused},
    counts::Counts,
    gateway::Named,
    units::ChangeNumber,
    windows::{Place, Unfit, keep},
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
    /// The counts being added, encoded.
    counts: Vec<u8>,
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
            counts: Vec::new(),
        }
    }

    /// The report is new.
    pub(crate) fn begin(&mut self) {
        let (vm, place, now) = (self.vm, self.place, self.now);
        self.recent.cover(vm, &self.gateway, self.span, place, now);
    }

    /// Adds a series of a report of layout `from` to windows of layout `to`.
    pub(crate) fn add(
        &mut self,
        named: &mut Named,
        from: &Layout,
        to: &Layout,
        series: &Series<'_>,
    ) {
        let Ok(place) = self.place else {
            return;
        };
        self.counts.clear();
        if from == to {
            series.keep(&mut self.counts);
        } else {
            let mut converted = Counts::new(to.clone());
            converted.add(from, series, ChangeNumber::default());
            keep(&converted, &mut self.counts);
        }
        let of = (&self.gateway, &*named.target);
        let added = self
            .recent
            .add(place, of, &mut named.recent, to, &self.counts);
        self.left_out += u64::from(!added);
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
