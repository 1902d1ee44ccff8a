//! WasmX's life cycle: one instance per worker for all roots, stale roots that tick for ever, orphaned requests, an
//! instance that is made anew without a start, after a trap or when Lua collects the plan of an old configuration. What
//! an instance lacks, requests under way among it, is made when it is next entered.

use crate::{
    abi::callback,
    controller::Delivery,
    host::{CallAnswer, Phase},
    personality::Personality,
    request::{Ending, Request},
    sim::{Sim, envoy::Stages},
};

pub(super) fn stages(request: &Request) -> Stages {
    Stages {
        // A request without a live peer reaches the log only.
        request_headers: !matches!(
            request.ending,
            Ending::NoEndpoint | Ending::Local(_) | Ending::DeniedBefore(_)
        ),
        response_headers: request.ending.upstream_code().is_some(),
    }
}

/// Kong answers these itself, past the filter: only `proxy_on_delete` comes.
fn is_orphan(ending: Ending) -> bool {
    matches!(
        ending,
        Ending::Timeout | Ending::Reset | Ending::ConnectFailure | Ending::Overflow
    )
}

pub(super) fn call_answer(delivery: Delivery) -> CallAnswer {
    let failed = |why| CallAnswer {
        dispatch_status: Some(why),
        ..CallAnswer::default()
    };
    match delivery {
        Delivery::Answer { status, body } => CallAnswer {
            headers: vec![
                (":status".to_owned(), status.to_string()),
                ("connection".to_owned(), "close".to_owned()),
            ],
            body,
            dispatch_status: None,
        },
        Delivery::TimedOut => failed("timeout"),
        Delivery::Reset => failed("broken connection"),
    }
}

impl Sim {
    /// A new instance without contexts: they are made when they are next entered. Timers run on, so that a tick period
    /// which a root sets now comes on top.
    pub(super) fn rebuild(&mut self, worker: usize) {
        match self.new_vm() {
            Ok(vm) => self.workers[worker].vm = Some(vm),
            Err(error) => {
                let stop = crate::Stop::Trap(error.to_string());
                self.failures.push(crate::Failure {
                    callback: "instantiate",
                    stop,
                });
            }
        }
        self.workers[worker].trapped = false;
    }

    /// Lua collects the plan of a configuration that was replaced or removed: all instances of the worker go with it,
    /// without a word.
    pub fn collect_plan(&mut self, worker: usize) {
        self.lose_vm(worker);
        self.rebuild(worker);
    }

    /// WasmX: makes a context that the worker's instance does not have (any more); a root is created and configured, but
    /// not started.
    pub(super) fn ensure_context(&mut self, worker: usize, id: u32) {
        if self.module.personality() != Personality::WasmX || !self.revive(worker) {
            return;
        }
        if self.knows(worker, id) {
            return;
        }
        if let Some(root) = self.workers[worker].roots.get(&id).cloned() {
            self.start_root(worker, id, root, false);
            return self.pump(worker);
        }
        if let Some(stream) = self.workers[worker].streams.get(&id) {
            self.ensure_context(worker, stream.root);
            self.create_stream(worker, id);
        }
    }

    fn knows(&mut self, worker: usize, id: u32) -> bool {
        self.host(worker)
            .is_some_and(|host| host.contexts.contains_key(&id))
    }

    pub(super) fn end_on_wasmx(&mut self, worker: usize, context: u32) {
        let Some(stream) = self.workers[worker].streams.get(&context) else {
            return;
        };
        let ending = stream.request.ending;
        match ending {
            Ending::Local(_) | Ending::DeniedBefore(_) => return,
            _ => {}
        }
        if is_orphan(ending) {
            if self.knows(worker, context) {
                self.phase(worker, context, Phase::Delete);
            }
            return;
        }
        self.ensure_context(worker, context);
        if ending.upstream_code().is_some() {
            self.call(worker, callback::RESPONSE_BODY, context, &[context, 0, 1]);
        }
        self.enter_phase(worker, context, Phase::Log);
        self.call(worker, callback::DONE, context, &[context]);
        for phase in [Phase::Log, Phase::Delete] {
            self.phase(worker, context, phase);
        }
    }
}
