//! Envoy's life cycle: canary VMs, a main-thread VM, roots that live until they are drained, callbacks in order.

use crate::{
    abi::callback,
    controller::{CallId, Delivery},
    host::{CallAnswer, Context, Phase},
    request::{Ending, Request},
    sim::Sim,
};

/// Which callbacks a request has besides its end.
pub(super) struct Stages {
    pub(super) request_headers: bool,
    pub(super) response_headers: bool,
}

pub(super) fn stages(request: &Request) -> Stages {
    Stages {
        request_headers: !matches!(request.ending, Ending::DeniedBefore(_)),
        // Local replies pass the filter too.
        response_headers: !matches!(request.ending, Ending::Cancelled | Ending::DeniedBefore(_)),
    }
}

/// A time-out is answered by Envoy's client itself; a broken connection has no headers at all.
pub(super) fn call_answer(delivery: Delivery) -> CallAnswer {
    let answer = |status: u16, body: Vec<u8>| CallAnswer {
        headers: vec![
            (":status".to_owned(), status.to_string()),
            ("server".to_owned(), "envoy".to_owned()),
        ],
        body,
        dispatch_status: None,
    };
    match delivery {
        Delivery::Answer { status, body } => answer(status, body),
        Delivery::TimedOut => answer(504, b"upstream request timeout".to_vec()),
        Delivery::Reset => CallAnswer::default(),
    }
}

impl Sim {
    /// Every configuration first runs in a VM of its own: started, configured, gone without a tick or a goodbye.
    pub(super) fn canary(&mut self, plugin: &str) {
        let root = self.root(plugin);
        let size = u32::try_from(root.configuration.len()).unwrap_or(u32::MAX);
        let mut vm = match self.new_vm() {
            Ok(vm) => vm,
            Err(error) => {
                let stop = crate::Stop::Trap(error.to_string());
                return self.failures.push(crate::Failure {
                    callback: "instantiate",
                    stop,
                });
            }
        };
        let done = vm
            .create(1, Context::Root(root))
            .and_then(|()| vm.call(callback::VM_START, 1, &[1, 0]))
            .and_then(|_| vm.call(callback::CONFIGURE, 1, &[1, size]));
        self.failures.extend(done.err());
        for call in std::mem::take(&mut vm.host_mut().dispatched) {
            let id = CallId {
                worker: CallId::GHOST,
                token: call.token,
            };
            self.controller.receive(self.time, id, &call);
        }
        self.retired.add(&vm.host().meter);
    }

    /// The number of the main thread's VM, which ticks but never serves.
    #[must_use]
    pub fn main_thread(&self) -> usize {
        self.workers.len() - 1
    }

    /// Draining is over: roots that were replaced are told and deleted.
    pub fn drain(&mut self) {
        for worker in 0..self.workers.len() {
            for root in std::mem::take(&mut self.workers[worker].old) {
                self.shut_root(worker, root);
            }
        }
    }

    /// The process ends: every root is told; no answer comes any more.
    pub fn terminate(&mut self) {
        self.drain();
        for worker in 0..self.workers.len() {
            for root in std::mem::take(&mut self.workers[worker].serving).into_values() {
                self.shut_root(worker, root);
            }
            if let Some(vm) = self.workers[worker].vm.take() {
                self.retired.add(&vm.host().meter);
            }
        }
    }

    fn shut_root(&mut self, worker: usize, root: u32) {
        let done = self.call(worker, callback::DONE, root, &[root]);
        self.pump(worker);
        self.workers[worker].timers.retain(|_, (of, _)| *of != root);
        self.workers[worker].calls.retain(|_, of| *of != root);
        if done != Some(0) {
            self.call(worker, callback::DELETE, root, &[root]);
        }
        if let Some(host) = self.host(worker) {
            host.contexts.remove(&root);
        }
    }

    /// `FAIL_RELOAD`: a new VM with new roots, for the request that needs it.
    pub(super) fn reload(&mut self, worker: usize) {
        if !self.options.reload {
            return;
        }
        let plugins: Vec<String> = std::mem::take(&mut self.workers[worker].serving)
            .into_keys()
            .collect();
        self.workers[worker].old.clear();
        self.workers[worker].timers.clear();
        self.workers[worker].trapped = false;
        for plugin in plugins {
            self.add_root(worker, &plugin);
            self.pump(worker);
        }
    }

    pub(super) fn end_on_envoy(&mut self, worker: usize, context: u32) {
        let known = self
            .host(worker)
            .is_some_and(|host| host.contexts.contains_key(&context));
        if !known {
            // Denied before the filter: it sees the log only.
            self.create_stream(worker, context);
        }
        for phase in [Phase::Log, Phase::Done, Phase::Delete] {
            self.phase(worker, context, phase);
        }
    }
}
