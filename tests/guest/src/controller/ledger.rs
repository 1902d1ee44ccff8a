//! The simulated ledger: applies each (vm, seq) once and keeps what is needed to notice a filter that breaks the rules.

use std::collections::BTreeMap;

use gaugeway_wire::{
    limits::{MESSAGE_BYTES, UNDEFINED},
    report::{FilterCounter, Report, ReportAnswer, ReportCall},
    target::{Fingerprint, Target},
    units::{LedgerEpoch, Seq, UnixNanos, VmId},
};

use crate::{
    controller::{CallId, Controller, Delivery},
    totals::Totals,
};

/// What was reported.
pub struct Ledger {
    /// Its life.
    pub epoch: LedgerEpoch,
    /// Counts.
    pub totals: Totals,
    /// The filter's own counters.
    pub counters: BTreeMap<FilterCounter, u64>,
    /// Targets that definitions named.
    pub names: BTreeMap<Fingerprint, Target>,
    /// Reporters.
    pub vms: BTreeMap<VmId, ReportedVm>,
    /// Reports that came again.
    pub duplicates: u64,
}

/// One reporter.
#[derive(Clone, Debug, Default)]
pub struct ReportedVm {
    /// Last sequence applied.
    pub seq: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// End of its span.
    pub to: UnixNanos,
    /// Reports without any series (heartbeats).
    pub empty: u64,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            epoch: LedgerEpoch(1),
            totals: Totals::default(),
            counters: BTreeMap::new(),
            names: BTreeMap::new(),
            vms: BTreeMap::new(),
            duplicates: 0,
        }
    }

    /// One of the filter's own counters.
    #[must_use]
    pub fn counter(&self, counter: FilterCounter) -> u64 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }

    /// Starts a new life at zero.
    pub fn renew(&mut self) {
        *self = Self {
            epoch: LedgerEpoch(self.epoch.0 + 1),
            ..Self::new()
        };
    }

    /// Labels of a target as `name=value`, or its fingerprint while nobody named it.
    #[must_use]
    pub fn name(&self, target: Fingerprint) -> String {
        match self.names.get(&target) {
            Some(named) => format!("{:?} {:?}", named.kind(), named.labels()),
            None => format!("{target:?}"),
        }
    }
}

impl Controller {
    pub(super) fn report(&mut self, now: UnixNanos, id: CallId, call: &ReportCall<'_>) {
        for definition in call.definitions() {
            match definition.resolve() {
                Ok(target) => {
                    self.ledger.names.insert(definition.fingerprint, target);
                }
                Err(error) => self.violation(format!("definition: {error}")),
            }
        }
        let applied = if call.report.is_empty() {
            Ok((Seq(0), Vec::new()))
        } else {
            self.apply(call.report)
        };
        let (seq, undefined) = match applied {
            Ok(applied) => applied,
            Err(why) => return self.refuse(now, id, &why),
        };
        let mapping = call.mapping.as_ref().map(|request| {
            self.subscribe(request);
            self.mapping_answer(now, request.vm)
        });
        let answer = ReportAnswer {
            ledger_epoch: self.ledger.epoch,
            seq,
            undefined,
            mapping: mapping.as_deref(),
            rejected_series: 0,
        };
        let mut body = Vec::new();
        answer.encode(&mut body);
        self.send(now, id, Delivery::Answer { status: 200, body });
    }

    fn apply(&mut self, bytes: &[u8]) -> Result<(Seq, Vec<Fingerprint>), String> {
        if bytes.len() > MESSAGE_BYTES {
            return Err(format!("a report of {} bytes", bytes.len()));
        }
        let report = Report::decode(bytes).map_err(|error| error.to_string())?;
        let known = self.ledger.vms.entry(report.vm).or_default();
        if report.seq.0 <= known.seq {
            self.ledger.duplicates += 1;
            let (last, same) = (known.seq, known.bytes == bytes);
            if report.seq.0 == last && !same {
                self.violation(format!("report {last} came again with other bytes"));
            }
            return Ok((Seq(last), Vec::new()));
        }
        let mut wrong = Vec::new();
        if report.seq.0 != known.seq + 1 {
            wrong.push(format!("report {} follows {}", report.seq.0, known.seq));
        }
        if report.to < known.to {
            wrong.push("a report ends before the one before it".to_owned());
        }
        known.seq = report.seq.0;
        known.to = report.to;
        bytes.clone_into(&mut known.bytes);
        known.empty += u64::from(report.series().next().is_none());
        wrong.into_iter().for_each(|text| self.violation(text));
        Ok((report.seq, self.count(&report)))
    }

    fn count(&mut self, report: &Report<'_>) -> Vec<Fingerprint> {
        self.ledger.totals.add_report(report);
        for (counter, increase) in report.counters() {
            let sum = self.ledger.counters.entry(counter).or_default();
            *sum = sum.saturating_add(increase);
        }
        let mut undefined: Vec<Fingerprint> = report
            .series()
            .map(|series| series.target)
            .filter(|target| !self.ledger.names.contains_key(target))
            .collect();
        undefined.sort_unstable();
        undefined.dedup();
        undefined.truncate(UNDEFINED);
        undefined
    }
}
