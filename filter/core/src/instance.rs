//! One worker VM: its contexts, its roots and the agents that they share.
//!
//! Several roots may live in one VM: every change of the configuration makes a new one, and the old one stays until
//! its requests have ended. Roots of the same gateway and controller share one [`Agent`], so nothing is lost or doubled
//! by a change; the newest of them drives it.

use foldhash::fast::FixedState;
use gaugeway_wire::FilterCounter;
use hashbrown::HashMap;

use crate::{
    agent::Agent,
    config::Config,
    counters::Counters,
    envoy::{Attributes, Stream},
    host::{CallToken, Clock, Host, Level, Reply},
    recorder::Limits,
    slab::{Id, Slab},
};

/// Number that the host gave a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContextId(pub u32);

/// Agents in one VM. More identities than that in one VM are a mistake.
const AGENTS: u32 = 8;
/// Roots in one VM.
const ROOTS: usize = 1024;
/// Requests in flight in one VM.
const STREAMS: usize = 65_536;

type AgentId = Id<Agent>;

#[derive(Debug)]
struct Root {
    context: ContextId,
    /// None before its configuration, or when that could not be used.
    agent: Option<AgentId>,
}

#[derive(Debug)]
struct Request {
    agent: AgentId,
    stream: Stream,
}

/// See the module.
#[derive(Debug)]
pub struct Instance {
    limits: Limits,
    /// Oldest first.
    roots: Vec<Root>,
    agents: Slab<Agent>,
    requests: HashMap<ContextId, Request, FixedState>,
    /// Increases that no agent was there for.
    counters: Counters,
}

impl Instance {
    /// Without contexts. Allocates nothing.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            roots: Vec::new(),
            agents: Slab::new(AGENTS),
            requests: HashMap::with_hasher(FixedState::with_seed(0)),
            counters: Counters::new(),
        }
    }

    /// A context was made: a root when it has no parent, else a request of that root.
    pub fn on_context_create(&mut self, context: ContextId, parent: Option<ContextId>) {
        let Some(parent) = parent else {
            self.add_root(context);
            return;
        };
        let root = self.roots.iter().rev().find(|root| root.context == parent);
        let Some(agent) = root.and_then(|root| root.agent) else {
            return;
        };
        let room = self.requests.len() < STREAMS && self.requests.try_reserve(1).is_ok();
        if room {
            let stream = Stream::New;
            self.requests.insert(context, Request { agent, stream });
        } else if let Some(agent) = self.agents.get_mut(agent) {
            agent.recorder.counters.bump(FilterCounter::Unrecorded);
        }
    }

    fn add_root(&mut self, context: ContextId) {
        let known = self.roots.iter().any(|root| root.context == context);
        if !known && self.roots.len() < ROOTS {
            self.roots.push(Root {
                context,
                agent: None,
            });
        }
    }

    /// A root's configuration. One that cannot be used leaves its requests uncounted and is logged; it is never a
    /// reason to refuse traffic.
    pub fn on_configure(&mut self, context: ContextId, json: &[u8], host: &mut impl Host) {
        self.add_root(context);
        let agent = match Config::parse(json) {
            Ok(config) => self.agent_for(config, host),
            Err(error) => {
                host.log(
                    Level::Warn,
                    &format!("gaugeway: nothing is recorded: {error}"),
                );
                self.counters.bump(FilterCounter::BadConfigurations);
                None
            }
        };
        if let Some(root) = self.roots.iter_mut().find(|root| root.context == context) {
            root.agent = agent;
        }
    }

    fn agent_for(&mut self, config: Config, host: &mut impl Host) -> Option<AgentId> {
        let same = self.agents.iter().find(|(_, agent)| agent.serves(&config));
        if let Some(id) = same.map(|(id, _)| id) {
            self.agents.get_mut(id)?.reconfigure(config);
            return Some(id);
        }
        if self.agents.is_full() {
            // What a gone root left behind gives way.
            match self.orphan() {
                Some(orphan) => drop(self.agents.remove(orphan)),
                None => {
                    let line = "gaugeway: nothing is recorded: this worker already serves 8 other gateways or controllers";
                    host.log(Level::Warn, line);
                    self.counters.bump(FilterCounter::BadConfigurations);
                    return None;
                }
            }
        }
        let agent = Agent::new(config, &self.limits, host);
        self.agents.insert(agent)
    }

    /// A root's timer.
    pub fn on_tick(&mut self, context: ContextId, host: &mut impl Host) {
        let Some(agent) = self.agent_of(context) else {
            return;
        };
        if self.driver(agent) == Some(context)
            && let Some(agent) = self.agents.get_mut(agent)
        {
            agent.recorder.counters.merge(&self.counters.take());
            agent.tick(host);
        }
        if self
            .roots
            .last()
            .is_some_and(|newest| newest.context == context)
        {
            self.tick_orphans(host);
        }
    }

    fn agent_of(&self, root: ContextId) -> Option<AgentId> {
        self.roots.iter().find(|other| other.context == root)?.agent
    }

    /// The newest root of an agent.
    fn driver(&self, agent: AgentId) -> Option<ContextId> {
        let mut newest_first = self.roots.iter().rev();
        newest_first
            .find(|root| root.agent == Some(agent))
            .map(|root| root.context)
    }

    /// An agent whose roots are all gone.
    fn orphan(&self) -> Option<AgentId> {
        let mut ids = self.agents.iter().map(|(id, _)| id);
        ids.find(|&id| self.driver(id).is_none())
    }

    /// Agents whose roots are all gone report what they still have through another root; then they go.
    fn tick_orphans(&mut self, host: &mut impl Host) {
        let Some(id) = self.orphan() else { return };
        let Some(agent) = self.agents.get_mut(id) else {
            return;
        };
        if agent.is_drained() {
            self.agents.remove(id);
        } else {
            agent.tick(host);
        }
    }

    /// The answer to a call, whichever context it came to.
    pub fn on_reply(&mut self, token: CallToken, mut reply: Reply, host: &mut impl Host) {
        let ids: Vec<_> = self.agents.iter().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(agent) = self.agents.get_mut(id)
                && agent.on_reply(token, &mut reply, host)
            {
                return;
            }
        }
    }

    /// Request headers passed this filter.
    pub fn on_request_headers(&mut self, context: ContextId, clock: &mut impl Clock) {
        if let Some(request) = self.requests.get_mut(&context) {
            request.stream.on_request_headers(clock);
        }
    }

    /// Response headers passed this filter; `end` when nothing follows them.
    pub fn on_response_headers(
        &mut self,
        context: ContextId,
        end: bool,
        host: &mut impl Attributes,
    ) {
        if let Some(request) = self.requests.get_mut(&context)
            && let Some(agent) = self.agents.get_mut(request.agent)
        {
            request
                .stream
                .on_response_headers(end, host, &mut agent.recorder);
        }
    }

    /// A context has ended.
    pub fn on_done<H: Host + Attributes>(&mut self, context: ContextId, host: &mut H) {
        if let Some(mut request) = self.requests.remove(&context) {
            if let Some(agent) = self.agents.get_mut(request.agent) {
                request.stream.on_done(host, &mut agent.recorder);
            }
            return;
        }
        let Some(agent) = self.agent_of(context) else {
            self.roots.retain(|root| root.context != context);
            return;
        };
        self.roots.retain(|root| root.context != context);
        if self.driver(agent).is_none()
            && let Some(agent) = self.agents.get_mut(agent)
        {
            agent.flush(host);
        }
    }

    /// Host calls failed in a way that nothing explains.
    pub fn on_host_errors(&mut self, count: u64) {
        self.counters.add(FilterCounter::HostErrors, count);
    }
}
