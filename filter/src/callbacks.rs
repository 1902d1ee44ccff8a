//! Hands the ABI's events to the one [`Instance`] of this VM: Envoy's here, Kong's in [`kong`].

pub(crate) mod kong;

use std::{cell::RefCell, mem::ManuallyDrop};

use gaugeway_filter_core::{
    ContextId, Instance, Limits,
    config::CONFIGURATION_BYTES,
    host::{CallToken, Reply},
};
use gaugeway_wire::{Nanos, limits::REPORT_ANSWER_BYTES};

use crate::{
    abi::{Buffer, HostCalls},
    host::{Envoy, Gateway},
};

/// Between two ticks of a root. Decides how soon a new key is asked for; a tick without work costs microseconds.
const TICK_MS: u32 = 100;

thread_local! {
    /// Never dropped: the VM's memory goes as a whole.
    static INSTANCE: ManuallyDrop<RefCell<Instance>> =
        const { ManuallyDrop::new(RefCell::new(Instance::new(Limits::DEFAULT))) };
}

/// Runs a callback. One that the host makes while another one runs (none does) is ignored.
fn with(act: impl FnOnce(&mut Instance)) {
    let _ = INSTANCE.try_with(|instance| {
        if let Ok(mut instance) = instance.try_borrow_mut() {
            act(&mut instance);
        }
    });
}

/// Runs a callback that calls the host, and counts the calls that failed.
fn with_host(calls: &mut HostCalls, act: impl FnOnce(&mut Instance, &mut Gateway<'_, Envoy>)) {
    with(|instance| {
        act(instance, &mut Gateway::new(calls));
        if calls.errors > 0 {
            instance.on_host_errors(calls.errors);
        }
    });
}

pub(crate) fn on_context_create(calls: &mut HostCalls, context: u32, parent: u32) {
    let parent = (parent != 0).then_some(ContextId(parent));
    with_host(calls, |instance, host| {
        instance.on_context_create(ContextId(context), parent, host);
    });
}

pub(crate) fn on_configure(calls: &mut HostCalls, context: u32, size: usize) {
    let json = configuration(calls, size);
    calls.set_tick_period(TICK_MS);
    with_host(calls, |instance, host| {
        instance.on_configure(ContextId(context), &json, host);
    });
}

pub(crate) fn on_tick(calls: &mut HostCalls, context: u32) {
    with_host(calls, |instance, host| {
        instance.on_tick(ContextId(context), host);
    });
}

pub(crate) fn on_response_headers(calls: &mut HostCalls, context: u32, end: bool) {
    with_host(calls, |instance, host| {
        instance.on_response_headers(ContextId(context), end, host);
    });
}

pub(crate) fn on_done(calls: &mut HostCalls, context: u32) {
    with_host(calls, |instance, host| {
        instance.on_done(ContextId(context), host);
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

/// The configuration of the root that is being configured.
fn configuration(calls: &mut HostCalls, size: usize) -> Vec<u8> {
    // One byte over the bound tells it from one that just fits.
    let most = size.min(CONFIGURATION_BYTES + 1);
    calls
        .buffer(Buffer::PluginConfiguration, most)
        .unwrap_or_default()
}

/// The answer to an HTTP call. A call that failed has no headers.
fn reply(calls: &mut HostCalls, has_headers: bool, body_size: usize) -> Reply {
    let mut reply = Reply::default();
    if has_headers {
        reply.status = calls.call_header(":status").and_then(number);
        reply.retry_after = calls
            .call_header("retry-after")
            .and_then(number::<u64>)
            .map(|seconds| Nanos::from_millis(seconds.saturating_mul(1_000)));
        // One byte over the bound of an answer tells it from one that just fits.
        let most = body_size.min(REPORT_ANSWER_BYTES + 1);
        reply.body = calls
            .buffer(Buffer::HttpCallResponseBody, most)
            .unwrap_or_default();
    }
    reply
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
