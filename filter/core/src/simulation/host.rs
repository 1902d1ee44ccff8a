//! A host in memory.

use gaugeway_wire::UnixNanos;

use crate::{
    ContextId,
    envoy::{Attributes, Flags},
    host::{CallToken, Calls, Clock, Entropy, Level, Log, Names, Post},
    identity::Metadata,
    kong::{self, Attribute},
};

/// A call that the filter made and that was not decided yet.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) token: CallToken,
    pub(crate) root: ContextId,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What the current request's attributes say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) address: Option<String>,
    pub(crate) cluster: Option<String>,
    pub(crate) route: Option<String>,
    pub(crate) code: Option<u64>,
    pub(crate) flags: u64,
    pub(crate) attempts: u64,
    pub(crate) via_upstream: bool,
    /// What the endpoint carries.
    pub(crate) metadata: Option<(Metadata, Vec<u8>)>,
    /// What Kong tells.
    pub(crate) kong: Vec<(Attribute, String)>,
}

/// Where Kong is in a request: what may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Root,
    RequestHeaders,
    ResponseHeaders,
    Log,
    Delete,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FakeHost {
    pub(crate) now: u64,
    /// Added at each look at the clock.
    pub(crate) clock_runs: u64,
    pub(crate) facts: Facts,
    /// Kong's.
    pub(crate) phase: Phase,
    /// The context whose callback runs.
    pub(crate) current: ContextId,
    pub(crate) outgoing: Vec<Outgoing>,
    pub(crate) refuse_calls: bool,
    pub(crate) log: Vec<String>,
    /// Attribute and clock reads since this was last reset.
    pub(crate) reads: Vec<&'static str>,
    random: u8,
    tokens: u32,
}

impl FakeHost {
    pub(crate) fn new() -> Self {
        Self {
            now: 1_700_000_000_000_000_000,
            clock_runs: 0,
            facts: Facts::default(),
            phase: Phase::Root,
            current: ContextId(0),
            outgoing: Vec::new(),
            refuse_calls: false,
            log: Vec::new(),
            reads: Vec::new(),
            random: 0,
            tokens: 0,
        }
    }
}

impl Clock for FakeHost {
    fn now(&mut self) -> UnixNanos {
        self.reads.push("clock");
        self.now += self.clock_runs;
        UnixNanos(self.now)
    }
}

impl Names for FakeHost {
    fn cluster(&mut self) -> Option<&[u8]> {
        self.reads.push("cluster");
        self.facts.cluster.as_deref().map(str::as_bytes)
    }

    fn route(&mut self) -> Option<&[u8]> {
        self.reads.push("route");
        self.facts.route.as_deref().map(str::as_bytes)
    }

    fn metadata(&mut self, of: Metadata) -> Option<&[u8]> {
        self.reads.push("metadata");
        let (kind, value) = self.facts.metadata.as_ref()?;
        (*kind == of).then_some(value)
    }
}

impl Attributes for FakeHost {
    fn address(&mut self) -> Option<&[u8]> {
        self.reads.push("address");
        self.facts.address.as_deref().map(str::as_bytes)
    }

    fn status(&mut self) -> Option<u64> {
        self.reads.push("status");
        self.facts.code
    }

    fn code(&mut self) -> Option<u64> {
        self.reads.push("code");
        self.facts.code
    }

    fn flags(&mut self) -> Flags {
        self.reads.push("flags");
        Flags(self.facts.flags)
    }

    fn attempts(&mut self) -> u64 {
        self.reads.push("attempts");
        self.facts.attempts
    }

    fn is_via_upstream(&mut self) -> bool {
        self.reads.push("details");
        self.facts.via_upstream
    }
}

impl kong::Attributes for FakeHost {
    /// Panics where Kong's worker would die.
    fn read(&mut self, attribute: Attribute) -> Option<&[u8]> {
        let legal = matches!(self.phase, Phase::ResponseHeaders | Phase::Log);
        assert!(legal, "{attribute:?} is read in {:?}", self.phase);
        let path = core::str::from_utf8(attribute.path()).unwrap();
        self.reads.push(path.split_once('\0').unwrap().1);
        let told = self.facts.kong.iter().find(|(of, _)| *of == attribute);
        told.map(|(_, value)| value.as_bytes())
    }
}

impl Entropy for FakeHost {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        for byte in bytes {
            self.random = self.random.wrapping_mul(73).wrapping_add(41);
            *byte = self.random;
        }
        true
    }
}

impl Log for FakeHost {
    fn log(&mut self, _level: Level, line: &str) {
        self.log.push(line.to_owned());
    }
}

impl Calls for FakeHost {
    fn post(&mut self, post: &Post<'_>) -> Option<CallToken> {
        if self.refuse_calls {
            return None;
        }
        self.tokens += 1;
        let token = CallToken(self.tokens);
        let headers = post
            .headers
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let headers: Vec<_> = headers.collect();
        let path = headers
            .iter()
            .find(|(name, _)| name == ":path")
            .map(|(_, path)| path.clone());
        self.outgoing.push(Outgoing {
            token,
            root: self.current,
            path: path.unwrap(),
            headers,
            body: post.body.to_vec(),
        });
        Some(token)
    }
}
