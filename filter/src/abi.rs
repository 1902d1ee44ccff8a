//! The proxy-wasm ABI 0.2.1: the entry points that this filter implements. The only file with `unsafe` code.
#![allow(unsafe_code, reason = "the ABI is C")]

use proxy_wasm::types::Action;

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Called once, before everything else.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: made by the linker for exactly this call; the host calls `_initialize` once.
    unsafe { __wasm_call_ctors() }
}

#[unsafe(no_mangle)]
extern "C" fn gaugeway_on_memory_allocate(size: usize) -> *mut u8 {
    let Ok(layout) = std::alloc::Layout::from_size_align(size.max(1), 1) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the size is not zero.
    unsafe { std::alloc::alloc(layout) }
}

#[unsafe(no_mangle)]
extern "C" fn gaugeway_on_context_create(_context: u32, _parent: u32) {}

#[unsafe(no_mangle)]
extern "C" fn gaugeway_on_request_headers(_context: u32, _headers: u32, _end: u32) -> Action {
    Action::Continue
}
