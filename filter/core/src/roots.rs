//! The roots of one VM, and the agents that they share.
//!
//! Several roots may live in one VM: every change of the configuration makes a new one, and the old one stays (in Envoy
//! until its requests have ended, in Kong for ever); in Kong every route can have one of its own besides. Roots of the
//! same gateway and controller share one [`Agent`], so nothing is lost or doubled by a change; the newest of them drives
//! it.

use foldhash::fast::FixedState;
use gaugeway_wire::FilterCounter;
use hashbrown::HashMap;

use crate::{
    ContextId,
    agent::Agent,
    config::{Config, Gateway},
    counters::Counters,
    host::{CallToken, Host, Level, Reply},
    recorder::Limits,
    slab::{Id, Slab},
};

/// Agents in one VM. More identities than that in one VM are a mistake.
const AGENTS: u32 = 8;
/// Roots in one VM. One more takes the place of one that drives nothing and that requests came to the longest ago.
const ROOTS: usize = 4096;

pub(crate) type AgentId = Id<Agent>;

/// `R` is what a host keeps of a root beside its agent.
#[derive(Debug)]
struct Root<R> {
    /// Rises from root to root.
    number: u64,
    /// The newest root's number when a request last came to this one: the higher, the livelier.
    used: u64,
    /// None before its configuration, or when that could not be used.
    agent: Option<AgentId>,
    /// Its configuration's.
    token: String,
    /// Its timer runs. One that never ran cannot be relied on.
    ticked: bool,
    own: R,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Roots<R> {
    gateway: Gateway,
    limits: Limits,
    roots: HashMap<ContextId, Root<R>, FixedState>,
    agents: Slab<Agent>,
    last_number: u64,
    /// Increases that no agent was there for.
    counters: Counters,
}

impl<R: Clone + Default> Roots<R> {
    /// None. Allocates nothing.
    pub(crate) const fn new(gateway: Gateway, limits: Limits) -> Self {
        Self {
            gateway,
            limits,
            roots: HashMap::with_hasher(FixedState::with_seed(0)),
            agents: Slab::new(AGENTS),
            last_number: 0,
            counters: Counters::new(),
        }
    }

    /// A root was made, or is made known by its configuration.
    pub(crate) fn add(&mut self, context: ContextId) {
        if self.roots.contains_key(&context) {
            return;
        }
        if self.roots.len() >= ROOTS {
            self.forget_one();
        }
        if self.roots.len() < ROOTS && self.roots.try_reserve(1).is_ok() {
            self.last_number += 1;
            let root = Root {
                number: self.last_number,
                used: self.last_number,
                agent: None,
                token: String::new(),
                ticked: false,
                own: R::default(),
            };
            self.roots.insert(context, root);
        }
    }

    /// The root that drives no agent and was not used for the longest time goes: most likely nothing uses it any more.
    fn forget_one(&mut self) {
        let drivers: Vec<_> = self
            .agents
            .iter()
            .filter_map(|(id, _)| self.driver(id))
            .collect();
        let idle = |context: &ContextId| !drivers.contains(context);
        let oldest = self
            .roots
            .iter()
            .filter(|(context, _)| idle(context))
            .min_by_key(|(_, root)| (root.used, root.number));
        if let Some(context) = oldest.map(|(&context, _)| context) {
            self.roots.remove(&context);
        }
    }

    /// A root's configuration. One that cannot be used leaves its requests uncounted and is logged; it is never a
    /// reason to refuse traffic. Returns it when it can be used.
    pub(crate) fn configure(
        &mut self,
        context: ContextId,
        json: &[u8],
        host: &mut impl Host,
    ) -> Option<Config> {
        self.add(context);
        let config = match Config::parse(json, self.gateway) {
            Ok(config) => Some(config),
            Err(error) => {
                let line = format!("gaugeway: nothing is recorded: {error}");
                host.log(Level::Warn, &line);
                self.counters.bump(FilterCounter::BadConfigurations);
                None
            }
        };
        let agent = config
            .as_ref()
            .and_then(|config| self.agent_for(config, host));
        let root = self.roots.get_mut(&context)?;
        root.agent = agent;
        if let Some(config) = &config {
            root.token.clone_from(&config.token);
        }
        config.filter(|_| agent.is_some())
    }

    fn agent_for(&mut self, config: &Config, host: &mut impl Host) -> Option<AgentId> {
        let same = self.agents.iter().find(|(_, agent)| agent.serves(config));
        if let Some(id) = same.map(|(id, _)| id) {
            self.agents.get_mut(id)?.reconfigure(config.clone());
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
        let agent = Agent::new(config.clone(), &self.limits, host);
        self.agents.insert(agent)
    }

    /// A request comes to a root: its agent, and what the host keeps of it.
    pub(crate) fn enter(&mut self, context: ContextId) -> Option<(AgentId, R)> {
        let Some(root) = self.roots.get_mut(&context) else {
            // More roots than [`ROOTS`] are in use.
            self.counters.bump(FilterCounter::Unrecorded);
            return None;
        };
        root.used = self.last_number;
        Some((root.agent?, root.own.clone()))
    }

    /// What the host keeps of a root.
    pub(crate) fn own_mut(&mut self, context: ContextId) -> Option<&mut R> {
        self.roots.get_mut(&context).map(|root| &mut root.own)
    }

    /// An agent.
    pub(crate) fn agent_mut(&mut self, id: AgentId) -> Option<&mut Agent> {
        self.agents.get_mut(id)
    }

    /// The newest root of an agent whose timer runs.
    fn driver(&self, agent: AgentId) -> Option<ContextId> {
        let of_agent = self
            .roots
            .iter()
            .filter(|(_, root)| root.ticked && root.agent == Some(agent));
        of_agent
            .max_by_key(|(_, root)| root.number)
            .map(|(&context, _)| context)
    }

    fn has_roots(&self, agent: AgentId) -> bool {
        self.roots.values().any(|root| root.agent == Some(agent))
    }

    /// A root's timer. Whether the root drives its agent: the ticks of others do nothing.
    pub(crate) fn tick(&mut self, context: ContextId, host: &mut impl Host) -> bool {
        let Some(root) = self.roots.get_mut(&context) else {
            return false;
        };
        root.ticked = true;
        let (number, Some(id)) = (root.number, root.agent) else {
            return false;
        };
        let drives = self.driver(id) == Some(context);
        if drives && self.gateway == Gateway::Kong {
            self.change_refused_token(id);
        }
        if drives && let Some(agent) = self.agents.get_mut(id) {
            agent.recorder.counters.merge(&self.counters.take());
            agent.tick(host);
        }
        if self.roots.values().all(|root| root.number <= number) {
            self.tick_orphans(host);
        }
        drives
    }

    /// In Kong each route brings a configuration with a token, and the token of the one that was configured last is in
    /// force: one that was forgotten when keys changed must not silence all others. So a refused one gives way to the
    /// next, in the order of their text, round and round.
    fn change_refused_token(&mut self, id: AgentId) {
        let Some(agent) = self.agents.get_mut(id) else {
            return;
        };
        let Some(refused) = agent.refused_token() else {
            return;
        };
        let of_agent = self.roots.values().filter(|root| root.agent == Some(id));
        let others = of_agent.map(|root| &*root.token).filter(|&t| t != refused);
        // The next one in order, or else the first.
        let (later, first) = others.fold((None, None), |(later, first), token| {
            let least = |so_far: Option<_>| Some(so_far.map_or(token, |so_far| token.min(so_far)));
            match token > refused {
                true => (least(later), first),
                false => (later, least(first)),
            }
        });
        if let Some(next) = later.or(first) {
            agent.try_token(next);
        }
    }

    /// An agent whose roots are all gone.
    fn orphan(&self) -> Option<AgentId> {
        let mut ids = self.agents.iter().map(|(id, _)| id);
        ids.find(|&id| !self.has_roots(id))
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
    pub(crate) fn on_reply(&mut self, token: CallToken, mut reply: Reply, host: &mut impl Host) {
        // The first whose call it was.
        let _ = self
            .agents
            .values_mut()
            .any(|agent| agent.on_reply(token, &mut reply, host));
    }

    /// A root is going. The last one of an agent takes along what there is to report.
    pub(crate) fn remove(&mut self, context: ContextId, host: &mut impl Host) {
        let Some(root) = self.roots.remove(&context) else {
            return;
        };
        if let Some(id) = root.agent
            && !self.has_roots(id)
            && let Some(agent) = self.agents.get_mut(id)
        {
            agent.flush(host);
        }
        self.agents.values_mut().for_each(Agent::forget_calls);
    }

    /// Counts what no agent is there for.
    pub(crate) fn count(&mut self, counter: FilterCounter, by: u64) {
        self.counters.add(counter, by);
    }
}
