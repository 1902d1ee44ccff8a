//! One worker VM of Envoy: its roots and its requests.

use foldhash::fast::FixedState;
use gaugeway_wire::FilterCounter;
use hashbrown::HashMap;

use crate::{
    config::Gateway,
    envoy::{Attributes, Stream},
    host::{CallToken, Clock, Host, Reply},
    recorder::Limits,
    roots::{AgentId, Roots},
};

/// Number that the host gave a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContextId(pub u32);

/// Requests in flight in one VM.
pub(crate) const STREAMS: usize = 65_536;

#[derive(Debug)]
struct Request {
    agent: AgentId,
    stream: Stream,
}

/// See the module.
#[derive(Debug)]
pub struct Instance {
    roots: Roots<()>,
    requests: HashMap<ContextId, Request, FixedState>,
}

impl Instance {
    /// Without contexts. Allocates nothing.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            roots: Roots::new(Gateway::Envoy, limits),
            requests: HashMap::with_hasher(FixedState::with_seed(0)),
        }
    }

    /// A context was made: a root when it has no parent, else a request of that root, which begins now.
    pub fn on_context_create(
        &mut self,
        context: ContextId,
        parent: Option<ContextId>,
        clock: &mut impl Clock,
    ) {
        let Some(parent) = parent else {
            self.roots.add(context);
            return;
        };
        let Some((agent, ())) = self.roots.enter(parent) else {
            return;
        };
        let room = self.requests.len() < STREAMS && self.requests.try_reserve(1).is_ok();
        if room {
            let stream = Stream::start(clock);
            self.requests.insert(context, Request { agent, stream });
        } else if let Some(agent) = self.roots.agent_mut(agent) {
            agent.recorder.counters.bump(FilterCounter::Unrecorded);
        }
    }

    /// A root's configuration. One that cannot be used leaves its requests uncounted and is logged; it is never a
    /// reason to refuse traffic.
    pub fn on_configure(&mut self, context: ContextId, json: &[u8], host: &mut impl Host) {
        self.roots.configure(context, json, host);
    }

    /// A root's timer.
    pub fn on_tick(&mut self, context: ContextId, host: &mut impl Host) {
        self.roots.tick(context, host);
    }

    /// The answer to a call, whichever context it came to.
    pub fn on_reply(&mut self, token: CallToken, reply: Reply, host: &mut impl Host) {
        self.roots.on_reply(token, reply, host);
    }

    /// Response headers passed this filter; `end` when nothing follows them.
    pub fn on_response_headers(
        &mut self,
        context: ContextId,
        end: bool,
        host: &mut impl Attributes,
    ) {
        if let Some(request) = self.requests.get_mut(&context)
            && let Some(agent) = self.roots.agent_mut(request.agent)
        {
            request
                .stream
                .on_response_headers(end, host, &mut agent.recorder);
        }
    }

    /// A context has ended.
    pub fn on_done<H: Host + Attributes>(&mut self, context: ContextId, host: &mut H) {
        let Some(mut request) = self.requests.remove(&context) else {
            self.roots.remove(context, host);
            return;
        };
        if let Some(agent) = self.roots.agent_mut(request.agent) {
            request.stream.on_done(host, &mut agent.recorder);
        }
    }

    /// Host calls failed in a way that nothing explains.
    pub fn on_host_errors(&mut self, count: u64) {
        self.roots.count(FilterCounter::HostErrors, count);
    }
}
