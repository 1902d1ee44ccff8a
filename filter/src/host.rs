//! The gateway as the host that the core asks for, on top of the ABI's calls: what all have in common, and Envoy. Kong
//! is in [`kong`].

mod kong;

use std::marker::PhantomData;

use crate::abi::{HostCalls, LogLevel};
use gaugeway_filter_core::{
    envoy::{Attributes, Flags},
    host::{CallToken, Calls, Clock, Entropy, Level, Log, Names, Post},
    identity::Metadata,
};
use gaugeway_wire::UnixNanos;

pub(crate) use kong::Kong;

/// One callback's access to a kind of gateway.
pub(crate) struct Gateway<'a, Kind> {
    calls: &'a mut HostCalls,
    kind: PhantomData<Kind>,
}

impl<'a, Kind> Gateway<'a, Kind> {
    pub(crate) const fn new(calls: &'a mut HostCalls) -> Self {
        Self {
            calls,
            kind: PhantomData,
        }
    }
}

/// Marks [`Gateway`] as Envoy.
pub(crate) struct Envoy;

impl Gateway<'_, Envoy> {
    /// A number of 64 bits, little endian, as Envoy encodes it.
    fn number(&mut self, path: &[u8]) -> Option<u64> {
        let bytes = self.calls.property(path)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}

impl Clock for Gateway<'_, Envoy> {
    fn now(&mut self) -> UnixNanos {
        UnixNanos(self.calls.time().unwrap_or(0))
    }
}

impl Names for Gateway<'_, Envoy> {
    fn cluster(&mut self) -> Option<&[u8]> {
        self.calls.property(b"xds\0cluster_name")
    }

    fn route(&mut self) -> Option<&[u8]> {
        self.calls.property(b"xds\0route_name")
    }

    fn metadata(&mut self, of: Metadata) -> Option<&[u8]> {
        self.calls.property(of.path())
    }
}

impl Attributes for Gateway<'_, Envoy> {
    fn address(&mut self) -> Option<&[u8]> {
        self.calls.property(b"upstream\0address")
    }

    fn status(&mut self) -> Option<u64> {
        self.calls.response_status()
    }

    fn code(&mut self) -> Option<u64> {
        self.number(b"response\0code")
    }

    fn flags(&mut self) -> Flags {
        Flags(self.number(b"response\0flags").unwrap_or(0))
    }

    fn attempts(&mut self) -> u64 {
        self.number(b"upstream\0request_attempt_count").unwrap_or(0)
    }

    fn is_via_upstream(&mut self) -> bool {
        let details = self.calls.property(b"response\0code_details");
        details.is_some_and(|details| details == b"via_upstream")
    }
}

impl<Kind> Entropy for Gateway<'_, Kind> {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        getrandom::fill(bytes).is_ok()
    }
}

impl<Kind> Log for Gateway<'_, Kind> {
    fn log(&mut self, level: Level, line: &str) {
        let level = match level {
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
        };
        self.calls.log(level, line);
    }
}

impl<Kind> Calls for Gateway<'_, Kind> {
    fn post(&mut self, post: &Post<'_>) -> Option<CallToken> {
        let timeout = u32::try_from(post.timeout.as_millis()).unwrap_or(u32::MAX);
        let token = self
            .calls
            .http_call(post.cluster, post.headers, post.body, timeout);
        token.map(CallToken)
    }
}
