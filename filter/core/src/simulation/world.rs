//! A VM, its host and a controller, and what happens between them.

use super::{
    controller::Controller,
    host::{Facts, FakeHost},
    network::Network,
};
use crate::{
    ContextId, Instance, Limits,
    host::{CallToken, Reply},
};

pub(crate) const TICK: u64 = 100_000_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) instance: Instance,
    pub(crate) host: FakeHost,
    pub(crate) controller: Controller,
    pub(crate) roots: Vec<ContextId>,
    pub(crate) network: Network,
    contexts: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::DEFAULT, r#"{"gateway":"g","cluster":"c"}"#)
    }

    pub(crate) fn with(limits: Limits, config: &str) -> Self {
        let mut world = Self {
            instance: Instance::new(limits),
            host: FakeHost::new(),
            controller: Controller::new(),
            roots: Vec::new(),
            network: Network::default(),
            contexts: 0,
        };
        world.add_root(config);
        world
    }

    fn context(&mut self) -> ContextId {
        self.contexts += 1;
        ContextId(self.contexts)
    }

    pub(crate) fn add_root(&mut self, config: &str) -> ContextId {
        let root = self.context();
        self.host.current = root;
        self.instance.on_context_create(root, None, &mut self.host);
        self.instance
            .on_configure(root, config.as_bytes(), &mut self.host);
        self.roots.push(root);
        root
    }

    /// The oldest root goes, and with it the answers to its calls.
    pub(crate) fn end_root(&mut self) {
        let root = self.roots.remove(0);
        self.host.current = root;
        self.instance.on_done(root, &mut self.host);
        self.deliver();
        self.network.forget(root);
    }

    /// A request of the newest root.
    pub(crate) fn start(&mut self) -> ContextId {
        let context = self.context();
        let root = *self.roots.last().unwrap();
        self.instance
            .on_context_create(context, Some(root), &mut self.host);
        context
    }

    pub(crate) fn headers(&mut self, context: ContextId, facts: Facts, end: bool) {
        self.host.facts = facts;
        self.instance
            .on_response_headers(context, end, &mut self.host);
    }

    pub(crate) fn end(&mut self, context: ContextId, facts: Facts) {
        self.host.facts = facts;
        self.instance.on_done(context, &mut self.host);
    }

    /// An ordinary request that takes `took` nanoseconds.
    pub(crate) fn request(&mut self, address: &str, took: u64) {
        let context = self.start();
        self.host.now += took;
        self.headers(context, ok(address), false);
        self.end(context, ok(address));
    }

    /// Lets time go by, in ticks.
    pub(crate) fn run(&mut self, nanos: u64) {
        let end = self.host.now + nanos;
        while self.host.now < end {
            self.host.now += TICK;
            self.tick();
        }
    }

    pub(crate) fn run_seconds(&mut self, seconds: u64) {
        self.run(seconds * 1_000_000_000);
    }

    pub(crate) fn tick(&mut self) {
        for root in self.roots.clone() {
            self.host.current = root;
            self.instance.on_tick(root, &mut self.host);
            self.deliver();
        }
        let answers = self.controller.tick(self.host.now);
        self.answer(answers);
        self.deliver();
    }

    /// Brings calls to the controller, and answers back, until nothing moves.
    fn deliver(&mut self) {
        while !self.host.outgoing.is_empty() {
            let call = self.host.outgoing.remove(0);
            let now = self.host.now;
            let answers = self.network.send(&call, &mut self.controller, now);
            self.answer(answers);
        }
    }

    fn answer(&mut self, answers: Vec<(CallToken, Reply)>) {
        self.network.answer(answers, |root, token, reply| {
            self.host.current = root;
            self.instance.on_reply(token, reply, &mut self.host);
        });
    }
}

/// A plain good answer of an upstream.
pub(crate) fn ok(address: &str) -> Facts {
    Facts {
        address: Some(address.to_owned()),
        code: Some(200),
        attempts: 1,
        cluster: Some("demo/s0".to_owned()),
        route: Some("r".to_owned()),
        via_upstream: true,
        ..Facts::default()
    }
}
