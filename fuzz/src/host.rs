//! The filter's host, whose every answer is the input's.

use std::collections::BTreeMap;

use gaugeway_filter_core::{
    envoy::{self, Flags},
    host::{CallToken, Calls, Clock, Entropy, Level, Log, Names, Post},
    identity::Metadata,
    kong::{self, Attribute},
};
use gaugeway_wire::{FilterCounter, MappingRequest, Report, ReportCall, UnixNanos};

/// What a request's attributes say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) address: Option<Vec<u8>>,
    pub(crate) cluster: Option<Vec<u8>>,
    pub(crate) route: Option<Vec<u8>>,
    pub(crate) metadata: Option<Vec<u8>>,
    pub(crate) code: Option<u64>,
    pub(crate) flags: u64,
    pub(crate) attempts: u64,
    pub(crate) via_upstream: bool,
    pub(crate) kong: [Option<Vec<u8>>; Attribute::ALL.len()],
}

/// A call under way.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) token: CallToken,
    /// Of the mapping alone.
    pub(crate) is_mapping: bool,
    /// The report in it.
    pub(crate) seq: Option<u64>,
    /// What it asks of the mapping.
    pub(crate) asked: Option<MappingRequest>,
}

/// See the module. Holds every report to its promise: the same number, the same bytes.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) now: u64,
    pub(crate) facts: Facts,
    pub(crate) calls: Vec<Outgoing>,
    pub(crate) refuse_calls: bool,
    /// Bytes of every report that was ever sent.
    reports: BTreeMap<u64, Vec<u8>>,
    /// Sequences that were refused for good: their counts come again under other ones.
    pub(crate) refused: Vec<u64>,
    random: u8,
    tokens: u32,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self {
            now: 1_700_000_000_000_000_000,
            facts: Facts::default(),
            calls: Vec::new(),
            refuse_calls: false,
            reports: BTreeMap::new(),
            refused: Vec::new(),
            random: 0,
            tokens: 0,
        }
    }

    /// The reports that stand.
    pub(crate) fn standing(&self) -> impl Iterator<Item = Report<'_>> {
        let standing = self
            .reports
            .iter()
            .filter(|(seq, _)| !self.refused.contains(seq));
        standing.map(|(_, bytes)| Report::decode(bytes).unwrap())
    }

    /// Requests in the reports that stand.
    pub(crate) fn requests(&self) -> u64 {
        let series = self.standing().flat_map(|report| report.series());
        series
            .flat_map(|series| series.requests())
            .map(|(_, count)| count)
            .sum()
    }

    pub(crate) fn counter(&self, counter: FilterCounter) -> u64 {
        let counters = self.standing().flat_map(|report| report.counters());
        counters
            .filter(|&(of, _)| of == counter)
            .map(|(_, count)| count)
            .sum()
    }

    /// What a report call brings.
    fn note(&mut self, body: &[u8]) -> (Option<u64>, Option<MappingRequest>) {
        let call = ReportCall::decode(body).expect("a report call that can be read");
        if call.report.is_empty() {
            return (None, call.mapping);
        }
        let report = Report::decode(call.report).expect("a report that can be read");
        let first = self
            .reports
            .entry(report.seq.0)
            .or_insert_with(|| call.report.to_vec());
        assert_eq!(first, call.report, "a frozen report has changed");
        (Some(report.seq.0), call.mapping)
    }
}

impl Clock for Host {
    fn now(&mut self) -> UnixNanos {
        UnixNanos(self.now)
    }
}

impl Names for Host {
    fn cluster(&mut self) -> Option<&[u8]> {
        self.facts.cluster.as_deref()
    }

    fn route(&mut self) -> Option<&[u8]> {
        self.facts.route.as_deref()
    }

    fn metadata(&mut self, _of: Metadata) -> Option<&[u8]> {
        self.facts.metadata.as_deref()
    }
}

impl envoy::Attributes for Host {
    fn address(&mut self) -> Option<&[u8]> {
        self.facts.address.as_deref()
    }

    fn status(&mut self) -> Option<u64> {
        self.facts.code
    }

    fn code(&mut self) -> Option<u64> {
        self.facts.code
    }

    fn flags(&mut self) -> Flags {
        Flags(self.facts.flags)
    }

    fn attempts(&mut self) -> u64 {
        self.facts.attempts
    }

    fn is_via_upstream(&mut self) -> bool {
        self.facts.via_upstream
    }
}

impl kong::Attributes for Host {
    fn read(&mut self, attribute: Attribute) -> Option<&[u8]> {
        let at = Attribute::ALL.iter().position(|of| *of == attribute)?;
        self.facts.kong[at].as_deref()
    }
}

impl Entropy for Host {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        for byte in bytes {
            self.random = self.random.wrapping_mul(73).wrapping_add(41);
            *byte = self.random;
        }
        true
    }
}

impl Log for Host {
    fn log(&mut self, _level: Level, _line: &str) {}
}

impl Calls for Host {
    fn post(&mut self, post: &Post<'_>) -> Option<CallToken> {
        if self.refuse_calls {
            return None;
        }
        self.tokens += 1;
        let token = CallToken(self.tokens);
        let is_mapping = post
            .headers
            .contains(&(":path", gaugeway_wire::MAPPING_PATH));
        let (seq, asked) = if is_mapping {
            let request = MappingRequest::decode(post.body);
            (None, Some(request.expect("a request that can be read")))
        } else {
            self.note(post.body)
        };
        self.calls.push(Outgoing {
            token,
            is_mapping,
            seq,
            asked,
        });
        Some(token)
    }
}
