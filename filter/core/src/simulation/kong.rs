//! A worker VM of Kong, its host and a controller, and what happens between them. The host dies of what WasmX dies of.

use gaugeway_wire::Nanos;

use super::{
    controller::Controller,
    host::{Facts, FakeHost, Phase},
    network::Network,
};
use crate::{
    ContextId, Limits,
    kong::{Attribute, Instance, Tick},
};

pub(crate) const TICK: u64 = 500_000_000;
const MS: u64 = 1_000_000;

/// What nginx tells of one request; empty is absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) addresses: String,
    pub(crate) statuses: String,
    pub(crate) header_times: String,
    pub(crate) connect_times: String,
    pub(crate) response_times: String,
    pub(crate) code: String,
    /// Whether the whole response was sent.
    pub(crate) complete: bool,
}

impl Told {
    /// One try, answered with 200 after some milliseconds.
    pub(crate) fn ok(address: &str, ms: u64) -> Self {
        Self {
            addresses: address.to_owned(),
            statuses: "200".to_owned(),
            header_times: format!("{}.{:03}", ms / 1000, ms % 1000),
            connect_times: "0.000".to_owned(),
            response_times: format!("{}.{:03}", ms / 1000, ms % 1000),
            code: "200".to_owned(),
            complete: true,
        }
    }

    fn facts(&self) -> Facts {
        let all = [
            (Attribute::UpstreamAddress, &self.addresses),
            (Attribute::UpstreamStatus, &self.statuses),
            (Attribute::HeaderTime, &self.header_times),
            (Attribute::ConnectTime, &self.connect_times),
            (Attribute::ResponseTime, &self.response_times),
            (Attribute::Code, &self.code),
        ];
        let told = all.into_iter().filter(|(_, value)| !value.is_empty());
        let mut kong: Vec<_> = told
            .map(|(attribute, value)| (attribute, value.clone()))
            .collect();
        let completion = if self.complete { "OK" } else { "" };
        kong.push((Attribute::Completion, completion.to_owned()));
        Facts {
            kong,
            ..Facts::default()
        }
    }
}

/// A root, its configuration and whether its timer runs.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) context: ContextId,
    /// Timers: after a trap there can be several.
    pub(crate) timers: usize,
    was_timed: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) instance: Instance,
    pub(crate) host: FakeHost,
    pub(crate) controller: Controller,
    pub(crate) network: Network,
    pub(crate) roots: Vec<Root>,
    contexts: u32,
    /// Ticks that entered the VM.
    pub(crate) ticks: u64,
}

pub(crate) const CONFIG: &str = r#"{"gateway":"g","controller":"10.0.0.9:7080"}"#;

impl World {
    pub(crate) fn new() -> Self {
        Self::with(CONFIG)
    }

    pub(crate) fn with(config: &str) -> Self {
        Self::on(FakeHost::new(), config)
    }

    pub(crate) fn on(host: FakeHost, config: &str) -> Self {
        let mut world = Self {
            instance: Instance::new(Limits::DEFAULT, Nanos(TICK)),
            host,
            controller: Controller::new(),
            network: Network::default(),
            roots: Vec::new(),
            contexts: 0,
            ticks: 0,
        };
        world.host.phase = Phase::Root;
        world.add_root(config);
        world
    }

    fn context(&mut self) -> ContextId {
        self.contexts += 1;
        ContextId(self.contexts)
    }

    /// A configuration, or a change of one: the old root stays.
    pub(crate) fn add_root(&mut self, config: &str) -> ContextId {
        let context = self.context();
        self.host.current = context;
        self.instance.on_context_create(context, None);
        let timed = self
            .instance
            .on_configure(context, config.as_bytes(), &mut self.host);
        self.roots.push(Root {
            context,
            timers: timed.into(),
            was_timed: timed,
        });
        context
    }

    /// The instance trapped: a new one has the root in use only, and its timer comes on top of the old one.
    pub(crate) fn trap(&mut self, config: &str) {
        self.instance = Instance::new(Limits::DEFAULT, Nanos(TICK));
        let timers: usize = self.roots.iter().map(|root| root.timers).sum();
        self.add_root(config);
        let root = self.roots.last_mut().unwrap();
        let context = root.context;
        root.timers += timers;
        self.roots.retain(|root| root.context == context);
    }

    fn enter(&mut self, phase: Phase, told: &Told) {
        self.host.phase = phase;
        self.host.facts = told.facts();
    }

    /// A request of a root: created, and its request headers seen.
    pub(crate) fn start_at(&mut self, root: ContextId, told: &Told) -> ContextId {
        let context = self.context();
        self.instance.on_context_create(context, Some(root));
        self.enter(Phase::RequestHeaders, told);
        self.instance.on_request_headers(context, &mut self.host);
        self.host.phase = Phase::Root;
        context
    }

    pub(crate) fn start(&mut self, told: &Told) -> ContextId {
        let root = self.roots.last().unwrap().context;
        self.start_at(root, told)
    }

    pub(crate) fn headers(&mut self, context: ContextId, told: &Told) {
        self.enter(Phase::ResponseHeaders, told);
        self.instance.on_response_headers(context, &mut self.host);
        self.host.phase = Phase::Root;
    }

    pub(crate) fn log(&mut self, context: ContextId, told: &Told) {
        self.enter(Phase::Log, told);
        self.instance.on_log(context, &mut self.host);
        self.host.phase = Phase::Root;
    }

    pub(crate) fn delete(&mut self, context: ContextId) {
        self.enter(Phase::Delete, &Told::default());
        self.instance.on_delete(context, &mut self.host);
        self.host.phase = Phase::Root;
    }

    /// A request from beginning to end that an upstream answered.
    pub(crate) fn exchange(&mut self, told: &Told) {
        let context = self.start(told);
        self.headers(context, told);
        self.log(context, told);
        self.delete(context);
    }

    pub(crate) fn request(&mut self, address: &str, ms: u64) {
        self.exchange(&Told::ok(address, ms));
    }

    /// A request that Kong itself ended after some milliseconds.
    pub(crate) fn orphan(&mut self, ms: u64, told: &Told) {
        let context = self.start(told);
        self.host.now += ms * MS;
        self.delete(context);
    }

    /// A request that ended in the log without response headers, after some milliseconds.
    pub(crate) fn unanswered(&mut self, ms: u64, told: &Told) {
        let context = self.start(told);
        self.host.now += ms * MS;
        self.log(context, told);
        self.delete(context);
    }

    pub(crate) fn run_seconds(&mut self, seconds: u64) {
        let end = self.host.now + seconds * 1_000 * MS;
        while self.host.now < end {
            self.host.now += TICK;
            self.tick();
        }
    }

    fn tick(&mut self) {
        for at in 0..self.roots.len() {
            for _ in 0..self.roots[at].timers {
                self.ticks += 1;
                let context = self.roots[at].context;
                self.host.current = context;
                let tick = self.instance.on_tick(context, &mut self.host);
                if tick == Tick::Stop {
                    assert!(
                        self.roots[at].was_timed,
                        "a timer that never ran is stopped"
                    );
                    self.roots[at].timers = 0;
                }
                self.deliver();
            }
        }
        let answers = self.controller.tick(self.host.now);
        self.network.answer(answers, |root, token, reply| {
            self.host.current = root;
            self.instance.on_reply(token, reply, &mut self.host);
        });
        self.deliver();
    }

    fn deliver(&mut self) {
        while !self.host.outgoing.is_empty() {
            let call = self.host.outgoing.remove(0);
            let answers = self
                .network
                .send(&call, &mut self.controller, self.host.now);
            self.network.answer(answers, |root, token, reply| {
                self.host.current = root;
                self.instance.on_reply(token, reply, &mut self.host);
            });
        }
    }
}
