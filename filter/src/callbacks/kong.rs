//! Kong's events, to the one [`Instance`] of this VM.

use std::{cell::RefCell, mem::ManuallyDrop};

use gaugeway_filter_core::{
    ContextId, Limits,
    host::CallToken,
    kong::{Instance, Tick},
};
use gaugeway_wire::Nanos;

use super::{configuration, reply};
use crate::{
    abi::HostCalls,
    host::{Gateway, Kong},
};

/// Between two ticks of the one root that ticks. Nothing waits for a tick here but calls.
const TICK_MS: u32 = 500;

thread_local! {
    /// Never dropped: the VM's memory goes as a whole.
    static INSTANCE: ManuallyDrop<RefCell<Instance>> = const {
        ManuallyDrop::new(RefCell::new(Instance::new(
            Limits::DEFAULT,
            Nanos::from_millis(TICK_MS as u64),
        )))
    };
}

/// Runs a callback. One that the host makes while another one runs (none does) is ignored.
fn with<T>(act: impl FnOnce(&mut Instance) -> T) -> Option<T> {
    let done = INSTANCE.try_with(|instance| {
        let mut instance = instance.try_borrow_mut().ok()?;
        Some(act(&mut instance))
    });
    done.ok().flatten()
}

/// Runs a callback that calls the host, and counts the calls that failed.
fn with_host<T>(
    calls: &mut HostCalls,
    act: impl FnOnce(&mut Instance, &mut Gateway<'_, Kong>) -> T,
) -> Option<T> {
    with(|instance| {
        let done = act(instance, &mut Gateway::new(calls));
        if calls.errors > 0 {
            instance.on_host_errors(calls.errors);
        }
        done
    })
}

pub(crate) fn on_context_create(context: u32, parent: u32) {
    let parent = (parent != 0).then_some(ContextId(parent));
    with(|instance| instance.on_context_create(ContextId(context), parent));
}

pub(crate) fn on_configure(calls: &mut HostCalls, context: u32, size: usize) {
    let json = configuration(calls, size);
    let timed = with_host(calls, |instance, host| {
        instance.on_configure(ContextId(context), &json, host)
    });
    if timed == Some(true) {
        calls.set_tick_period(TICK_MS);
    }
}

pub(crate) fn on_tick(calls: &mut HostCalls, context: u32) {
    let tick = with_host(calls, |instance, host| {
        instance.on_tick(ContextId(context), host)
    });
    if tick == Some(Tick::Stop) {
        calls.set_tick_period(0);
    }
}

pub(crate) fn on_request_headers(calls: &mut HostCalls, context: u32) {
    with_host(calls, |instance, host| {
        instance.on_request_headers(ContextId(context), host);
    });
}

pub(crate) fn on_response_headers(calls: &mut HostCalls, context: u32) {
    with_host(calls, |instance, host| {
        instance.on_response_headers(ContextId(context), host);
    });
}

pub(crate) fn on_log(calls: &mut HostCalls, context: u32) {
    with_host(calls, |instance, host| {
        instance.on_log(ContextId(context), host);
    });
}

pub(crate) fn on_delete(calls: &mut HostCalls, context: u32) {
    with_host(calls, |instance, host| {
        instance.on_delete(ContextId(context), host);
    });
}

pub(crate) fn on_http_call_response(
    calls: &mut HostCalls,
    token: u32,
    has_headers: bool,
    body_size: usize,
) {
    let reply = reply(calls, has_headers, body_size);
    with_host(calls, |instance, host| {
        instance.on_reply(CallToken(token), reply, host);
    });
}
