//! One worker VM of Kong: its roots, which live for ever, and its requests.
//!
//! A worker process has one VM for all configurations of the filter: one root per configuration, and one more for each
//! change of one. Roots are never deleted, and their timers run until they stop them. So exactly one root per agent
//! ticks, the newest whose timer is known to run; all others stop themselves, and never start again: WasmX traps when a
//! timer that runs is set, and doubles one that is set anew. A trap leaves one timer more behind, so that ticks can come
//! twice in one period: those that come too early are skipped.

use foldhash::fast::FixedState;
use gaugeway_wire::{FilterCounter, Nanos, UnixNanos};
use hashbrown::HashMap;

use super::{Attribute, Attributes, Known, Stream};
use crate::{
    ContextId,
    config::{Config, Gateway, Identity},
    host::{CallToken, Clock, Host, Level, Reply},
    instance::STREAMS,
    recorder::{Limits, Recorder},
    roots::{AgentId, Roots},
};

/// Different identities in one VM: one per route namespace, or per route. Those beyond have none.
const IDENTITIES: usize = 4096;

/// What a timer is to do after a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Go on.
    Continue,
    /// Stop: set the period to 0. Another root drives this one's agent.
    Stop,
}

/// What is kept of a root.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    identity: Option<IdentityId>,
    timeout: Nanos,
    /// Its timer was set.
    is_timed: bool,
    /// Its last tick that was not too early.
    ticked: UnixNanos,
}

/// Index of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IdentityId(u32);

/// What a configuration says of its requests.
#[derive(Debug)]
struct Names {
    identity: Identity,
    /// Empty when the Service is not told.
    cluster: String,
}

#[derive(Debug)]
struct Request {
    agent: AgentId,
    identity: Option<IdentityId>,
    timeout: Nanos,
    stream: Stream,
}

/// See the module.
#[derive(Debug)]
pub struct Instance {
    roots: Roots<Own>,
    requests: HashMap<ContextId, Request, FixedState>,
    identities: Vec<Names>,
    period: Nanos,
    foreign: bool,
}

impl Instance {
    /// Without contexts; the host's timers run with this period. Allocates nothing.
    #[must_use]
    pub const fn new(limits: Limits, period: Nanos) -> Self {
        Self {
            roots: Roots::new(Gateway::Kong, limits),
            requests: HashMap::with_hasher(FixedState::with_seed(0)),
            identities: Vec::new(),
            period,
            foreign: false,
        }
    }

    /// A context was made: a root when it has no parent, else a request of that root.
    pub fn on_context_create(&mut self, context: ContextId, parent: Option<ContextId>) {
        let Some(parent) = parent else {
            self.roots.add(context);
            return;
        };
        let Some((agent, own)) = self.roots.enter(parent) else {
            return;
        };
        let room = self.requests.len() < STREAMS && self.requests.try_reserve(1).is_ok();
        if room {
            let request = Request {
                agent,
                identity: own.identity,
                timeout: own.timeout,
                stream: Stream::New,
            };
            self.requests.insert(context, request);
        } else if let Some(agent) = self.roots.agent_mut(agent) {
            agent.recorder.counters.bump(FilterCounter::Unrecorded);
        }
    }

    /// A root's configuration. True when its timer is to be set, which is once in its life.
    #[must_use]
    pub fn on_configure(&mut self, context: ContextId, json: &[u8], host: &mut impl Host) -> bool {
        let Some(config) = self.roots.configure(context, json, host) else {
            return false;
        };
        let identity = self.identify(&config);
        let Some(own) = self.roots.own_mut(context) else {
            return false;
        };
        own.identity = identity;
        own.timeout = config.timeout;
        !core::mem::replace(&mut own.is_timed, true)
    }

    fn identify(&mut self, config: &Config) -> Option<IdentityId> {
        if config.identity == Identity::default() {
            return None;
        }
        let same = |names: &Names| names.identity == config.identity;
        let at = match self.identities.iter().position(same) {
            Some(at) => at,
            None => {
                let full = self.identities.len() >= IDENTITIES;
                if full || self.identities.try_reserve(1).is_err() {
                    return None;
                }
                self.identities.push(Names {
                    cluster: config.identity.cluster().unwrap_or_default(),
                    identity: config.identity.clone(),
                });
                self.identities.len() - 1
            }
        };
        u32::try_from(at).ok().map(IdentityId)
    }

    /// A root's timer.
    pub fn on_tick(&mut self, context: ContextId, host: &mut impl Host) -> Tick {
        let now = host.now();
        let Some(own) = self.roots.own_mut(context) else {
            return Tick::Stop;
        };
        let early = now
            .since(own.ticked)
            .is_some_and(|passed| passed.0 < self.period.0 / 10 * 9);
        if early {
            return Tick::Continue;
        }
        own.ticked = now;
        match self.roots.tick(context, host) {
            true => Tick::Continue,
            false => Tick::Stop,
        }
    }

    /// The answer to a call, whichever context it came to.
    pub fn on_reply(&mut self, token: CallToken, reply: Reply, host: &mut impl Host) {
        self.roots.on_reply(token, reply, host);
    }

    /// Request headers passed this filter.
    pub fn on_request_headers(&mut self, context: ContextId, clock: &mut impl Clock) {
        if let Some(request) = self.requests.get_mut(&context) {
            request.stream.on_request_headers(clock.now());
        }
    }

    /// Response headers passed this filter.
    pub fn on_response_headers<H: Attributes + Host>(&mut self, context: ContextId, host: &mut H) {
        let of_upstream = self.with_request(context, |request, recorder, known| {
            request.stream.on_response_headers(host, recorder, known)
        });
        if of_upstream == Some(false) {
            self.look_where_this_is(host);
        }
    }

    /// The last callback of a request in which attributes can be read. Does not come for orphans.
    pub fn on_log(&mut self, context: ContextId, host: &mut impl Attributes) {
        self.with_request(context, |request, recorder, known| {
            request.stream.on_log(host, recorder, known);
        });
    }

    /// A request's context goes. Attributes cannot be read any more.
    pub fn on_delete(&mut self, context: ContextId, clock: &mut impl Clock) {
        self.with_request(context, |request, recorder, known| {
            let stream = &mut request.stream;
            stream.on_delete(request.timeout, clock, recorder, known);
        });
        self.requests.remove(&context);
    }

    /// A response of no upstream: a plugin's or Kong's own, or this is not Kong.
    fn look_where_this_is<H: Attributes + Host>(&mut self, host: &mut H) {
        if self.foreign || !host.read(Attribute::Code).is_some_and(is_of_envoy) {
            return;
        }
        self.foreign = true;
        let line = "gaugeway: nothing is recorded: this is the module for Kong, but the gateway is not Kong; \
                    write Envoy's with: gaugeway filter --host envoy --output FILE";
        host.log(Level::Warn, line);
        self.roots.count(FilterCounter::BadConfigurations, 1);
    }

    fn with_request<T>(
        &mut self,
        context: ContextId,
        act: impl FnOnce(&mut Request, &mut Recorder, Known<'_>) -> T,
    ) -> Option<T> {
        let request = self.requests.get_mut(&context)?;
        let agent = self.roots.agent_mut(request.agent)?;
        let told = request
            .identity
            .and_then(|id| self.identities.get(id.0 as usize));
        let known = Known {
            service: told.map(|told| &*told.cluster).unwrap_or_default(),
            route: told.map(|told| &*told.identity.route).unwrap_or_default(),
        };
        Some(act(request, &mut agent.recorder, known))
    }

    /// Host calls failed in a way that nothing explains.
    pub fn on_host_errors(&mut self, count: u64) {
        self.roots.count(FilterCounter::HostErrors, count);
    }
}

/// Kong writes numbers as digits, Envoy as eight bytes.
fn is_of_envoy(code: &[u8]) -> bool {
    code.len() == 8 && !code.iter().all(u8::is_ascii_digit)
}
