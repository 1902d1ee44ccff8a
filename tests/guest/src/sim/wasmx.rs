//! WasmX's life cycle: one instance per worker for all roots, stale roots that tick for ever, orphaned requests, an
//! instance that is rebuilt after a trap without a start.

use crate::{
    abi::callback,
    controller::Delivery,
    host::{CallAnswer, Phase},
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
    /// After a trap: a new instance; every root is created and configured, none is started. Timers run on, so that the
    /// tick period which the roots set now comes on top.
    pub(super) fn rebuild(&mut self, worker: usize) {
        let vm = match self.new_vm() {
            Ok(vm) => vm,
            Err(error) => {
                let stop = crate::Stop::Trap(error.to_string());
                return self.failures.push(crate::Failure {
                    callback: "instantiate",
                    stop,
                });
            }
        };
        self.workers[worker].vm = Some(vm);
        self.workers[worker].trapped = false;
        let roots = self.workers[worker].serving.clone();
        for (plugin, id) in roots {
            self.start_root(worker, id, &plugin, false);
        }
        self.pump(worker);
    }

    pub(super) fn end_on_wasmx(&mut self, worker: usize, context: u32) {
        let Some(stream) = self.workers[worker].streams.get(&context) else {
            return;
        };
        let ending = stream.request.ending;
        match ending {
            Ending::Local(_) | Ending::DeniedBefore(_) => return,
            Ending::NoEndpoint => self.create_stream(worker, context),
            _ => {}
        }
        if is_orphan(ending) {
            return self.phase(worker, context, Phase::Delete);
        }
        if ending.upstream_code().is_some() {
            self.call(worker, callback::RESPONSE_BODY, context, &[context, 0, 1]);
        }
        for phase in [Phase::Log, Phase::Done, Phase::Delete] {
            self.phase(worker, context, phase);
        }
    }
}
