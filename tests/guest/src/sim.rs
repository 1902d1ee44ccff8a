//! The simulation: workers, requests and the controller on one simulated clock.
//!
//! Events happen in order of time, those of one time in the order in which they were made: same script and seed, same
//! run. What differs between the hosts stands in `sim/envoy.rs` and `sim/wasmx.rs`.
//!
//! **Invariant**: a [`Failure`] that no test takes fails the test when the simulation is dropped.

mod envoy;
mod events;
mod oracle;
mod wasmx;
mod worker;

use std::{collections::BTreeMap, rc::Rc};

use gaugeway_wire::units::{Nanos, UnixNanos};

use crate::{
    controller::{CallId, Controller, Delivery},
    fault::Faults,
    host::{CallAnswer, Clock, Host},
    meter::Meter,
    personality::{Personality, Stop},
    request::Request,
    sim::{
        events::{Event, Queue},
        oracle::Oracle,
        worker::Worker,
    },
    vm::{Failure, GuestModule},
};

/// How a simulation is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Workers that serve requests. Envoy has one VM more, on its main thread, which only ticks.
    pub workers: usize,
    /// Decides everything random.
    pub seed: u64,
    /// Faults of every new VM.
    pub faults: Faults,
    /// Every new VM keeps a trace.
    pub trace: bool,
    /// [`Host::fuel_per_us`] of every new VM.
    pub fuel_per_us: Option<u64>,
    /// Envoy: `FAIL_RELOAD` instead of `FAIL_OPEN`: a VM that trapped is made anew for the next request.
    pub reload: bool,
    /// WasmX: `proxy_on_vm_start` for every root of an instance, not only for its first.
    pub start_every_root: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            seed: 1,
            faults: Faults::None,
            trace: false,
            fuel_per_us: None,
            reload: false,
            start_every_root: true,
        }
    }
}

/// See the module.
pub struct Sim {
    /// The controller.
    pub controller: Controller,
    /// What the VM that failed last had logged: a panic's message is its end.
    pub last_words: Vec<(u32, String)>,
    module: Rc<GuestModule>,
    options: Options,
    clock: Clock,
    time: UnixNanos,
    skew: i64,
    queue: Queue,
    workers: Vec<Worker>,
    plugins: BTreeMap<String, Vec<u8>>,
    failures: Vec<Failure>,
    oracle: Oracle,
    hosts_made: u64,
    retired: Meter,
}

/// When every simulation starts: 2026-11-23T00:00:00Z.
pub const START: UnixNanos = UnixNanos(1_795_392_000_000_000_000);

impl Sim {
    /// No configuration yet, so no VM.
    #[must_use]
    pub fn new(module: Rc<GuestModule>, options: Options) -> Self {
        let main = usize::from(module.personality() == Personality::Envoy);
        let workers = (0..options.workers + main)
            .map(|_| Worker::default())
            .collect();
        Self {
            controller: Controller::new(START),
            last_words: Vec::new(),
            module,
            clock: Clock::new(START),
            time: START,
            skew: 0,
            queue: Queue::default(),
            workers,
            plugins: BTreeMap::new(),
            failures: Vec::new(),
            oracle: Oracle::default(),
            hosts_made: 0,
            retired: Meter::default(),
            options,
        }
    }

    /// One worker with the controller's own configuration.
    #[must_use]
    pub fn ready(module: &Rc<GuestModule>) -> Self {
        Self::ready_with(module, Options::default())
    }

    /// The controller's own configuration.
    #[must_use]
    pub fn ready_with(module: &Rc<GuestModule>, options: Options) -> Self {
        let mut sim = Self::new(Rc::clone(module), options);
        let configuration = sim.controller.configuration();
        sim.configure("main", &configuration);
        sim
    }

    /// Now, as the controller sees it.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        self.time
    }

    /// Sets the gateway's wall clock off the controller's by this many nanoseconds.
    pub fn skew(&mut self, nanos: i64) {
        self.skew = nanos;
        self.set_time(self.time);
    }

    /// Gives a filter configuration to every worker: the first, or one that replaces another. Old roots live on.
    pub fn configure(&mut self, plugin: &str, configuration: &str) {
        self.plugins
            .insert(plugin.to_owned(), configuration.as_bytes().to_vec());
        if self.module.personality() == Personality::Envoy {
            self.canary(plugin);
        }
        for worker in 0..self.workers.len() {
            self.add_root(worker, plugin);
            self.pump(worker);
        }
    }

    /// A request begins at a worker now.
    pub fn send(&mut self, worker: usize, request: &Rc<Request>) {
        self.begin(worker, request);
        self.pump(worker);
    }

    /// A request begins at worker 0 now, and time goes on until it has ended.
    pub fn exchange(&mut self, request: &Rc<Request>) {
        self.send(0, request);
        self.advance(Nanos(request.wait.0.saturating_add(request.stream.0)));
    }

    /// Time goes on.
    pub fn advance(&mut self, by: Nanos) {
        let end = self.time.plus(by);
        loop {
            let woken = self.controller.wake_at(self.time);
            let next = [self.queue.next_at(), woken].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.set_time(at.max(self.time));
            if woken == Some(at) {
                self.controller.wake(self.time);
                self.schedule_deliveries();
            } else if let Some(event) = self.queue.pop() {
                self.handle(event);
            }
        }
        self.set_time(end);
    }

    /// Host state of a worker's VM; `None` while it has none. Envoy's last worker is the main thread.
    pub fn host(&mut self, worker: usize) -> Option<&mut Host> {
        Some(self.workers.get_mut(worker)?.vm.as_mut()?.host_mut())
    }

    /// A worker's VM is gone, as after a trap that no test can bring about in a module that never traps.
    pub fn lose_vm(&mut self, worker: usize) {
        let personality = self.module.personality();
        let lost = self.workers.get_mut(worker);
        if let Some(vm) = lost.and_then(|worker| worker.lose_vm(personality)) {
            self.retired.add(&vm.host().meter);
        }
    }

    /// Enters a worker's guest out of turn, as only a broken host would. Failures are noted as ever.
    pub fn intrude(&mut self, worker: usize, name: &'static str, context: u32, args: &[u32]) {
        self.call(worker, name, context, args);
        self.pump(worker);
    }

    /// [`crate::Vm::number`] of a worker's VM.
    pub fn number(&mut self, worker: usize, name: &str) -> Option<u32> {
        self.workers.get_mut(worker)?.vm.as_mut()?.number(name)
    }

    /// Counts of a worker since they were last taken.
    pub fn take_meter(&mut self, worker: usize) -> Meter {
        self.host(worker)
            .map(|host| host.meter.take())
            .unwrap_or_default()
    }

    /// Counts of all VMs, those that are gone and canaries included.
    #[must_use]
    pub fn meter(&self) -> Meter {
        let mut sum = self.retired.clone();
        let alive = self.workers.iter().filter_map(|worker| worker.vm.as_ref());
        alive.for_each(|vm| sum.add(&vm.host().meter));
        sum
    }

    /// What failed so far; taken, it fails no test.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    /// Calls that a filter which only watches must not make, over all VMs alive.
    #[must_use]
    pub fn meddled(&self) -> Vec<String> {
        let alive = self.workers.iter().filter_map(|worker| worker.vm.as_ref());
        alive.flat_map(|vm| vm.host().meddled.clone()).collect()
    }

    fn set_time(&mut self, time: UnixNanos) {
        self.time = time;
        self.clock
            .set(UnixNanos(time.0.saturating_add_signed(self.skew)));
    }

    fn handle(&mut self, event: Event) {
        let worker = match event {
            Event::Tick {
                worker,
                root,
                timer,
            } => {
                self.tick(worker, root, timer);
                worker
            }
            Event::Stage {
                worker,
                context,
                stage,
            } => {
                self.stage(worker, context, stage);
                worker
            }
            Event::Answer { id, delivery } => {
                self.answer(id, delivery);
                id.worker
            }
        };
        self.pump(worker);
    }

    fn answer(&mut self, id: CallId, delivery: Delivery) {
        let Some(worker) = self.workers.get_mut(id.worker) else {
            return;
        };
        let Some(context) = worker.calls.remove(&id.token) else {
            return;
        };
        let answer = match self.module.personality() {
            Personality::Envoy => envoy::call_answer(delivery),
            Personality::WasmX => wasmx::call_answer(delivery),
        };
        self.ensure_context(id.worker, context);
        let headers = u32::try_from(answer.headers.len()).unwrap_or(u32::MAX);
        let body = u32::try_from(answer.body.len()).unwrap_or(u32::MAX);
        self.with_answer(id.worker, Some(answer));
        let args = [context, id.token, headers, body, 0];
        self.call(
            id.worker,
            crate::abi::callback::HTTP_CALL_RESPONSE,
            context,
            &args,
        );
        self.with_answer(id.worker, None);
    }

    fn with_answer(&mut self, worker: usize, answer: Option<CallAnswer>) {
        if let Some(host) = self.host(worker) {
            host.answer = answer;
        }
    }

    /// Takes what the guest asked for and passes it on.
    fn pump(&mut self, worker: usize) {
        let Some(of) = self.workers.get_mut(worker) else {
            return;
        };
        let Some(vm) = of.vm.as_mut() else { return };
        let dispatched = std::mem::take(&mut vm.host_mut().dispatched);
        let ticks = std::mem::take(&mut vm.host_mut().ticks);
        for call in &dispatched {
            of.calls.insert(call.token, call.context);
        }
        for (root, period) in ticks {
            self.set_timer(worker, root, period);
        }
        for call in dispatched {
            let id = CallId {
                worker,
                token: call.token,
            };
            self.controller.receive(self.time, id, &call);
        }
        self.schedule_deliveries();
    }

    fn schedule_deliveries(&mut self) {
        for (at, id, delivery) in self.controller.take_outgoing() {
            self.queue.push(at, Event::Answer { id, delivery });
        }
    }

    /// Enters a worker's guest; a failure is noted and its consequences drawn.
    fn call(
        &mut self,
        worker: usize,
        name: &'static str,
        context: u32,
        args: &[u32],
    ) -> Option<u32> {
        let vm = self.workers.get_mut(worker)?.vm.as_mut()?;
        match vm.call(name, context, args) {
            Ok(result) => result,
            Err(failure) => {
                // The request that it was about sees no callback any more.
                self.workers[worker].streams.remove(&context);
                self.fail(worker, failure);
                None
            }
        }
    }

    fn fail(&mut self, worker: usize, failure: Failure) {
        let dies = matches!(failure.stop, Stop::Death(_));
        self.failures.push(failure);
        let gone = if dies {
            0..self.workers.len()
        } else {
            worker..worker + 1
        };
        for worker in gone {
            if let Some(mut vm) = self.workers[worker].lose_vm(self.module.personality()) {
                self.last_words = std::mem::take(&mut vm.host_mut().log);
                self.retired.add(&vm.host().meter);
            }
            self.workers[worker].dead |= dies;
        }
    }

    fn new_host(&mut self) -> Host {
        self.hosts_made += 1;
        let seed = self
            .options
            .seed
            .wrapping_mul(1_000_003)
            .wrapping_add(self.hosts_made);
        let mut host = Host::new(self.module.personality(), self.clock.clone(), seed);
        host.faults = self.options.faults.clone();
        host.trace = self.options.trace.then(Vec::new);
        host.fuel_per_us = self.options.fuel_per_us;
        host.clusters.insert("gaugeway-controller".to_owned());
        host.next_token = u32::try_from(self.hosts_made % 4_000).unwrap_or(0) * 1_000_000 + 1;
        host
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if !self.failures.is_empty() && !std::thread::panicking() {
            let failures = std::mem::take(&mut self.failures);
            assert!(
                failures.is_empty(),
                "nobody took these failures: {failures:#?}"
            );
        }
    }
}
