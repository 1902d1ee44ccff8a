//! One request in Envoy: from its callbacks and attributes to what is counted.
//!
//! Recorded at the response headers and fixed from then on; what follows can only mark it as aborted. Attributes are
//! read one by one and only where they decide something: each read costs more than all the rest of a callback.
//! An ordinary request costs six host calls: the clock twice, address, code and attempts at the headers, flags at the
//! end (or at the headers, when nothing follows them).

mod flags;

use gaugeway_wire::{CodeClass, Outcome, RequestClass, UnixNanos};

pub use self::flags::Flags;
use crate::{
    host::{Clock, Names},
    recorder::{Key, KeyId, Place, Recorder, Sample},
};

/// What Envoy tells of a request. Absent is `None`.
pub trait Attributes: Clock + Names {
    /// `upstream.address`, of the last attempt.
    fn address(&mut self) -> Option<&[u8]>;
    /// `response.code`.
    fn code(&mut self) -> Option<u64>;
    /// `response.flags`.
    fn flags(&mut self) -> Flags;
    /// `upstream.request_attempt_count`; 0 before the router saw the request.
    fn attempts(&mut self) -> u64;
    /// Whether `response.code_details` says that the response came from the upstream.
    fn is_via_upstream(&mut self) -> bool;
}

/// One request's state. A request whose request-headers callback never came stays `New` and is not counted: it did
/// not pass this filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    /// Nothing seen.
    #[default]
    New,
    /// Handed over for proxying.
    Started(UnixNanos),
    /// Counted, its body is under way; these flags were set at its headers.
    Open(Place, Flags),
    /// Nothing more to count.
    Done,
}

/// What is to be counted.
struct Found {
    key: KeyId,
    outcome: Outcome,
    code: Option<u64>,
    flags: Flags,
}

impl Stream {
    /// The request-headers callback.
    pub fn on_request_headers(&mut self, clock: &mut impl Clock) {
        if *self == Self::New {
            *self = Self::Started(clock.now());
        }
    }

    /// The response-headers callback; `end` when nothing follows the headers.
    pub fn on_response_headers(
        &mut self,
        end: bool,
        host: &mut impl Attributes,
        recorder: &mut Recorder,
    ) {
        let Self::Started(start) = *self else { return };
        *self = Self::Done;
        let now = host.now();
        let Some(found) = Found::at_headers(end, host, recorder) else {
            return;
        };
        let place = found.record(start, now, !end, host, recorder);
        if !end {
            *self = Self::Open(place, found.flags);
        }
    }

    /// The end of the request, whatever it was.
    pub fn on_done(&mut self, host: &mut impl Attributes, recorder: &mut Recorder) {
        match core::mem::replace(self, Self::Done) {
            Self::Started(start) => {
                if let Some(found) = Found::without_headers(host, recorder) {
                    let now = host.now();
                    found.record(start, now, false, host, recorder);
                }
            }
            Self::Open(place, at_headers) => {
                let aborted = host.flags().aborted_after(at_headers);
                recorder.close(&place, aborted, host);
            }
            Self::New | Self::Done => {}
        }
    }
}

impl Found {
    fn at_headers(end: bool, host: &mut impl Attributes, recorder: &mut Recorder) -> Option<Self> {
        let Some(key) = locate_address(host, recorder) else {
            let flags = host.flags();
            return Self::by_cluster(flags.failure()?, flags, host, recorder);
        };
        let code = host.code();
        let flags = if may_be_local(code, end) {
            host.flags()
        } else {
            Flags::NONE
        };
        let outcome = match flags.failure() {
            // Also set when a retry was refused and the upstream's own response goes through.
            Some(Outcome::Overflow) if host.is_via_upstream() => Outcome::Response,
            failure => failure.unwrap_or(Outcome::Response),
        };
        Some(Self {
            key,
            outcome,
            code,
            flags,
        })
    }

    /// The request ended and the filter never saw response headers.
    fn without_headers(host: &mut impl Attributes, recorder: &mut Recorder) -> Option<Self> {
        let key = locate_address(host, recorder);
        let flags = host.flags();
        let failure = match flags.client_left() {
            true => Some(Outcome::Cancelled),
            false => flags.failure(),
        };
        let Some(key) = key else {
            let handed_over = failure? != Outcome::Cancelled || host.attempts() > 0;
            return Self::by_cluster(failure.filter(|_| handed_over)?, flags, host, recorder);
        };
        let code = host.code();
        // A response that the gateway did not pass on (an internal redirect) is a response all the same.
        let outcome = match (failure, code) {
            (Some(failure), _) => failure,
            (None, Some(_)) => Outcome::Response,
            (None, None) => Outcome::Cancelled,
        };
        Some(Self {
            key,
            outcome,
            code,
            flags,
        })
    }

    /// A request that never had an address.
    fn by_cluster(
        outcome: Outcome,
        flags: Flags,
        host: &mut impl Attributes,
        recorder: &mut Recorder,
    ) -> Option<Self> {
        let key = recorder.locate(Key::Cluster(host.cluster().unwrap_or_default()));
        let code = host.code();
        Some(Self {
            key,
            outcome,
            code,
            flags,
        })
    }

    fn record(
        &self,
        start: UnixNanos,
        end: UnixNanos,
        stays_open: bool,
        host: &mut impl Attributes,
        recorder: &mut Recorder,
    ) -> Place {
        let sample = Sample {
            start,
            end,
            class: RequestClass {
                outcome: self.outcome,
                code: self.code.map_or(CodeClass::None, CodeClass::of),
            },
            retries: host.attempts().saturating_sub(1),
        };
        recorder.record(self.key, &sample, host, stays_open)
    }
}

fn locate_address(host: &mut impl Attributes, recorder: &mut Recorder) -> Option<KeyId> {
    let address = host.address()?;
    Some(recorder.locate(Key::Address(address)))
}

/// Whether a response may be the gateway's own, so that its flags must be read. The gateway's own replies for an
/// upstream that it had chosen are 5xx, 408 (idle, longest duration), 413 (body over its buffer) or, for gRPC, 200
/// with nothing after the headers.
const fn may_be_local(code: Option<u64>, end: bool) -> bool {
    end || !matches!(code, Some(100..=407 | 409..=412 | 414..=499))
}
