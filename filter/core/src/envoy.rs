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
    recorder::{Key, KeyId, Place, Recorder, Sample, Time},
};

/// What Envoy tells of a request. Absent is `None`.
pub trait Attributes: Clock + Names {
    /// `upstream.address`, of the last attempt.
    fn address(&mut self) -> Option<&[u8]>;
    /// `:status` of the response whose headers are passing. Cheaper than the attribute.
    fn status(&mut self) -> Option<u64>;
    /// `response.code`.
    fn code(&mut self) -> Option<u64>;
    /// `response.flags`.
    fn flags(&mut self) -> Flags;
    /// `upstream.request_attempt_count`; 0 before the router saw the request.
    fn attempts(&mut self) -> u64;
    /// Whether `response.code_details` says that the response came from the upstream.
    fn is_via_upstream(&mut self) -> bool;
}

/// One request's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Handed over for proxying, as far as is known: see `Found::without_headers`.
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
    /// The request's context was made. Envoy makes it when the request's headers pass the filter, immediately before
    /// the callback for these, which is an entry that is not needed.
    pub fn start(clock: &mut impl Clock) -> Self {
        Self::Started(clock.now())
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
            Self::Done => {}
        }
    }
}

impl Found {
    fn at_headers(end: bool, host: &mut impl Attributes, recorder: &mut Recorder) -> Option<Self> {
        let Some(key) = locate_address(host, recorder) else {
            let flags = host.flags();
            return Self::by_cluster(flags.failure()?, flags, host, recorder);
        };
        let code = host.status();
        let flags = if may_be_local(code, end) {
            host.flags()
        } else {
            Flags::NONE
        };
        let outcome = match flags.failure() {
            // Also set when a retry was refused and the upstream's own response goes through.
            Some(Outcome::Overflow) if host.is_via_upstream() => Outcome::Response,
            // A route's longest duration sets no flag.
            None if matches!(code, Some(408 | 504)) && !host.is_via_upstream() => Outcome::Timeout,
            failure => failure.unwrap_or(Outcome::Response),
        };
        Some(Self {
            key,
            outcome,
            code,
            flags,
        })
    }

    /// The request ended and the filter never saw response headers. Without an address it counts only if the router
    /// has seen it: Envoy makes a context at the end even of requests that a filter before this one has answered.
    fn without_headers(host: &mut impl Attributes, recorder: &mut Recorder) -> Option<Self> {
        let key = locate_address(host, recorder);
        let flags = host.flags();
        let failure = match flags.client_left() {
            true => Some(Outcome::Cancelled),
            false => flags.failure(),
        };
        let Some(key) = key else {
            let outcome = failure?;
            let handed_over = host.attempts() > 0;
            return handed_over
                .then(|| Self::by_cluster(outcome, flags, host, recorder))
                .flatten();
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
        let retries = host.attempts().saturating_sub(1);
        let sample = Sample {
            start,
            // Attempts before the last one are in it, too.
            time: if retries > 0 && self.outcome.has_latency() {
                Time::Untold
            } else {
                Time::Until(end)
            },
            class: RequestClass {
                outcome: self.outcome,
                code: self.code.map_or(CodeClass::None, CodeClass::of),
            },
            retries,
        };
        recorder.record(self.key, &sample, host, stays_open)
    }
}

/// The key of where a request went. `None` when it went nowhere.
fn locate_address(host: &mut impl Attributes, recorder: &mut Recorder) -> Option<KeyId> {
    let address = host.address()?;
    if names_endpoint(address) {
        return Some(recorder.locate(Key::Address(address)));
    }
    Some(recorder.locate(Key::Cluster(host.cluster().unwrap_or_default())))
}

/// Whether an address can be an endpoint's of a Service. Unix sockets (`/path`, `@name`) and internal listeners without
/// an endpoint behind them (`envoy://name/`) cannot: only their cluster says what they are.
fn names_endpoint(address: &[u8]) -> bool {
    !matches!(address, [b'/' | b'@', ..] | [.., b'/'])
}

/// Whether a response may be the gateway's own, so that its flags must be read. The gateway's own replies for an
/// upstream that it had chosen are 5xx, 408 (idle, longest duration), 413 (body over its buffer) or, for gRPC, 200
/// with nothing after the headers.
const fn may_be_local(code: Option<u64>, end: bool) -> bool {
    end || !matches!(code, Some(100..=407 | 409..=412 | 414..=499))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{Facts, World, ok, outcome};

    const ADDRESS: &str = "10.0.0.1:80";
    const SECOND: u64 = 1_000_000_000;

    /// A world in which the address and the cluster have owners that are known to the filter.
    fn world() -> World {
        let mut world = World::new();
        let now = world.host.now;
        world.controller.own(ADDRESS, &["s0"], now);
        world.controller.own("cluster:demo/s0", &["s1"], now);
        for facts in [
            ok(ADDRESS),
            Facts {
                address: None,
                flags: 1 << 1,
                ..ok("")
            },
        ] {
            let context = world.start();
            world.headers(context, facts.clone(), false);
            world.end(context, facts);
        }
        world.run(10 * SECOND);
        world
    }

    fn facts(code: u64, flags: &[u32]) -> Facts {
        Facts {
            code: Some(code).filter(|&code| code > 0),
            flags: flags.iter().map(|bit| 1 << bit).sum(),
            via_upstream: false,
            ..ok(ADDRESS)
        }
    }

    fn nowhere(code: u64, flags: &[u32]) -> Facts {
        Facts {
            address: None,
            attempts: 0,
            ..facts(code, flags)
        }
    }

    /// How a request is counted that has response headers after a second: outcome, code class, Service.
    fn with_headers(facts: &Facts, end: bool) -> Option<(Outcome, CodeClass, &'static str)> {
        let mut world = world();
        let context = world.start();
        world.host.now += SECOND;
        world.headers(context, facts.clone(), end);
        world.end(context, facts.clone());
        counted(&mut world)
    }

    fn without_headers(facts: &Facts) -> Option<(Outcome, CodeClass, &'static str)> {
        let mut world = world();
        let context = world.start();
        world.host.now += SECOND;
        world.end(context, facts.clone());
        counted(&mut world)
    }

    fn counted(world: &mut World) -> Option<(Outcome, CodeClass, &'static str)> {
        world.controller.totals.clear();
        world.run(10 * SECOND);
        let found = ["s0", "s1"].into_iter().find_map(|service| {
            let total = world.controller.service(service);
            let (&class, &count) = total.requests.iter().next()?;
            let class = RequestClass::from_index(class as u64)?;
            assert_eq!((count, total.requests.len()), (1, 1));
            let latency = total.samples + total.latency_unknown;
            assert_eq!(latency, u64::from(class.outcome.has_latency()));
            assert_eq!(
                total.cancelled_wait,
                if class.outcome == Outcome::Cancelled {
                    SECOND
                } else {
                    0
                }
            );
            assert_eq!(outcome(&total, class.outcome), 1);
            Some((class.outcome, class.code, service))
        });
        assert_eq!(world.controller.requests(), u64::from(found.is_some()));
        found
    }

    #[test]
    fn outcomes_at_the_headers() {
        use CodeClass::{ClientError, Informational, ServerError, Success};
        use Outcome::{ConnectFailure, NoEndpoint, Overflow, Reset, Response, Timeout};
        let upstream = Facts {
            via_upstream: true,
            ..facts(503, &[7])
        };
        let own = Facts {
            via_upstream: true,
            ..facts(504, &[])
        };
        let rows = [
            (facts(200, &[]), false, Some((Response, Success, "s0"))),
            (
                facts(101, &[]),
                false,
                Some((Response, Informational, "s0")),
            ),
            (facts(404, &[]), false, Some((Response, ClientError, "s0"))),
            (facts(500, &[]), false, Some((Response, ServerError, "s0"))),
            (
                facts(503, &[15]),
                false,
                Some((Response, ServerError, "s0")),
            ),
            (own, false, Some((Response, ServerError, "s0"))),
            (facts(504, &[]), false, Some((Timeout, ServerError, "s0"))),
            (facts(504, &[2]), false, Some((Timeout, ServerError, "s0"))),
            (facts(408, &[16]), false, Some((Timeout, ClientError, "s0"))),
            (
                facts(503, &[5, 15]),
                false,
                Some((ConnectFailure, ServerError, "s0")),
            ),
            (facts(503, &[6]), false, Some((Reset, ServerError, "s0"))),
            (facts(502, &[23]), false, Some((Reset, ServerError, "s0"))),
            (facts(503, &[7]), false, Some((Overflow, ServerError, "s0"))),
            (upstream, false, Some((Response, ServerError, "s0"))),
            // gRPC: the gateway's own replies are headers only, with HTTP status 200.
            (facts(200, &[2]), true, Some((Timeout, Success, "s0"))),
            (nowhere(200, &[1]), true, Some((NoEndpoint, Success, "s1"))),
            (
                nowhere(503, &[7]),
                false,
                Some((Overflow, ServerError, "s1")),
            ),
            (
                nowhere(503, &[1]),
                false,
                Some((NoEndpoint, ServerError, "s1")),
            ),
            (
                nowhere(503, &[24]),
                false,
                Some((NoEndpoint, ServerError, "s1")),
            ),
            // Direct responses, redirects, denials: never handed over.
            (nowhere(200, &[]), false, None),
            (nowhere(404, &[8]), false, None),
            (nowhere(403, &[12]), false, None),
            (nowhere(429, &[11]), false, None),
            (nowhere(503, &[10]), false, None),
        ];
        for (facts, end, expected) in rows {
            assert_eq!(with_headers(&facts, end), expected, "{facts:?}");
        }
    }

    #[test]
    fn outcomes_without_headers() {
        use CodeClass::{ClientError, None as NoCode, Redirection};
        use Outcome::{Cancelled, Response, Timeout};
        let routed = Facts {
            attempts: 1,
            ..nowhere(408, &[16])
        };
        let in_pool = Facts {
            attempts: 1,
            ..nowhere(0, &[14])
        };
        let rows = [
            (facts(0, &[14]), Some((Cancelled, NoCode, "s0"))),
            (facts(0, &[28]), Some((Cancelled, NoCode, "s0"))),
            (facts(0, &[]), Some((Cancelled, NoCode, "s0"))),
            (facts(302, &[]), Some((Response, Redirection, "s0"))),
            (in_pool, Some((Cancelled, NoCode, "s1"))),
            // The client left before the router saw the request.
            (nowhere(0, &[14]), None),
            (nowhere(0, &[]), None),
            (routed, Some((Timeout, ClientError, "s1"))),
            // A filter before this one has answered, or waited too long: the context is made at the request's end.
            (nowhere(403, &[12]), None),
            (nowhere(408, &[16]), None),
            (nowhere(503, &[7]), None),
        ];
        for (facts, expected) in rows {
            assert_eq!(without_headers(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn what_ends_badly_after_the_headers_is_aborted() {
        for (at_headers, at_end, aborted) in [
            (facts(200, &[]), facts(200, &[]), 0),
            (facts(200, &[]), facts(200, &[14]), 1),
            (facts(200, &[]), facts(200, &[6]), 1),
            (facts(504, &[2]), facts(504, &[2]), 0),
            (facts(504, &[2]), facts(504, &[2, 14]), 1),
        ] {
            let mut world = world();
            let context = world.start();
            world.headers(context, at_headers, false);
            world.end(context, at_end);
            world.run(10 * SECOND);
            assert_eq!(world.controller.service("s0").aborted, aborted);
        }
    }

    #[test]
    fn addresses_of_no_endpoint_count_by_cluster() {
        for (address, service) in [
            ("/run/app.sock", "s1"),
            ("/run/app-1", "s1"),
            ("@app", "s1"),
            ("envoy://inner/", "s1"),
            (ADDRESS, "s0"),
        ] {
            let facts = Facts {
                address: Some(address.to_owned()),
                ..ok(ADDRESS)
            };
            let response = Some((Outcome::Response, CodeClass::Success, service));
            assert_eq!(with_headers(&facts, false), response, "{address}");
            let gone = Facts {
                code: None,
                flags: 1 << 14,
                ..facts
            };
            let cancelled = Some((Outcome::Cancelled, CodeClass::None, service));
            assert_eq!(without_headers(&gone), cancelled, "{address}");
        }
    }

    #[test]
    fn retries_hide_the_latency() {
        let mut world = world();
        world.controller.totals.clear();
        let facts = Facts {
            attempts: 3,
            ..ok(ADDRESS)
        };
        let context = world.start();
        world.headers(context, facts.clone(), false);
        world.end(context, facts);
        world.run(10 * SECOND);
        let total = world.controller.service("s0");
        assert_eq!(
            (
                total.requests(),
                total.retries,
                total.latency_unknown,
                total.samples
            ),
            (1, 2, 1, 0)
        );
    }

    /// Golden: what each kind of request costs in host calls.
    #[test]
    fn host_calls() {
        let reads = |facts: &Facts, end: bool| {
            let mut world = world();
            world.host.reads.clear();
            let context = world.start();
            world.headers(context, facts.clone(), end);
            world.end(context, facts.clone());
            world.host.reads.join(" ")
        };
        let ordinary = "clock clock address status attempts flags";
        assert_eq!(reads(&ok(ADDRESS), false), ordinary);
        assert_eq!(
            reads(&ok(ADDRESS), true),
            "clock clock address status flags attempts"
        );
        let failed = "clock clock address status flags attempts flags";
        assert_eq!(reads(&facts(503, &[6]), false), failed);
        let direct = "clock clock address flags";
        assert_eq!(reads(&nowhere(200, &[]), false), direct);
    }
}
