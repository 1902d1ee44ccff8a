//! Client of `POST /v1/report`: hands over what was counted, each count exactly once.
//!
//! Counts are frozen into one report at a time. A frozen report keeps its sequence number and its bytes until the
//! controller acknowledged it or refused it for good; newer counts gather behind it. A round reports every series
//! that has something to say; rounds begin one interval apart.
//!
//! Where calls are dear (Kong), the mapping's request travels in the same call, and a round that has nothing to say is
//! left out, but for a slow heartbeat.

mod refused;

use std::collections::VecDeque;

use gaugeway_wire::{
    FilterCounter, LedgerEpoch, Nanos, REPORT_PATH, ReportAnswer, ReportCall, Seq, UnixNanos, VmId,
    limits::{DEFINITIONS, MESSAGE_BYTES},
};

use crate::{
    agent::{Heard, Turn},
    backoff::Backoff,
    host::{CallToken, Host, Reply},
    mapping::{Asked, Mapping},
    recorder::{Chunk, Filled, Recorder, Report, TargetId},
    time::Instant,
};

/// A report is applied in milliseconds.
const TIMEOUT: Nanos = Nanos::from_millis(10_000);
/// After which an answer is not waited for any more, whatever the host does (its root may be gone).
const DEADLINE: Nanos = Nanos::from_millis(15_000);
/// Time that one callback may spend on freezing.
const BUDGET: Nanos = Nanos(500_000);
/// Where calls are dear, rounds with nothing to say are left out for so long. The controller forgets who is silent for
/// 90 s.
const HEARTBEAT: Nanos = Nanos::from_millis(60_000);
/// Between rounds while the mapping has more to say than one answer holds.
const MORE_PACE: Nanos = Nanos::from_millis(1_000);
/// After a changed configuration rounds follow each other so fast (with each tick),
const CHANGE_PACE: Nanos = Nanos::from_millis(400);
/// for so long,
const CHANGE_TIME: Nanos = Nanos::from_millis(60_000);
/// and as long as there are no more than this beside those on time, each of which allows one more.
const CHANGE_ROUNDS: u32 = 60;
/// Between calls that bring nothing but definitions.
const DEFINITION_PACE: Nanos = Nanos::from_millis(1_000);

/// A report that was not acknowledged yet.
#[derive(Debug)]
struct Frozen {
    report: Report,
    sent: bool,
    /// How often it was split.
    splits: u32,
}

/// A call under way.
#[derive(Debug)]
struct Call {
    token: CallToken,
    sent: Instant,
    /// The report in it, if any.
    seq: Option<Seq>,
    definitions: Vec<TargetId>,
    /// The mapping request in it, if any.
    asked: Option<Asked>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reporter {
    vm: VmId,
    last: Seq,
    frozen: VecDeque<Frozen>,
    building: Option<Chunk>,
    /// Series that this round has still to report.
    left: usize,
    call: Option<Call>,
    backoff: Backoff,
    ledger: Option<LedgerEpoch>,
    /// Targets that the controller asked for.
    undefined: Vec<TargetId>,
    defined: Instant,
    interval: Nanos,
    next_round: Option<Instant>,
    /// Rounds do not wait for their time until then.
    hurried_until: Instant,
    /// How many rounds may still come before their time.
    early_left: u32,
    /// When a round was last not left out.
    last_round: Instant,
    /// End of the last report's span.
    last_to: UnixNanos,
    /// Kept for the next report.
    buffer: Vec<u8>,
}

impl Reporter {
    pub(crate) const fn new(vm: VmId, interval: Nanos) -> Self {
        Self {
            vm,
            last: Seq(0),
            frozen: VecDeque::new(),
            building: None,
            left: 0,
            call: None,
            backoff: Backoff::new(),
            ledger: None,
            undefined: Vec::new(),
            defined: Instant::START,
            interval,
            next_round: None,
            hurried_until: Instant::START,
            early_left: CHANGE_ROUNDS,
            last_round: Instant::START,
            last_to: UnixNanos(0),
            buffer: Vec::new(),
        }
    }

    /// Changes the time between rounds.
    pub(crate) fn set_interval(&mut self, interval: Nanos, now: Instant) {
        self.interval = interval;
        self.next_round = self.next_round.map(|next| next.min(now.plus(interval)));
    }

    /// Brings rounds forward for a while: what was counted may not be there much longer.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.hurried_until = now.plus(CHANGE_TIME);
    }

    /// Whether nothing is left to tell.
    pub(crate) fn is_drained(&self, recorder: &Recorder) -> bool {
        self.frozen.is_empty() && self.building.is_none() && recorder.queued() == 0
    }

    /// Does what is due.
    pub(crate) fn drive<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        recorder: &mut Recorder,
        mapping: &mut Mapping,
    ) {
        let overdue = |call: &Call| turn.now.since(call.sent) >= DEADLINE;
        if self.call.as_ref().is_some_and(overdue) {
            self.forget_call(recorder, mapping);
            self.failed(turn, recorder, None);
        }
        if self.call.is_some() || self.backoff.holds(turn.now) {
            return;
        }
        if self.frozen.is_empty() {
            self.freeze(turn, recorder);
        }
        let definitions = !turn.is_combined()
            && !self.undefined.is_empty()
            && turn.now >= self.defined.plus(DEFINITION_PACE);
        if !self.frozen.is_empty() || definitions {
            self.send(turn, recorder, Some(mapping));
        }
    }

    /// Whatever is under way is not answered any more: the root that sent it is gone. The next turn sends it again.
    pub(crate) fn forget_call(&mut self, recorder: &mut Recorder, mapping: &mut Mapping) {
        if let Some(asked) = self.call.take().and_then(|call| call.asked) {
            mapping.lost(&asked, recorder);
        }
    }

    /// The last chance: one report, at once, of what there is.
    pub(crate) fn flush<H: Host>(&mut self, turn: &mut Turn<'_, H>, recorder: &mut Recorder) {
        if !recorder.has_counted() {
            return;
        }
        if self.call.is_none() && !self.frozen.is_empty() {
            self.send(turn, recorder, None);
        }
        self.left = self.left.max(recorder.begin_round(turn.wall));
        if self.left == 0 && self.building.is_none() && recorder.counters.is_empty() {
            return;
        }
        self.fill(turn, recorder, Nanos(u64::MAX));
        if let Some(frozen) = self.frozen.back() {
            let mut body = Vec::new();
            let targets = &recorder.targets;
            let definitions = frozen
                .report
                .targets
                .iter()
                .filter_map(|&id| targets.definition(id, self.ledger));
            ReportCall::encode(&frozen.report.bytes, definitions, None, &mut body);
            turn.post(REPORT_PATH, &body, TIMEOUT);
        }
    }

    /// Begins a round when it is time, and freezes the next report of it.
    fn freeze<H: Host>(&mut self, turn: &mut Turn<'_, H>, recorder: &mut Recorder) {
        if self.building.is_none() && self.left == 0 {
            let now = turn.now;
            // Where calls are dear the first one is not put off for long: it brings what all later ones are counted by.
            let spread = match turn.is_combined() {
                true => Nanos(self.interval.0 / 8),
                false => self.interval,
            };
            let first = now.plus(turn.jitter.below(spread));
            let next = *self.next_round.get_or_insert(first);
            let more = turn.is_combined()
                && recorder.mapping_lacks()
                && now >= self.last_round.plus(MORE_PACE);
            let due = now >= next || more;
            let hurried = now < self.hurried_until
                && self.early_left > 0
                && now >= self.last_round.plus(CHANGE_PACE);
            if !due && !hurried {
                return;
            }
            if due {
                let on_time = next.plus(self.interval);
                self.next_round = Some(if on_time > now {
                    on_time
                } else {
                    now.plus(self.interval)
                });
            }
            if turn.is_combined() && !self.has_to_call(now, recorder) {
                return;
            }
            self.early_left = match due {
                true => self.early_left.saturating_add(1).min(CHANGE_ROUNDS),
                false => self.early_left.saturating_sub(1),
            };
            self.last_round = now;
            self.left = recorder.begin_round(turn.wall);
        }
        self.fill(turn, recorder, BUDGET);
    }

    /// Whether a round is worth a call: something was counted, keys are new, the controller wants names, or it should
    /// hear that this VM lives.
    fn has_to_call(&self, now: Instant, recorder: &Recorder) -> bool {
        recorder.queued() > 0
            || !recorder.counters.is_empty()
            || recorder.entries.has_news()
            || !self.undefined.is_empty()
            || now.since(self.last_round) >= HEARTBEAT
    }

    /// Fills a report, as far as the time goes.
    fn fill<H: Host>(&mut self, turn: &mut Turn<'_, H>, recorder: &mut Recorder, budget: Nanos) {
        let mut chunk = match self.building.take() {
            Some(chunk) => chunk,
            None => {
                let mut buffer = core::mem::take(&mut self.buffer);
                if buffer.try_reserve_exact(MESSAGE_BYTES).is_err() {
                    return;
                }
                self.last = Seq(self.last.0.saturating_add(1));
                recorder.open_chunk(
                    buffer,
                    self.vm,
                    self.last,
                    self.last_to,
                    self.left,
                    turn.wall,
                )
            }
        };
        while recorder.fill(&mut chunk, turn.wall) == Filled::More {
            if turn.is_over(budget) {
                self.building = Some(chunk);
                return;
            }
        }
        let report = chunk.finish(turn.wall);
        // A report that could take nothing ends the round: trying again at once would not help.
        let moved = report.targets.len();
        self.left = if moved == 0 {
            0
        } else {
            self.left.saturating_sub(moved)
        };
        self.last_to = turn.wall;
        self.frozen.push_back(Frozen {
            report,
            sent: false,
            splits: 0,
        });
    }

    /// Sends the oldest frozen report, if there is one, with definitions that the controller may lack, and where calls
    /// are dear with what the mapping has to ask.
    fn send<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        recorder: &mut Recorder,
        mapping: Option<&mut Mapping>,
    ) {
        let enclosed = mapping
            .filter(|mapping| turn.is_combined() && !mapping.is_applying())
            .map(|mapping| mapping.ask(recorder));
        let (request, asked) = enclosed.unzip();
        let (report, sent) = match self.frozen.front_mut() {
            Some(frozen) => (
                Some(&frozen.report),
                core::mem::replace(&mut frozen.sent, true),
            ),
            None => (None, false),
        };
        if sent {
            recorder.counters.bump(FilterCounter::Resends);
        }
        let wanted = report.map_or([].as_slice(), |report| &report.targets);
        let lacking = |id: &TargetId| recorder.targets.definition(*id, self.ledger).is_some();
        let mut ids = core::mem::take(&mut self.undefined);
        ids.retain(|&id| recorder.targets.definition(id, None).is_some());
        ids.extend(wanted.iter().copied().filter(lacking));
        ids.truncate(DEFINITIONS);
        let definitions = ids
            .iter()
            .filter_map(|&id| recorder.targets.definition(id, None));
        let mut body = Vec::new();
        let bytes = report.map_or([].as_slice(), |report| &report.bytes);
        // What did not fit is sent when the controller asks for it.
        ids.truncate(ReportCall::encode(
            bytes,
            definitions,
            request.as_ref(),
            &mut body,
        ));
        self.defined = turn.now;
        match turn.post(REPORT_PATH, &body, TIMEOUT) {
            Some(token) => {
                self.call = Some(Call {
                    token,
                    sent: turn.now,
                    seq: report.map(|report| report.seq),
                    definitions: ids,
                    asked,
                });
            }
            None => {
                if let Some(asked) = asked {
                    asked.take_back(recorder);
                }
                self.failed(turn, recorder, None);
            }
        }
    }

    fn failed<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        recorder: &mut Recorder,
        asked: Option<Nanos>,
    ) {
        recorder.counters.bump(FilterCounter::CallFailures);
        // Where calls are dear, those that fail are, too.
        let asked = match turn.is_combined() {
            true => Some(asked.unwrap_or_default().max(self.interval)),
            false => asked,
        };
        self.backoff.failed(turn.now, asked, turn.jitter);
    }

    /// The answer to a call, if it is the one of this reporter.
    pub(crate) fn on_reply<H: Host>(
        &mut self,
        token: CallToken,
        reply: &Reply,
        turn: &mut Turn<'_, H>,
        recorder: &mut Recorder,
        mapping: &mut Mapping,
    ) -> Option<Heard> {
        let mut call = self.call.take_if(|call| call.token == token)?;
        let asked = call.asked.take();
        let mut told = None;
        let heard = match reply.status {
            Some(200) => {
                let (heard, mapping) = self.on_answer(&call, &reply.body, turn, recorder);
                told = mapping;
                heard
            }
            Some(400 | 413 | 422) => {
                if call.seq.is_some() {
                    self.on_refusal(recorder);
                }
                Heard::Failure(reply.status)
            }
            status => {
                self.failed(turn, recorder, reply.retry_after);
                Heard::Failure(status)
            }
        };
        match (asked, told) {
            (Some(asked), Some(told)) => {
                mapping.on_answer(&asked, told, recorder);
                mapping.advance(turn, recorder);
            }
            // The report is taken all the same; the keys are sent again with the next one.
            (Some(asked), None) => mapping.lost(&asked, recorder),
            (None, _) => {}
        }
        // WasmX dies of a call that leaves in the answer to another one: there the next tick goes on.
        if !turn.is_combined() {
            self.drive(turn, recorder, mapping);
        }
        Some(heard)
    }

    /// Returns the mapping's part of the answer, too.
    fn on_answer<H: Host>(
        &mut self,
        call: &Call,
        body: &[u8],
        turn: &mut Turn<'_, H>,
        recorder: &mut Recorder,
    ) -> (Heard, Option<Vec<u8>>) {
        let Ok(answer) = ReportAnswer::decode(body) else {
            recorder.counters.bump(FilterCounter::BadAnswers);
            self.failed(turn, recorder, None);
            return (Heard::Failure(Some(200)), None);
        };
        if call.seq.is_some_and(|seq| answer.seq < seq) {
            // It answers without having applied the report, nor a later one: as good as no answer.
            self.failed(turn, recorder, None);
            return (Heard::Failure(Some(200)), None);
        }
        self.backoff.succeeded();
        self.ledger = Some(answer.ledger_epoch);
        for &id in &call.definitions {
            recorder.targets.set_known(id, self.ledger);
        }
        for &fingerprint in &answer.undefined {
            if let Some(id) = recorder.targets.find(fingerprint) {
                recorder.targets.set_known(id, None);
                self.undefined.push(id);
            }
        }
        if call.seq.is_some() {
            self.acknowledged(recorder);
        }
        (Heard::Success, answer.mapping.and_then(owned))
    }

    fn acknowledged(&mut self, recorder: &mut Recorder) {
        if let Some(frozen) = self.frozen.pop_front() {
            recorder.release_targets(&frozen.report.targets);
            self.buffer = frozen.report.bytes;
        }
    }
}

/// A copy, where there is memory for it.
fn owned(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy)
}
