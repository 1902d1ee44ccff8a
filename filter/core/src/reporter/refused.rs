//! Reports that the controller refused for good: split until what is illegal in them stands alone, then dropped.

use gaugeway_wire::{
    FilterCounter, Report, RequestClass, Seq,
    limits::MESSAGE_BYTES,
    report::{ReportWriter, Series, SeriesCounts},
};

use super::{Frozen, Reporter};
use crate::{counters::Counters, recorder::Recorder};

/// How often a report is halved before the rest is dropped whole: a controller that refuses everything costs at most
/// 2^7 - 1 calls per report.
const SPLITS: u32 = 6;

impl Reporter {
    /// The oldest report will never be taken.
    pub(super) fn on_refusal(&mut self, recorder: &mut Recorder) {
        let Some(frozen) = self.frozen.pop_front() else {
            return;
        };
        recorder.counters.bump(FilterCounter::RefusedReports);
        if frozen.splits >= SPLITS || !self.split(&frozen, recorder) {
            recorder
                .counters
                .add(FilterCounter::DroppedRequests, frozen.report.requests);
            recorder.counters.merge(&frozen.report.counters);
        }
        recorder.release_targets(&frozen.report.targets);
    }

    /// Puts both halves of a report at the end of the queue, under new numbers. False when it cannot be halved.
    fn split(&mut self, frozen: &Frozen, recorder: &mut Recorder) -> bool {
        let Ok(report) = Report::decode(&frozen.report.bytes) else {
            return false;
        };
        let series: Vec<_> = report.series().collect();
        if series.len() < 2 {
            return false;
        }
        let (first, second) = series.split_at(series.len() / 2);
        let nothing = Counters::new();
        for (half, counters) in [(first, &frozen.report.counters), (second, &nothing)] {
            let half = self.rewrite(&report, half, counters, recorder);
            self.frozen.push_back(Frozen {
                report: half,
                sent: false,
                splits: frozen.splits + 1,
            });
        }
        true
    }

    fn rewrite(
        &mut self,
        report: &Report<'_>,
        series: &[Series<'_>],
        counters: &Counters,
        recorder: &mut Recorder,
    ) -> crate::recorder::Report {
        self.last = Seq(self.last.0.saturating_add(1));
        let buffer = Vec::with_capacity(MESSAGE_BYTES);
        let mut writer = ReportWriter::new(buffer, self.vm, self.last, report.from, &report.layout);
        let mut targets = Vec::new();
        let mut requests = 0u64;
        for series in series {
            let classes: Vec<(RequestClass, u64)> = series.requests().collect();
            let count = classes
                .iter()
                .map(|&(_, count)| count)
                .fold(0, u64::saturating_add);
            if !copy(series, &classes, &mut writer) {
                recorder.counters.add(FilterCounter::DroppedRequests, count);
                continue;
            }
            requests = requests.saturating_add(count);
            if let Some(id) = recorder.targets.find(series.target) {
                targets.push(recorder.targets.acquire(id));
            }
        }
        writer.counters(counters.iter());
        crate::recorder::Report {
            seq: self.last,
            bytes: writer.finish(report.to),
            targets,
            counters: counters.clone(),
            requests,
        }
    }
}

fn copy(series: &Series<'_>, requests: &[(RequestClass, u64)], to: &mut ReportWriter) -> bool {
    let native: Vec<_> = series.native().collect();
    let classic: Vec<_> = series.classic().collect();
    to.series(SeriesCounts {
        target: series.target,
        route: series.route,
        requests: requests.iter().copied(),
        native: native.iter().copied(),
        classic: classic.iter().copied(),
        zero_count: series.zero_count,
        sum: series.sum,
        retries: series.retries,
        aborted: series.aborted,
        latency_unknown: series.latency_unknown,
        cancelled_wait: series.cancelled_wait,
    })
}
