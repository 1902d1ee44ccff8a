//! What the core asks of its host, in small traits by role. Every answer may fail, and none may block.

use gaugeway_wire::{Nanos, UnixNanos};

use crate::identity::Metadata;

/// Wall clock of the gateway.
pub trait Clock {
    /// Now. A clock that cannot be read answers 0: the samples that use it are dropped as clock steps.
    fn now(&mut self) -> UnixNanos;
}

/// Names of what the host routed a request by. Read only where they decide something.
pub trait Names {
    /// The cluster (Kong: service) that the request went to.
    fn cluster(&mut self) -> Option<&[u8]>;
    /// The route that the request matched.
    fn route(&mut self) -> Option<&[u8]>;
    /// What the gateway itself carries about the endpoint that the request went to.
    fn metadata(&mut self, of: Metadata) -> Option<&[u8]>;
}

/// Random bytes.
pub trait Entropy {
    /// Fills `bytes`; false when there are none to be had.
    fn fill(&mut self, bytes: &mut [u8]) -> bool;
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Worth knowing once.
    Info,
    /// Somebody should look.
    Warn,
}

/// The host's log.
pub trait Log {
    /// Writes a line. Called once per cause, never per request.
    fn log(&mut self, level: Level, line: &str);
}

/// Names a call until its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallToken(pub u32);

/// A POST to the controller.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// The host's name for the controller.
    pub cluster: &'a str,
    /// Names and values, pseudo headers first.
    pub headers: &'a [(&'a str, &'a str)],
    /// Its body.
    pub body: &'a [u8],
    /// After which the host gives up.
    pub timeout: Nanos,
}

/// Calls out of the gateway.
pub trait Calls {
    /// Sends; the answer comes later, as an event. `None` when the host refuses.
    fn post(&mut self, post: &Post<'_>) -> Option<CallToken>;
}

/// The answer to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Its HTTP status; `None` when there was no answer at all.
    pub status: Option<u16>,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Nanos>,
    /// Its body.
    pub body: Vec<u8>,
}

/// A host for callbacks of a root context.
pub trait Host: Clock + Entropy + Log + Calls {}

impl<T: Clock + Entropy + Log + Calls> Host for T {}
