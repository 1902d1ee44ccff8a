//! Client of `POST /v1/mapping`: subscribes to the keys that were seen and takes over what the controller tells.
//!
//! A poll without news is held by the controller. When a new key turns up meanwhile, a second request is sent; the
//! controller then ends the held one with an empty answer. Answers are applied in steps of bounded time.
//!
//! Where calls are dear (Kong), the same request and answer travel inside the report's call and its answer: then only
//! [`Mapping::ask`], [`Mapping::on_answer`] and [`Mapping::advance`] are used.

use gaugeway_wire::{
    Answer, FilterCounter, Generation, MAPPING_PATH, MappingAnswer, MappingEpoch, MappingRequest,
    Nanos, Policy, VmId,
    limits::{KEYS_PER_REQUEST, REQUEST_BYTES},
    mapping::{Part, Parts},
};

use crate::{
    agent::{Heard, Turn},
    backoff::Backoff,
    host::{CallToken, Host, Reply},
    recorder::{EntryId, Recorder},
    time::Instant,
};

/// The controller holds a poll for up to 25 s.
const TIMEOUT: Nanos = Nanos::from_millis(35_000);
/// After which an answer is not waited for any more, whatever the host does (its root may be gone).
const DEADLINE: Nanos = Nanos::from_millis(40_000);
/// A request with new keys is answered at once; so long the next one waits for that answer.
const PATIENCE: Nanos = Nanos::from_millis(2_000);
/// Between two polls when the answers are empty and come at once, which no controller should do.
const PACE: Nanos = Nanos::from_millis(1_000);
/// Time that one callback may spend on an answer.
const BUDGET: Nanos = Nanos(500_000);
/// Keys of each list of a request: the contract's bound would take a callback too long.
const KEYS: usize = KEYS_PER_REQUEST / 4;
/// Parts of an answer between two looks at the clock.
const STEP: usize = 32;

/// What a request said.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What it claimed to hold.
    epoch: MappingEpoch,
    keys: Vec<EntryId>,
}

impl Asked {
    /// It was never sent.
    pub(crate) fn take_back(&self, recorder: &mut Recorder) {
        recorder.subscribed(&self.keys, false);
    }
}

/// A request under way.
#[derive(Debug)]
struct Call {
    token: CallToken,
    sent: Instant,
    asked: Asked,
}

/// An answer that is being applied.
#[derive(Debug)]
struct Applying {
    body: Vec<u8>,
    /// Where its rest begins.
    position: usize,
    answer: Answer,
    generation: Generation,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mapping {
    vm: VmId,
    epoch: MappingEpoch,
    generation: Generation,
    received: Answer,
    calls: Vec<Call>,
    applying: Option<Applying>,
    backoff: Backoff,
    not_before: Instant,
    /// A policy that an answer brought.
    policy: Option<Policy>,
}

impl Mapping {
    pub(crate) const fn new(vm: VmId) -> Self {
        Self {
            vm,
            epoch: MappingEpoch(0),
            generation: Generation(0),
            received: Answer(0),
            calls: Vec::new(),
            applying: None,
            backoff: Backoff::new(),
            not_before: Instant::START,
            policy: None,
        }
    }

    /// Does what is due.
    pub(crate) fn drive<H: Host>(&mut self, turn: &mut Turn<'_, H>, recorder: &mut Recorder) {
        self.expire(turn, recorder);
        self.advance(turn, recorder);
        if self.is_due(turn.now, recorder) {
            self.call(turn, recorder);
        }
    }

    /// Whether an answer is still being applied: nothing is to be asked before that is done.
    pub(crate) const fn is_applying(&self) -> bool {
        self.applying.is_some()
    }

    /// Whether the controller has ever told a mapping.
    pub(crate) fn is_known(&self) -> bool {
        self.epoch != MappingEpoch(0)
    }

    /// A policy that came since this was last asked.
    pub(crate) const fn take_policy(&mut self) -> Option<Policy> {
        self.policy.take()
    }

    fn is_due(&self, now: Instant, recorder: &Recorder) -> bool {
        let entries = &recorder.entries;
        if self.applying.is_some() || self.backoff.holds(now) {
            return false;
        }
        match self.calls.as_slice() {
            [] => {
                entries.has_news()
                    || ((entries.len() > 0 || entries.has_released()) && now >= self.not_before)
            }
            // One at a time until the controller is known: which of two requests began the subscription could not be told.
            [call] if self.is_known() => {
                let held = call.asked.keys.is_empty() || now.since(call.sent) >= PATIENCE;
                entries.has_news() && held
            }
            _ => false,
        }
    }

    fn call<H: Host>(&mut self, turn: &mut Turn<'_, H>, recorder: &mut Recorder) {
        let (request, asked) = self.ask(recorder);
        let mut body = Vec::new();
        let room = body.try_reserve_exact(request.encoded_len()).is_ok();
        if room {
            request.encode(&mut body);
        }
        let sent = room.then(|| turn.post(MAPPING_PATH, &body, TIMEOUT));
        match sent.flatten() {
            Some(token) => self.calls.push(Call {
                token,
                sent: turn.now,
                asked,
            }),
            None => {
                asked.take_back(recorder);
                self.failed(turn, recorder, None);
            }
        }
    }

    /// Makes a request of what the controller should hear: it is under way until [`Mapping::on_answer`] or
    /// [`Mapping::lost`] is told what became of it.
    pub(crate) fn ask(&self, recorder: &mut Recorder) -> (MappingRequest, Asked) {
        let mut request = MappingRequest::new(self.vm);
        request.mapping_epoch = self.epoch;
        request.generation = self.generation;
        request.received = self.received;
        let keys = fill(&mut request, recorder);
        let epoch = self.epoch;
        (request, Asked { epoch, keys })
    }

    fn failed<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        recorder: &mut Recorder,
        asked: Option<Nanos>,
    ) {
        recorder.counters.bump(FilterCounter::CallFailures);
        self.backoff.failed(turn.now, asked, turn.jitter);
    }

    /// Gives up calls whose answers are overdue.
    fn expire<H: Host>(&mut self, turn: &mut Turn<'_, H>, recorder: &mut Recorder) {
        let now = turn.now;
        let overdue = |call: &Call| now.since(call.sent) >= DEADLINE;
        while let Some(position) = self.calls.iter().position(overdue) {
            let call = self.calls.remove(position);
            self.lost(&call.asked, recorder);
            self.failed(turn, recorder, None);
        }
    }

    /// Whatever is under way is not answered any more: the root that asked is gone. The next turn asks again.
    pub(crate) fn forget_calls(&mut self, recorder: &mut Recorder) {
        for call in core::mem::take(&mut self.calls) {
            self.lost(&call.asked, recorder);
        }
    }

    /// A request of which nothing is known but that it may have reached the controller.
    pub(crate) fn lost(&self, asked: &Asked, recorder: &mut Recorder) {
        recorder.subscribed(&asked.keys, false);
        if asked.epoch != self.epoch {
            recorder.entries.subscribe_anew();
        }
    }

    /// The answer to a call, if it is one of these.
    pub(crate) fn on_reply<H: Host>(
        &mut self,
        token: CallToken,
        reply: &mut Reply,
        turn: &mut Turn<'_, H>,
        recorder: &mut Recorder,
    ) -> Option<Heard> {
        let position = self.calls.iter().position(|call| call.token == token)?;
        let call = self.calls.remove(position);
        if reply.status != Some(200) {
            self.lost(&call.asked, recorder);
            self.failed(turn, recorder, reply.retry_after);
            return Some(Heard::Failure(reply.status));
        }
        let body = core::mem::take(&mut reply.body);
        let heard = match self.on_answer(&call.asked, body, recorder) {
            Some(is_empty) => {
                self.backoff.succeeded();
                if is_empty && turn.now.since(call.sent) < PACE {
                    self.not_before = turn.now.plus(PACE);
                }
                Heard::Success
            }
            None => {
                self.failed(turn, recorder, None);
                Heard::Failure(reply.status)
            }
        };
        self.drive(turn, recorder);
        Some(heard)
    }

    /// The answer to a request: notes what it says, to be applied by [`Mapping::advance`]. Returns whether it says
    /// nothing; `None` when it cannot be understood, which is as good as no answer.
    pub(crate) fn on_answer(
        &mut self,
        asked: &Asked,
        body: Vec<u8>,
        recorder: &mut Recorder,
    ) -> Option<bool> {
        let Ok(answer) = MappingAnswer::open(&body) else {
            recorder.counters.bump(FilterCounter::BadAnswers);
            self.lost(asked, recorder);
            return None;
        };
        let is_empty = answer.answer == Answer(0);
        if self.take_over(asked, &answer, recorder) {
            let (answer, generation) = (answer.answer, answer.generation);
            self.applying = Some(Applying {
                body,
                position: 0,
                answer,
                generation,
            });
        }
        Some(is_empty)
    }

    /// Notes what an answer says of the conversation; whether its content is to be applied.
    fn take_over(
        &mut self,
        asked: &Asked,
        answer: &MappingAnswer<'_>,
        recorder: &mut Recorder,
    ) -> bool {
        if answer.mapping_epoch == asked.epoch {
            recorder.subscribed(&asked.keys, true);
        } else {
            // The subscription has begun anew with this request, unless another one came in between.
            recorder.subscribed(&asked.keys, self.calls.is_empty());
            recorder
                .entries
                .subscribe_anew_but(if self.calls.is_empty() {
                    &asked.keys
                } else {
                    &[]
                });
        }
        if answer.mapping_epoch != self.epoch {
            self.epoch = answer.mapping_epoch;
            self.generation = Generation(0);
            self.received = Answer(0);
            self.applying = None;
        }
        recorder.set_mapping_lacks(answer.more);
        if let Some(policy) = &answer.policy {
            self.policy = Some(policy.clone());
        }
        answer.answer > self.received && self.applying.is_none()
    }

    /// Applies what is left of an answer, as far as the time goes.
    pub(crate) fn advance<H: Host>(&mut self, turn: &mut Turn<'_, H>, recorder: &mut Recorder) {
        let Some(mut applying) = self.applying.take() else {
            return;
        };
        let mut parts = Parts::new(&applying.body, applying.position);
        loop {
            for _ in 0..STEP {
                match parts.advance() {
                    Ok(Some(Part::Target(target))) => recorder.define(target),
                    Ok(Some(Part::Entry(entry))) => recorder.apply(&entry, turn.wall),
                    Ok(None) => {
                        self.received = applying.answer;
                        self.generation = applying.generation;
                        return;
                    }
                    Err(_) => return self.abandon(turn, recorder),
                }
            }
            if turn.is_over(BUDGET) {
                break;
            }
        }
        applying.position = parts.position();
        self.applying = Some(applying);
    }

    /// The rest of an answer cannot be understood. What was before it holds; everything is to be told again.
    fn abandon<H: Host>(&mut self, turn: &mut Turn<'_, H>, recorder: &mut Recorder) {
        recorder.counters.bump(FilterCounter::BadAnswers);
        recorder.entries.subscribe_anew();
        self.failed(turn, recorder, None);
    }
}

/// Fills a request with keys within its bounds; returns those to subscribe to.
fn fill(request: &mut MappingRequest, recorder: &mut Recorder) -> Vec<EntryId> {
    // A key is over neither bound alone: half of the body for each list.
    let mut keys = Vec::new();
    let mut bytes = 0;
    while keys.len() < KEYS && bytes < REQUEST_BYTES / 4 {
        let Some((id, key)) = recorder.entries.take_new() else {
            break;
        };
        bytes += MappingRequest::key_len(&key);
        keys.push(id);
        request.subscribe.push(key);
    }
    bytes = 0;
    while request.release.len() < KEYS && bytes < REQUEST_BYTES / 4 {
        let Some(key) = recorder.entries.take_released() else {
            break;
        };
        bytes += MappingRequest::key_len(&key);
        request.release.push(key);
    }
    keys
}
