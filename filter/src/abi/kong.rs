//! Entry points of Kong's module. The post-link step gives them their names of the ABI and leaves out Envoy's.
//!
//! WasmX calls the callbacks of a request through pointers that it does not look at: each of them is here, those of no
//! use as well, or the worker dies. It does not load a module without `proxy_on_vm_start`, which Envoy's lacks.

use super::{HostCalls, number};
use crate::callbacks::kong as callbacks;

#[unsafe(export_name = "kong_proxy_on_context_create")]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    callbacks::on_context_create(context, parent);
}

#[unsafe(export_name = "kong_proxy_on_vm_start")]
extern "C" fn proxy_on_vm_start(_context: u32, _size: usize) -> u32 {
    1
}

#[unsafe(export_name = "kong_proxy_on_configure")]
extern "C" fn proxy_on_configure(context: u32, size: usize) -> u32 {
    callbacks::on_configure(&mut HostCalls::enter(), context, size);
    // A configuration that cannot be used is no reason to refuse traffic.
    1
}

#[unsafe(export_name = "kong_proxy_on_tick")]
extern "C" fn proxy_on_tick(context: u32) {
    callbacks::on_tick(&mut HostCalls::enter(), context);
}

#[unsafe(export_name = "kong_proxy_on_request_headers")]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, _end: u32) -> u32 {
    callbacks::on_request_headers(&mut HostCalls::enter(), context);
    number::ACTION_CONTINUE
}

#[unsafe(export_name = "kong_proxy_on_request_body")]
extern "C" fn proxy_on_request_body(_context: u32, _size: u32, _end: u32) -> u32 {
    number::ACTION_CONTINUE
}

#[unsafe(export_name = "kong_proxy_on_response_headers")]
extern "C" fn proxy_on_response_headers(context: u32, _headers: u32, _end: u32) -> u32 {
    callbacks::on_response_headers(&mut HostCalls::enter(), context);
    number::ACTION_CONTINUE
}

#[unsafe(export_name = "kong_proxy_on_response_body")]
extern "C" fn proxy_on_response_body(_context: u32, _size: u32, _end: u32) -> u32 {
    number::ACTION_CONTINUE
}

/// Comes before the log.
#[unsafe(export_name = "kong_proxy_on_done")]
extern "C" fn proxy_on_done(_context: u32) -> u32 {
    1
}

#[unsafe(export_name = "kong_proxy_on_log")]
extern "C" fn proxy_on_log(context: u32) {
    callbacks::on_log(&mut HostCalls::enter(), context);
}

#[unsafe(export_name = "kong_proxy_on_delete")]
extern "C" fn proxy_on_delete(context: u32) {
    callbacks::on_delete(&mut HostCalls::enter(), context);
}

#[unsafe(export_name = "kong_proxy_on_http_call_response")]
extern "C" fn proxy_on_http_call_response(
    _context: u32,
    token: u32,
    headers: u32,
    body_size: usize,
    _trailers: u32,
) {
    callbacks::on_http_call_response(&mut HostCalls::enter(), token, headers != 0, body_size);
}
