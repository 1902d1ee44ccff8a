//! Envoy as the host that the core asks for, on top of the ABI's calls.

use crate::abi::{HostCalls, LogLevel};
use gaugeway_filter_core::{
    envoy::{Attributes, Flags},
    host::{CallToken, Calls, Clock, Entropy, Level, Log, Names, Post},
};
use gaugeway_wire::UnixNanos;

/// One callback's access to Envoy.
pub(crate) struct Envoy<'a>(pub(crate) &'a mut HostCalls);

impl Envoy<'_> {
    /// A number of 64 bits, little endian, as Envoy encodes it.
    fn number(&mut self, path: &[u8]) -> Option<u64> {
        let bytes = self.0.property(path)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}

impl Clock for Envoy<'_> {
    fn now(&mut self) -> UnixNanos {
        UnixNanos(self.0.time().unwrap_or(0))
    }
}

impl Names for Envoy<'_> {
    fn cluster(&mut self) -> Option<&[u8]> {
        self.0.property(b"xds\0cluster_name")
    }

    fn route(&mut self) -> Option<&[u8]> {
        self.0.property(b"xds\0route_name")
    }
}

impl Attributes for Envoy<'_> {
    fn address(&mut self) -> Option<&[u8]> {
        self.0.property(b"upstream\0address")
    }

    fn status(&mut self) -> Option<u64> {
        self.0.response_status()
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
        let details = self.0.property(b"response\0code_details");
        details.is_some_and(|details| details == b"via_upstream")
    }
}

impl Entropy for Envoy<'_> {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        getrandom::fill(bytes).is_ok()
    }
}

impl Log for Envoy<'_> {
    fn log(&mut self, level: Level, line: &str) {
        let level = match level {
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
        };
        self.0.log(level, line);
    }
}

impl Calls for Envoy<'_> {
    fn post(&mut self, post: &Post<'_>) -> Option<CallToken> {
        let timeout = u32::try_from(post.timeout.as_millis()).unwrap_or(u32::MAX);
        let token = self
            .0
            .http_call(post.cluster, post.headers, post.body, timeout);
        token.map(CallToken)
    }
}
