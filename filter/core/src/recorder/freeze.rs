//! Turning counts into the bytes of a report, a bounded part at a time.

use std::rc::Rc;

use gaugeway_wire::{Layout, Seq, UnixNanos, VmId, limits::SPAN_NS, report::ReportWriter};

use super::{
    Recorder,
    series::{Owner, Series},
    targets::TargetId,
};
use crate::counters::Counters;

/// Most series in one report.
const SERIES: usize = 512;
/// Series written between two looks at the clock.
const STEP: usize = 16;

/// A report that is being filled. Counts that are in it are in no table any more.
#[derive(Debug)]
pub(crate) struct Chunk {
    writer: ReportWriter,
    layout: Rc<Layout>,
    room: usize,
    pub(crate) seq: Seq,
    from: UnixNanos,
    /// Targets in it, each held.
    targets: Vec<TargetId>,
    counters: Counters,
    requests: u64,
}

/// A finished report.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seq: Seq,
    pub(crate) bytes: Vec<u8>,
    pub(crate) targets: Vec<TargetId>,
    pub(crate) counters: Counters,
    pub(crate) requests: u64,
}

/// Whether a chunk wants more steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// There is more for it.
    More,
    /// It is full, or nothing is left for it.
    Done,
}

impl Recorder {
    /// Begins a round: returns how many series have something to report.
    pub(crate) fn begin_round(&mut self, now: UnixNanos) -> usize {
        self.series.set_last_round(now);
        self.series.queued()
    }

    /// Series with something to report.
    pub(crate) fn queued(&self) -> usize {
        self.series.queued()
    }

    /// Starts a report of at most `most` series. Its span begins when the counts of what it holds did.
    pub(crate) fn open_chunk(
        &mut self,
        buffer: Vec<u8>,
        vm: VmId,
        seq: Seq,
        empty_from: UnixNanos,
        most: usize,
        now: UnixNanos,
    ) -> Chunk {
        let layout = self
            .series
            .first()
            .map_or(&self.layout, |(_, series)| &series.layout);
        let layout = Rc::clone(layout);
        let room = most.min(SERIES);
        let alike = |series: &&Series| *series.layout == *layout;
        let frozen = self
            .series
            .front(room)
            .take_while(alike)
            .map(|series| series.since);
        let last_end = if empty_from == UnixNanos(0) {
            now
        } else {
            empty_from
        };
        let from = frozen.min().unwrap_or(last_end);
        // The clock may have stepped: a report's span is never negative, nor over its bound.
        let from = from.clamp(UnixNanos(now.0.saturating_sub(SPAN_NS / 2)), now);
        let counters = self.counters.take();
        let mut writer = ReportWriter::new(buffer, vm, seq, from, &layout);
        writer.counters(counters.iter());
        Chunk {
            writer,
            layout,
            room,
            seq,
            from,
            targets: Vec::new(),
            counters,
            requests: 0,
        }
    }

    /// Moves some series into a report.
    pub(crate) fn fill(&mut self, chunk: &mut Chunk, now: UnixNanos) -> Filled {
        for _ in 0..STEP {
            if chunk.room == 0 || !self.move_one(chunk, now) {
                return Filled::Done;
            }
            chunk.room -= 1;
        }
        Filled::More
    }

    fn move_one(&mut self, chunk: &mut Chunk, now: UnixNanos) -> bool {
        let Some((_, series)) = self.series.first() else {
            return false;
        };
        let Owner::Target(target) = series.owner else {
            return false;
        };
        let alike = Rc::ptr_eq(&series.layout, &chunk.layout) || *series.layout == *chunk.layout;
        if !alike || chunk.targets.try_reserve(1).is_err() {
            return false;
        }
        let Some(fingerprint) = self.targets.fingerprint(target) else {
            return false;
        };
        let route = self.routes.name(series.route);
        if !series.tally.write(fingerprint, route, &mut chunk.writer) {
            return false;
        }
        chunk.requests = chunk.requests.saturating_add(series.tally.requests());
        chunk.targets.push(self.targets.acquire(target));
        if let Some(gone) = self.series.pop_reported(now) {
            self.targets.release(gone, self.now);
        }
        true
    }

    /// Lets the targets of a report go.
    pub(crate) fn release_targets(&mut self, targets: &[TargetId]) {
        for &target in targets {
            self.targets.release(target, self.now);
        }
    }
}

impl Chunk {
    /// Ends it.
    pub(crate) fn finish(self, now: UnixNanos) -> Report {
        Report {
            seq: self.seq,
            bytes: self.writer.finish(now.max(self.from)),
            targets: self.targets,
            counters: self.counters,
            requests: self.requests,
        }
    }
}
