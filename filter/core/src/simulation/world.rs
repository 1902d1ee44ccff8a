//! A VM, its host and a controller, and what happens between them.

use std::collections::VecDeque;

use super::{
    controller::{Controller, status},
    host::{Facts, FakeHost},
};
use crate::{
    ContextId, Instance, Limits,
    host::{CallToken, Reply},
};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    /// The controller gets it, its answer is lost: the filter hears of a time-out.
    AnswerLost,
    /// The same, and the filter hears nothing at all.
    AnswerVanished,
    /// Never gets there.
    Refused(u16),
    /// Never gets there, and the filter hears nothing at all.
    Vanished,
}

pub(crate) const TICK: u64 = 100_000_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) instance: Instance,
    pub(crate) host: FakeHost,
    pub(crate) controller: Controller,
    pub(crate) roots: Vec<ContextId>,
    /// Fates of the next calls; then all are delivered.
    pub(crate) fates: VecDeque<Fate>,
    /// Calls that the controller holds, with the root that made them.
    waiting: Vec<(CallToken, ContextId, Fate)>,
    contexts: u32,
    pub(crate) calls: u64,
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
            fates: VecDeque::new(),
            waiting: Vec::new(),
            contexts: 0,
            calls: 0,
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
        self.waiting.retain(|&(_, of, _)| of != root);
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
            self.calls += 1;
            let fate = self.fates.pop_front().unwrap_or(Fate::Delivered);
            self.waiting.push((call.token, call.root, fate));
            match fate {
                Fate::Vanished => self.waiting.retain(|&(token, ..)| token != call.token),
                Fate::Refused(code) => self.answer(vec![(call.token, status(code))]),
                Fate::Delivered | Fate::AnswerLost | Fate::AnswerVanished => {
                    let answers =
                        self.controller
                            .handle(call.token, &call.path, &call.body, self.host.now);
                    self.answer(answers);
                }
            }
        }
    }

    fn answer(&mut self, answers: Vec<(CallToken, Reply)>) {
        for (token, reply) in answers {
            let Some(position) = self.waiting.iter().position(|&(of, ..)| of == token) else {
                continue;
            };
            let (_, root, fate) = self.waiting.remove(position);
            let reply = match fate {
                Fate::AnswerVanished => continue,
                Fate::AnswerLost => Reply {
                    status: Some(504),
                    ..Reply::default()
                },
                _ => reply,
            };
            self.host.current = root;
            self.instance.on_reply(token, reply, &mut self.host);
        }
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
