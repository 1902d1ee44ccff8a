//! One worker: its VM, roots, requests, timers and calls; and what both hosts do alike with them.

use std::{collections::BTreeMap, rc::Rc};

use gaugeway_wire::units::Nanos;

use crate::{
    Stop,
    abi::callback,
    host::{Context, Exchange, Phase, Root},
    personality::Personality,
    request::Request,
    sim::{
        Sim, envoy,
        events::{Event, Stage},
        wasmx,
    },
    vm::{Failure, LoadError, Vm},
};

/// See the module.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) vm: Option<Vm>,
    /// Roots that new requests get, by plugin.
    pub(super) serving: BTreeMap<String, u32>,
    /// All roots ever made (WasmX makes them anew in a new instance).
    pub(super) roots: BTreeMap<u32, Root>,
    /// Roots that were replaced and still live.
    pub(super) old: Vec<u32>,
    pub(super) streams: BTreeMap<u32, Stream>,
    /// Timers that run: root and period.
    pub(super) timers: BTreeMap<u64, (u32, u32)>,
    /// HTTP calls under way: token to context.
    pub(super) calls: BTreeMap<u32, u32>,
    /// The process is gone.
    pub(super) dead: bool,
    /// The VM trapped and was not made anew.
    pub(super) trapped: bool,
    next_context: u32,
    next_timer: u64,
}

/// A request under way.
pub(super) struct Stream {
    pub(super) request: Rc<Request>,
    pub(super) root: u32,
}

impl Worker {
    pub(super) fn next_context(&mut self) -> u32 {
        self.next_context += 1;
        self.next_context
    }

    /// The VM is gone; in Envoy with all that it had asked for, but for its timers.
    pub(super) fn lose_vm(&mut self, personality: Personality) -> Option<Vm> {
        if personality == Personality::Envoy {
            self.streams.clear();
            self.calls.clear();
        }
        self.trapped = true;
        self.vm.take()
    }
}

impl Sim {
    /// A new root for a plugin at a worker; its VM is made if there is none.
    pub(super) fn add_root(&mut self, worker: usize, plugin: &str) {
        if self.workers[worker].dead || !self.ensure_vm(worker) {
            return;
        }
        let id = self.workers[worker].next_context();
        let first = self.workers[worker].serving.is_empty();
        if let Some(old) = self.workers[worker].serving.insert(plugin.to_owned(), id) {
            self.workers[worker].old.push(old);
        }
        let start = first
            || self.module.personality() == Personality::Envoy
            || self.options.start_every_root;
        let root = self.root(plugin);
        self.workers[worker].roots.insert(id, root.clone());
        self.start_root(worker, id, root, start);
    }

    /// Creates, starts (where the host does) and configures a root.
    pub(super) fn start_root(&mut self, worker: usize, id: u32, root: Root, vm_start: bool) {
        let size = u32::try_from(root.configuration.len()).unwrap_or(u32::MAX);
        self.create(worker, id, Context::Root(root));
        if vm_start {
            let answer = self.call(worker, callback::VM_START, id, &[id, 0]);
            self.check_start(callback::VM_START, answer);
        }
        let answer = self.call(worker, callback::CONFIGURE, id, &[id, size]);
        self.check_start(callback::CONFIGURE, answer);
    }

    /// A filter that refuses to start is not there, or its gateway is not: neither is what a watcher may do.
    fn check_start(&mut self, callback: &'static str, answer: Option<u32>) {
        if answer == Some(0) {
            let stop = Stop::Trap("answered false".to_owned());
            self.failures.push(Failure { callback, stop });
        }
    }

    pub(super) fn root(&self, plugin: &str) -> Root {
        Root {
            plugin: plugin.to_owned(),
            configuration: self.plugins.get(plugin).cloned().unwrap_or_default(),
            tick_period: 0,
        }
    }

    fn ensure_vm(&mut self, worker: usize) -> bool {
        if self.workers[worker].vm.is_some() {
            return true;
        }
        if self.workers[worker].trapped && self.module.personality() == Personality::Envoy {
            return false;
        }
        match self.new_vm() {
            Ok(vm) => {
                self.workers[worker].vm = Some(vm);
                true
            }
            Err(error) => {
                self.failures.push(Failure {
                    callback: "instantiate",
                    stop: Stop::Trap(error.to_string()),
                });
                false
            }
        }
    }

    pub(super) fn new_vm(&mut self) -> Result<Vm, LoadError> {
        let host = self.new_host();
        Vm::start(&self.module, host)
    }

    pub(super) fn create(&mut self, worker: usize, id: u32, context: Context) {
        let Some(vm) = self.workers[worker].vm.as_mut() else {
            return;
        };
        if let Err(failure) = vm.create(id, context) {
            self.fail(worker, failure);
        }
    }

    /// A request begins.
    pub(super) fn begin(&mut self, worker: usize, request: &Rc<Request>) {
        if !self.revive(worker) {
            return;
        }
        let Some(root) = self.workers[worker].serving.get(&request.plugin).copied() else {
            return;
        };
        let context = self.workers[worker].next_context();
        let stream = Stream {
            request: Rc::clone(request),
            root,
        };
        self.workers[worker].streams.insert(context, stream);
        let stages = match self.module.personality() {
            Personality::Envoy => envoy::stages(request),
            Personality::WasmX => wasmx::stages(request),
        };
        if stages.request_headers {
            self.ensure_context(worker, root);
            self.create_stream(worker, context);
            self.call(worker, callback::REQUEST_HEADERS, context, &[context, 3, 1]);
        }
        let mut at = self.time.plus(request.wait);
        if stages.response_headers {
            let stage = Stage::ResponseHeaders;
            self.queue.push(
                at,
                Event::Stage {
                    worker,
                    context,
                    stage,
                },
            );
            at = at.plus(request.stream);
        }
        self.queue.push(
            at,
            Event::Stage {
                worker,
                context,
                stage: Stage::End,
            },
        );
    }

    /// After a trap: whether the worker has a VM (again).
    pub(super) fn revive(&mut self, worker: usize) -> bool {
        if self.workers[worker].dead {
            return false;
        }
        if self.workers[worker].vm.is_some() {
            return true;
        }
        if !self.workers[worker].trapped {
            return false;
        }
        match self.module.personality() {
            Personality::Envoy => self.reload(worker),
            Personality::WasmX => self.rebuild(worker),
        }
        self.workers[worker].vm.is_some()
    }

    pub(super) fn create_stream(&mut self, worker: usize, context: u32) {
        let Some(stream) = self.workers[worker].streams.get(&context) else {
            return;
        };
        let exchange = Exchange {
            request: Rc::clone(&stream.request),
            root: stream.root,
            phase: Phase::RequestHeaders,
            began: self.clock.now(),
        };
        self.create(worker, context, Context::Stream(exchange));
    }

    pub(super) fn stage(&mut self, worker: usize, context: u32, stage: Stage) {
        // The VM that knew the request is gone.
        let Some(stream) = self.workers[worker].streams.get(&context) else {
            return;
        };
        let end = stream.request.headers_only.into();
        match stage {
            Stage::ResponseHeaders => {
                self.ensure_context(worker, context);
                self.enter_phase(worker, context, Phase::ResponseHeaders);
                self.call(
                    worker,
                    callback::RESPONSE_HEADERS,
                    context,
                    &[context, 5, end],
                );
            }
            Stage::End => {
                let request = self.workers[worker]
                    .streams
                    .get(&context)
                    .map(|s| Rc::clone(&s.request));
                match self.module.personality() {
                    Personality::Envoy => self.end_on_envoy(worker, context),
                    Personality::WasmX => self.end_on_wasmx(worker, context),
                }
                self.workers[worker].streams.remove(&context);
                let route = self.controller.index.policy().route;
                let layout = self.controller.index.policy().layout();
                if let Some(request) = request {
                    let personality = self.module.personality();
                    self.oracle.add(&request, personality, route, &layout);
                }
            }
        }
    }

    pub(super) fn enter_phase(&mut self, worker: usize, context: u32, phase: Phase) {
        let Some(host) = self.host(worker) else {
            return;
        };
        if let Some(Context::Stream(exchange)) = host.contexts.get_mut(&context) {
            exchange.phase = phase;
        }
    }

    /// Enters a phase and makes its callback with the context as its only argument.
    pub(super) fn phase(&mut self, worker: usize, context: u32, phase: Phase) {
        let name = match phase {
            Phase::Log => callback::LOG,
            Phase::Done => callback::DONE,
            _ => callback::DELETE,
        };
        self.enter_phase(worker, context, phase);
        self.call(worker, name, context, &[context]);
        if phase == Phase::Delete
            && let Some(host) = self.host(worker)
        {
            host.contexts.remove(&context);
        }
    }

    /// The guest set a tick period.
    pub(super) fn set_timer(&mut self, worker: usize, root: u32, period: u32) {
        if self.module.personality() == Personality::Envoy {
            self.workers[worker].timers.retain(|_, (of, _)| *of != root);
        }
        if period > 0 {
            self.workers[worker].next_timer += 1;
            let timer = self.workers[worker].next_timer;
            self.workers[worker].timers.insert(timer, (root, period));
            let at = self.time.plus(Nanos::from_millis(period.into()));
            self.queue.push(
                at,
                Event::Tick {
                    worker,
                    root,
                    timer,
                },
            );
        }
    }

    pub(super) fn tick(&mut self, worker: usize, root: u32, timer: u64) {
        if !self.workers[worker].timers.contains_key(&timer) {
            return;
        }
        self.ensure_context(worker, root);
        let Some(vm) = self.workers[worker].vm.as_ref() else {
            return;
        };
        let period = match vm.host().contexts.get(&root) {
            Some(Context::Root(root)) => root.tick_period,
            _ => 0,
        };
        if period == 0 {
            self.workers[worker].timers.remove(&timer);
            return;
        }
        self.call(worker, callback::TICK, root, &[root]);
        if let Some((root, period)) = self.workers[worker].timers.get(&timer).copied() {
            let at = self.time.plus(Nanos::from_millis(period.into()));
            self.queue.push(
                at,
                Event::Tick {
                    worker,
                    root,
                    timer,
                },
            );
        }
    }
}
