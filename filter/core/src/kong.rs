//! One request in Kong: from its callbacks and attributes to what is counted.
//!
//! WasmX, Kong's host for filters, runs: request headers → response headers → log → delete. What is counted:
//! - **Each try is a sample of its own address**, with the time until its response headers as nginx measured it (from
//!   the start of connecting, in whole milliseconds). A try that another one followed has the code of its own response,
//!   if it had one, else `connect_failure`, `reset` or `timeout` (with the time waited) without a code. Every try after
//!   the first adds one to `retries`, at its own address.
//! - The tries are counted at the response headers, so that streams count at once. What is not complete in the end is
//!   `aborted`, as far as nginx tells: it takes a response that the upstream cut for a whole one.
//! - A client that left before the response headers: seen in the log by code 499, `cancelled`.
//! - Errors that Kong itself makes (502, 503, 504: no upstream answered) leave an *orphan*: request headers, then delete,
//!   nothing between, and in delete no attribute can be read. It is counted there, once, at the identity that the
//!   filter's configuration gives. It is a `timeout` (with the time waited) when it took as long as the configuration says that
//!   time-outs do, else a `reset`. Its code is one of 5xx.
//! - Where such errors go to no error page (Kong's do), they come with response headers of nginx's own: then the last try
//!   is judged like those before it, with their code.
//! - WasmX makes an instance anew after a trap, and whenever a configuration that was replaced is collected. A request
//!   under way then is counted at its response headers, as if it had just begun; without such it is not.
//! - A request that had no target reaches the log without request headers and is not counted; nor is what Kong or a
//!   plugin answered without an upstream.
//!
//! **What may be read when** decides whether the worker lives: `ngx.*` and `response.code` from the response headers to
//! the log, and nothing else. [`Attribute`] has no others. `kong.*` never: Lua answers it while the filter is entered, and
//! may collect the plan of an old configuration there, which takes the instance away under it.

mod instance;
mod tries;

use gaugeway_wire::{CodeClass, FilterCounter, Nanos, Outcome, RequestClass, UnixNanos};

pub use self::instance::{Instance, Tick};
use self::tries::{Column, Places, TRIES};
use crate::{
    host::{Clock, Names},
    identity::Metadata,
    recorder::{Key, KeyId, Place, Recorder, Sample, Time},
};

/// What is read of a request. All values are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Addresses, one per try.
    UpstreamAddress,
    /// Statuses, one per try.
    UpstreamStatus,
    /// Times until the response headers, one per try.
    HeaderTime,
    /// Times until the connection, one per try.
    ConnectTime,
    /// Times until the end, one per try.
    ResponseTime,
    /// `OK` when the whole response was sent.
    Completion,
    /// What the client was answered; 499 when it left before.
    Code,
}

impl Attribute {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::UpstreamAddress,
        Self::UpstreamStatus,
        Self::HeaderTime,
        Self::ConnectTime,
        Self::ResponseTime,
        Self::Completion,
        Self::Code,
    ];

    /// Its path, parts joined by NUL.
    #[must_use]
    pub const fn path(self) -> &'static [u8] {
        match self {
            Self::UpstreamAddress => b"ngx\0upstream_addr",
            Self::UpstreamStatus => b"ngx\0upstream_status",
            Self::HeaderTime => b"ngx\0upstream_header_time",
            Self::ConnectTime => b"ngx\0upstream_connect_time",
            Self::ResponseTime => b"ngx\0upstream_response_time",
            Self::Completion => b"ngx\0request_completion",
            Self::Code => b"response\0code",
        }
    }
}

/// What Kong tells of a request. Absent is `None`.
pub trait Attributes: Clock {
    /// One attribute.
    fn read(&mut self, attribute: Attribute) -> Option<&[u8]>;
}

/// Kong's clock has whole milliseconds, but in a form that is off by up to 128 ns.
#[must_use]
pub const fn whole_milliseconds(time: UnixNanos) -> UnixNanos {
    const MILLISECOND: u64 = 1_000_000;
    let rounded = time.0.saturating_add(MILLISECOND / 2) / MILLISECOND;
    UnixNanos(rounded.saturating_mul(MILLISECOND))
}

/// Names that a request is counted by, as the configuration tells them; empty where it does not.
#[derive(Clone, Copy, Debug)]
struct Known<'a> {
    service: &'a str,
    route: &'a str,
}

impl Names for Known<'_> {
    fn cluster(&mut self) -> Option<&[u8]> {
        Some(self.service.as_bytes()).filter(|name| !name.is_empty())
    }

    fn route(&mut self) -> Option<&[u8]> {
        Some(self.route.as_bytes()).filter(|name| !name.is_empty())
    }

    /// Kong has none; what its configuration says is in the names.
    fn metadata(&mut self, _of: Metadata) -> Option<&[u8]> {
        None
    }
}

/// One request's state. A request whose request-headers callback never came stays `New`; it is counted only if an
/// upstream's response headers come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stream {
    /// Nothing seen.
    #[default]
    New,
    /// Handed over for proxying.
    Started(UnixNanos),
    /// Counted, its body is under way.
    Open(Place),
    /// Nothing more to count.
    Done,
}

/// When the tries are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The last one has just answered.
    Headers,
    /// The request ended before that: what the client was answered, and when.
    Log(Option<u64>, UnixNanos),
}

/// How it stands with the last try.
enum Last {
    /// Its response is under way.
    Open(Place),
    /// Nothing more comes of it.
    Over,
}

/// So much early, or a tenth, nginx's time-outs may come: a busy worker sets its timers from a time that is past.
const EARLY: Nanos = Nanos::from_millis(100);
/// Written by nginx where the client had left.
const CLIENT_LEFT: u64 = 499;
/// Written by nginx where an upstream did not answer.
const BAD_GATEWAY: u64 = 502;
/// Written by nginx where an upstream did not answer in time.
const TIMED_OUT: u64 = 504;

impl Stream {
    /// The request-headers callback.
    fn on_request_headers(&mut self, start: UnixNanos) {
        if *self == Self::New {
            *self = Self::Started(start);
        }
    }

    /// The response-headers callback. False when the response is not one of an upstream.
    fn on_response_headers(
        &mut self,
        host: &mut impl Attributes,
        recorder: &mut Recorder,
        known: Known<'_>,
    ) -> bool {
        let start = match *self {
            Self::Started(start) => start,
            // The instance that saw the request's headers is gone; nginx tells all the same how long its tries took.
            Self::New => host.now(),
            Self::Open(..) | Self::Done => return true,
        };
        *self = Self::Done;
        match count_tries(start, Moment::Headers, host, recorder, known) {
            Some(Last::Open(place)) => *self = Self::Open(place),
            Some(Last::Over) => {}
            None => return false,
        }
        true
    }

    /// The log callback: the last one in which attributes can be read.
    fn on_log(
        &mut self,
        host: &mut impl Attributes,
        recorder: &mut Recorder,
        mut known: Known<'_>,
    ) {
        match core::mem::replace(self, Self::Done) {
            Self::Started(start) => {
                let code = host.read(Attribute::Code).and_then(tries::status);
                let moment = Moment::Log(code, host.now());
                count_tries(start, moment, host, recorder, known);
            }
            Self::Open(place) => {
                let completion = host.read(Attribute::Completion);
                let aborted = completion.is_some_and(<[u8]>::is_empty);
                recorder.close(&place, aborted, &mut known);
            }
            Self::New | Self::Done => {}
        }
    }

    /// The delete callback: nothing can be read any more. An orphan is counted here.
    fn on_delete(
        &mut self,
        timeout: Nanos,
        clock: &mut impl Clock,
        recorder: &mut Recorder,
        mut known: Known<'_>,
    ) {
        match core::mem::replace(self, Self::Done) {
            Self::Started(start) => {
                let end = clock.now();
                let due = Nanos(timeout.0 - EARLY.0.min(timeout.0 / 10));
                let timed_out = end.since(start).is_some_and(|waited| waited >= due);
                let outcome = if timed_out {
                    Outcome::Timeout
                } else {
                    Outcome::Reset
                };
                let key = recorder.locate(Key::Cluster(known.service.as_bytes()));
                let sample = Sample {
                    start,
                    time: Time::Until(end),
                    class: RequestClass {
                        outcome,
                        code: CodeClass::ServerError,
                    },
                    retries: 0,
                };
                recorder.record(key, &sample, &mut known, false);
            }
            Self::Open(place) => recorder.close(&place, false, &mut known),
            Self::New | Self::Done => {}
        }
    }
}

/// Counts every try. `None` when the request went to no upstream.
fn count_tries(
    start: UnixNanos,
    moment: Moment,
    host: &mut impl Attributes,
    recorder: &mut Recorder,
    mut known: Known<'_>,
) -> Option<Last> {
    let tries = Tries::read(host, recorder, known)?;
    if tries.first > 0 {
        let lost = u64::try_from(tries.first).unwrap_or(u64::MAX);
        recorder.counters.add(FilterCounter::Unrecorded, lost);
    }
    let last = tries.count - 1;
    let mut ended = Last::Over;
    for at in 0..tries.count {
        let Some((key, has_address)) = tries.keys.get(at) else {
            continue;
        };
        let at_end = Some(moment).filter(|_| at == last);
        let (class, time) = tries.judge(at, has_address, at_end);
        let sample = Sample {
            start,
            time,
            class,
            retries: (tries.first + at > 0).into(),
        };
        let stays_open = at_end == Some(Moment::Headers) && class.outcome == Outcome::Response;
        let place = recorder.record(key, &sample, &mut known, stays_open);
        if stays_open {
            ended = Last::Open(place);
        }
    }
    Some(ended)
}

/// What nginx tells of the tries of one request.
struct Tries {
    /// Number of the first one that is told apart.
    first: usize,
    /// How many are; at least one.
    count: usize,
    /// The key of each, and whether that is its address.
    keys: Column<(KeyId, bool)>,
    statuses: Column<u64>,
    headers: Column<Nanos>,
    /// Read only when a try did not answer.
    connects: Option<Column<Nanos>>,
    responses: Option<Column<Nanos>>,
}

impl Tries {
    fn read(host: &mut impl Attributes, recorder: &mut Recorder, known: Known<'_>) -> Option<Self> {
        let addresses = host
            .read(Attribute::UpstreamAddress)
            .filter(|list| !list.is_empty())?;
        let all = Places::of(addresses).count();
        let first = all.saturating_sub(TRIES);
        let keys = Column::read(Some(addresses), first, |text| {
            let is_address = tries::is_address(text);
            let key = match is_address {
                true => Key::Address(text),
                false => Key::Cluster(known.service.as_bytes()),
            };
            Some((recorder.locate(key), is_address))
        });
        let count = all - first;
        let statuses = Column::read(host.read(Attribute::UpstreamStatus), first, tries::status);
        let headers = Column::read(host.read(Attribute::HeaderTime), first, tries::time);
        let mut tries = Self {
            first,
            count,
            keys,
            statuses,
            headers,
            connects: None,
            responses: None,
        };
        if tries.headers.lacks_any(count) {
            let mut read = |attribute| Some(Column::read(host.read(attribute), first, tries::time));
            tries.connects = read(Attribute::ConnectTime);
            tries.responses = read(Attribute::ResponseTime);
        }
        Some(tries)
    }

    /// What a try came to, and how long it took. `at_end` for the last one.
    fn judge(&self, at: usize, has_address: bool, at_end: Option<Moment>) -> (RequestClass, Time) {
        let status = self.statuses.get(at);
        let of = |outcome, code: Option<u64>| RequestClass {
            outcome,
            code: code.map_or(CodeClass::None, CodeClass::of),
        };
        if let Some(time) = self.headers.get(at) {
            return (of(Outcome::Response, status), Time::Told(time));
        }
        let waited = self.responses.and_then(|responses| responses.get(at));
        let connected = self
            .connects
            .is_some_and(|connects| connects.get(at).is_some());
        let code = match at_end {
            Some(Moment::Headers) => match status {
                // The headers are nginx's own.
                Some(BAD_GATEWAY | TIMED_OUT) => status,
                _ => return (of(Outcome::Response, status), Time::Untold),
            },
            Some(Moment::Log(Some(CLIENT_LEFT), end)) => {
                let time = match (waited, at) {
                    (Some(waited), _) => Time::Told(waited),
                    (None, 0) => Time::Until(end),
                    (None, _) => Time::Untold,
                };
                return (of(Outcome::Cancelled, None), time);
            }
            Some(Moment::Log(code, _)) => code,
            None => None,
        };
        let outcome = match status {
            _ if !has_address => Outcome::NoEndpoint,
            _ if !connected => Outcome::ConnectFailure,
            Some(TIMED_OUT) => Outcome::Timeout,
            _ => Outcome::Reset,
        };
        (of(outcome, code), waited.map_or(Time::Untold, Time::Told))
    }
}
