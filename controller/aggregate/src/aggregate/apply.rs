//! Applying reports.

use std::{collections::hash_map::Entry as Place, sync::Arc};

use gaugeway_wire::{
    Fingerprint, GatewayName, Generation, Layout, Nanos, Report, Seq, Target, TargetKind,
    UnixNanos, limits, report,
};

use super::Aggregate;
use crate::{
    counts::Counts,
    gateway::{Entry, Gateway, Named, Unnamed, Verdict},
    host::Reach,
    limits::{UNNAMED_PER_GATEWAY, VERDICT_AGE},
    makers::{Birth, Births, Makers},
    recent::Feed,
    totals::{Increase, Moment, Placed, Totals},
    vms::{Admission, VmRefusal},
    windows::Unfit,
};

/// What a report did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// False for a report that had been applied before: it is acknowledged, and changed nothing.
    pub fresh: bool,
    /// Highest sequence applied for the VM.
    pub seq: Seq,
    /// What the counts span. A long one is a backlog: it enters the totals, and no window.
    pub span: Nanos,
    /// Series updates, whatever became of them.
    pub series: u64,
    /// Requests, whatever became of them.
    pub requests: u64,
    /// Fingerprints of the report without a definition, ascending, at most [`limits::UNDEFINED`].
    pub undefined: Vec<Fingerprint>,
    /// Requests of those.
    pub undefined_requests: u64,
    /// Fingerprints that the gateway may not report for, ascending.
    pub rejected: Vec<Fingerprint>,
    /// Series updates dropped because of that.
    pub rejected_series: u64,
    /// Requests that went to the overflow series because a bound was reached.
    pub overflow_requests: u64,
    /// The same because of the bound of a policy.
    pub refused_requests: u64,
    /// What became of series that were not there. Positions are those of the report's series.
    pub births: Births,
    /// Why its counts entered no window, where windows are kept.
    pub unfit: Option<Unfit>,
    /// Counts that entered no window because a bound was reached.
    pub left_out: u64,
    /// Latency samples whose buckets were converted.
    pub rebucketed_samples: u64,
}

/// Why a report was not applied. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The VM reports for another gateway.
    #[error("this worker VM reports for another gateway")]
    ForeignVm,
    /// Too many VMs.
    #[error("too many worker VMs are known")]
    TooManyVms,
    /// Too many gateways.
    #[error("too many gateways are known")]
    TooManyGateways,
    /// The index has not synced: it cannot say what the gateway may report for.
    #[error("the source has not synced")]
    NotSynced,
}

/// Says what a gateway may report for, and who makes its series.
pub(super) trait Judge {
    fn allows(&self, gateway: &GatewayName, fingerprint: Fingerprint, named: &mut Named) -> bool;

    /// Of the series at a position that is not there.
    fn birth(&self, gateway: &GatewayName, at: u32, target: &Target, makers: &mut Makers) -> Birth;
}

/// Asks the index, and keeps its verdict for a while.
pub(super) struct Live<'a> {
    pub(super) reach: &'a dyn Reach,
    pub(super) generation: Generation,
    pub(super) now: UnixNanos,
}

/// Repeats what was decided when the report came.
pub(super) struct Recorded<'a> {
    /// Ascending.
    pub(super) rejected: &'a [Fingerprint],
    pub(super) births: &'a Births,
}

impl Judge for Live<'_> {
    fn allows(&self, gateway: &GatewayName, _: Fingerprint, named: &mut Named) -> bool {
        if named.target.kind() != TargetKind::Kubernetes {
            return true;
        }
        let horizon = self.now.minus(VERDICT_AGE);
        if let Some(verdict) = named.verdict
            && verdict.generation == self.generation
            && verdict.at >= horizon
        {
            return verdict.allowed;
        }
        let allowed = self.reach.allows(gateway, &named.target) || named.is_remembered(self.now);
        named.verdict = Some(Verdict {
            generation: self.generation,
            at: self.now,
            allowed,
        });
        allowed
    }

    fn birth(&self, gateway: &GatewayName, _: u32, target: &Target, makers: &mut Makers) -> Birth {
        let maker = if target.kind() == TargetKind::Kubernetes {
            self.reach.maker(gateway, target)
        } else {
            None
        };
        maker.map_or(Birth::Made(None), |maker| makers.decide(maker, self.now))
    }
}

impl Judge for Recorded<'_> {
    fn allows(&self, _: &GatewayName, fingerprint: Fingerprint, _: &mut Named) -> bool {
        self.rejected.binary_search(&fingerprint).is_err()
    }

    fn birth(&self, _: &GatewayName, at: u32, _: &Target, _: &mut Makers) -> Birth {
        self.births.at(at)
    }
}

impl Aggregate {
    /// Applies a gateway's report, once.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn apply(
        &mut self,
        gateway: &GatewayName,
        report: &Report<'_>,
        reach: &dyn Reach,
        now: UnixNanos,
    ) -> Result<Applied, Refused> {
        let generation = reach.generation().ok_or(Refused::NotSynced)?;
        let judge = Live {
            reach,
            generation,
            now,
        };
        // A replay fills no windows: whether they are complete is known of reports that come now only.
        let recent = self.recent.take();
        let mut feed = recent.map(|recent| Feed::new(recent, gateway, report, now));
        let applied = self.apply_judged(gateway, report, &judge, feed.as_mut(), now);
        let (recent, applied) = Feed::end(feed, applied);
        self.recent = recent;
        applied
    }

    /// Applies a report as it was applied before: what was rejected then (ascending) is rejected again, and series are
    /// made or refused as they were.
    ///
    /// # Errors
    /// [`Refused`], which it was not before: then state and log do not belong together.
    pub fn replay_report(
        &mut self,
        gateway: &GatewayName,
        report: &Report<'_>,
        rejected: &[Fingerprint],
        births: &Births,
        now: UnixNanos,
    ) -> Result<Applied, Refused> {
        let judge = Recorded { rejected, births };
        self.apply_judged(gateway, report, &judge, None, now)
    }

    fn apply_judged(
        &mut self,
        gateway: &GatewayName,
        report: &Report<'_>,
        judge: &impl Judge,
        mut feed: Option<&mut Feed>,
        now: UnixNanos,
    ) -> Result<Applied, Refused> {
        if !self.has_room_for(gateway) {
            return Err(Refused::TooManyGateways);
        }
        let mut applied = Applied {
            seq: report.seq,
            span: report.to.since(report.from).unwrap_or_default(),
            ..Applied::default()
        };
        match self.vms.admit(report.vm, gateway, report.seq, now)? {
            Admission::Duplicate(last) => {
                applied.seq = last;
                applied.undefined = self.undefined(gateway, report);
                return Ok(applied);
            }
            Admission::Fresh => applied.fresh = true,
        }
        self.change = self.change.next();
        if let Some(feed) = &mut feed {
            feed.begin();
        }
        let table = self.gateways.entry(gateway.clone()).or_default();
        table.used = now;
        let rebucketed = report.layout != self.config.layout;
        // The same one where they are equal: clones are compared at once.
        let layout = if rebucketed {
            &report.layout
        } else {
            &self.config.layout
        };
        let mut ingest = Ingest {
            at: Moment {
                config: &self.config,
                change: self.change,
                now,
            },
            gateway,
            table,
            totals: &mut self.totals,
            applied: &mut applied,
            feed,
            layout,
            rebucketed,
        };
        for series in report.series() {
            ingest.add(judge, Increase::Reported(layout, &series), &series);
        }
        applied.tidy();
        Ok(applied)
    }

    /// What a report names that has no definition.
    fn undefined(&self, gateway: &GatewayName, report: &Report<'_>) -> Vec<Fingerprint> {
        let mut undefined: Vec<_> = report
            .series()
            .map(|series| series.target)
            .filter(|fingerprint| !self.is_named(gateway, *fingerprint))
            .collect();
        tidy(&mut undefined);
        undefined.truncate(limits::UNDEFINED);
        undefined
    }
}

impl From<VmRefusal> for Refused {
    fn from(refusal: VmRefusal) -> Self {
        match refusal {
            VmRefusal::Foreign => Self::ForeignVm,
            VmRefusal::Full => Self::TooManyVms,
        }
    }
}

impl Applied {
    fn tidy(&mut self) {
        tidy(&mut self.rejected);
        tidy(&mut self.undefined);
        self.undefined.truncate(limits::UNDEFINED);
    }
}

fn tidy(fingerprints: &mut Vec<Fingerprint>) {
    fingerprints.sort_unstable();
    fingerprints.dedup();
}

fn add(total: &mut u64, more: u64) {
    *total = total.saturating_add(more);
}

struct Ingest<'a> {
    at: Moment<'a>,
    gateway: &'a GatewayName,
    table: &'a mut Gateway,
    totals: &'a mut Totals,
    applied: &'a mut Applied,
    feed: Option<&'a mut Feed>,
    /// Of the report.
    layout: &'a Layout,
    rebucketed: bool,
}

impl Ingest<'_> {
    fn add(&mut self, judge: &impl Judge, increase: Increase<'_>, series: &report::Series<'_>) {
        let requests = series
            .requests()
            .fold(0_u64, |sum, (_, n)| sum.saturating_add(n));
        self.applied.series += 1;
        add(&mut self.applied.requests, requests);
        let placed = match self.table.entries.get_mut(&series.target) {
            Some(Entry::Named(named)) => {
                if !judge.allows(self.gateway, series.target, named) {
                    self.applied.rejected.push(series.target);
                    self.applied.rejected_series += 1;
                    return;
                }
                named.used = self.at.now;
                named.taken = self.at.now;
                if let Some(feed) = &mut self.feed {
                    feed.add(named, self.layout, &self.at.config.layout, series);
                }
                let (gateway, applied) = (self.gateway, &mut *self.applied);
                let birth = |target: &Target, makers: &mut Makers| {
                    // A report has fewer series than bytes.
                    let at = u32::try_from(applied.series - 1).unwrap_or(u32::MAX);
                    let birth = judge.birth(gateway, at, target, makers);
                    applied.births.note(at, &birth);
                    birth
                };
                self.totals
                    .add(self.at, gateway, named, series.route, increase, birth)
            }
            Some(Entry::Unnamed(_)) | None => {
                add(&mut self.applied.undefined_requests, requests);
                self.applied.undefined.push(series.target);
                self.keep(increase, series)
            }
        };
        match placed {
            Placed::Own => {}
            Placed::Overflow => add(&mut self.applied.overflow_requests, requests),
            Placed::Refused => add(&mut self.applied.refused_requests, requests),
        }
        if self.rebucketed {
            add(&mut self.applied.rebucketed_samples, series.samples());
        }
    }

    /// Keeps counts until their definition comes, within the bound.
    fn keep(&mut self, increase: Increase<'_>, series: &report::Series<'_>) -> Placed {
        match self.table.unnamed(series.target, series.route, self.at) {
            Some(counts) => {
                increase.add_to(counts, self.at.change);
                Placed::Own
            }
            None => self.totals.add_overflow(self.at, increase),
        }
    }
}

impl Gateway {
    /// Waiting counts of a fingerprint that has no definition; `None` when there are too many.
    fn unnamed(
        &mut self,
        fingerprint: Fingerprint,
        route: &str,
        at: Moment<'_>,
    ) -> Option<&mut Counts> {
        let full = self.unnamed >= UNNAMED_PER_GATEWAY;
        let entry = match self.entries.entry(fingerprint) {
            Place::Occupied(occupied) => occupied.into_mut(),
            Place::Vacant(_) if full => return None,
            Place::Vacant(vacant) => vacant.insert(Entry::Unnamed(Unnamed::new(at.now))),
        };
        let Entry::Unnamed(waiting) = entry else {
            return None;
        };
        let position = waiting.routes.iter().position(|(of, _)| **of == *route);
        if position.is_none() {
            if full {
                return None;
            }
            let counts = Counts::new(at.config.layout.clone());
            waiting.routes.push((route.into(), Arc::new(counts)));
            self.unnamed += 1;
        }
        let position = position.unwrap_or(waiting.routes.len() - 1);
        let (_, counts) = waiting.routes.get_mut(position)?;
        Some(Arc::make_mut(counts))
    }
}
