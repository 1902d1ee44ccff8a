//! The proxy-wasm ABI 0.2.1: entry points, imports, and the memory that host calls answer through. The only file with
//! `unsafe` code.
//! Kong's entry points are in `kong`.
//!
//! Not the `proxy-wasm` SDK's: its dispatcher panics on contexts it does not know, its host calls on statuses they do
//! not expect, and linking it keeps all of the ABI in the module (24 KiB and 16 imports), whether used or not.
//!
//! **Memory.** A host call that answers with bytes calls back for memory while it runs. Small answers go to a scratch
//! area that every host call uses anew, so that reading attributes allocates nothing; what does not fit goes to the
//! heap. Borrowed answers borrow the [`HostCalls`], of which a callback has one: the next call cannot be made while an
//! answer is still looked at.
#![allow(unsafe_code, reason = "the ABI is C")]

use std::{
    alloc::{Layout, alloc, dealloc},
    cell::{Cell, UnsafeCell},
    ptr,
};

use crate::callbacks;

mod kong;
#[cfg(test)]
mod tests;

/// Numbers of the ABI that this filter uses. Source: proxy-wasm/spec, abi-versions/v0.2.1.
mod number {
    pub(super) const STATUS_OK: u32 = 0;
    pub(super) const STATUS_NOT_FOUND: u32 = 1;
    pub(super) const STATUS_EMPTY: u32 = 7;
    pub(super) const ACTION_CONTINUE: u32 = 0;
    pub(super) const MAP_RESPONSE_HEADERS: u32 = 2;
    pub(super) const MAP_HTTP_CALL_RESPONSE_HEADERS: u32 = 6;
}

/// Buffers of the host.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Buffer {
    HttpCallResponseBody = 4,
    PluginConfiguration = 7,
}

/// Levels of the host's log.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum LogLevel {
    Info = 2,
    Warn = 3,
}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

// Host functions answer with a status number; a host may answer with any.
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_http_call(
        upstream: *const u8,
        upstream_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
}

/// Called once, before everything else.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: made by the linker for exactly this call; the host calls `_initialize` once.
    unsafe { __wasm_call_ctors() }
}

/// Its name tells the host the ABI's version.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    MEMORY.allocate(size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    callbacks::on_context_create(&mut HostCalls::enter(), context, parent);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(context: u32, size: usize) -> u32 {
    callbacks::on_configure(&mut HostCalls::enter(), context, size);
    // A configuration that cannot be used is no reason to refuse traffic.
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(context: u32) {
    callbacks::on_tick(&mut HostCalls::enter(), context);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _headers: u32, end: u32) -> u32 {
    callbacks::on_response_headers(&mut HostCalls::enter(), context, end != 0);
    number::ACTION_CONTINUE
}

/// Comes for every context, just before the host deletes it and when everything about a request is known: with this,
/// neither `proxy_on_log` nor `proxy_on_delete` is needed, and each entry that is not needed makes requests cheaper.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    callbacks::on_done(&mut HostCalls::enter(), context);
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(
    _context: u32,
    token: u32,
    headers: u32,
    body_size: usize,
    _trailers: u32,
) {
    callbacks::on_http_call_response(&mut HostCalls::enter(), token, headers != 0, body_size);
}

/// Bytes of scratch: an address, a cluster's or a route's name.
const SCRATCH: usize = 1024;
/// The most that the host is given in one piece.
const LARGEST: usize = 256 * 1024;

/// Where host calls put their answers.
struct Memory {
    scratch: UnsafeCell<[u8; SCRATCH]>,
    /// Bytes of scratch that the running host call has used.
    used: Cell<usize>,
    /// The running host call's answer on the heap.
    large: Cell<Option<(*mut u8, usize)>>,
}

// SAFETY: wasm32-wasip1 has one thread.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory {
    scratch: UnsafeCell::new([0; SCRATCH]),
    used: Cell::new(0),
    large: Cell::new(None),
};

/// Bytes that a host call answered with.
enum Answer {
    /// In the scratch area: offset and size.
    Small(usize, usize),
    Large(Vec<u8>),
}

impl Memory {
    /// Memory for the host to write an answer to; null when there is none. Borrows nothing: it runs inside a host call.
    fn allocate(&self, size: usize) -> *mut u8 {
        let used = self.used.get();
        if size <= SCRATCH - used {
            self.used.set(used + size);
            // SAFETY: `used` is within the area.
            return unsafe { self.scratch.get().cast::<u8>().add(used) };
        }
        if size > LARGEST {
            return ptr::null_mut();
        }
        let Ok(layout) = Layout::array::<u8>(size) else {
            return ptr::null_mut();
        };
        // SAFETY: `size` is not zero, zero would have fit above.
        let pointer = unsafe { alloc(layout) };
        if !pointer.is_null() {
            self.free_large();
            self.large.set(Some((pointer, size)));
        }
        pointer
    }

    /// Starts over: no answer of an earlier host call is looked at any more.
    fn reset(&self) {
        self.used.set(0);
        self.free_large();
    }

    fn free_large(&self) {
        if let Some((pointer, size)) = self.large.take()
            && let Ok(layout) = Layout::array::<u8>(size)
        {
            // SAFETY: allocated above with this layout, and nobody took it.
            unsafe { dealloc(pointer, layout) }
        }
    }

    /// Recognises an answer. `None` for memory that was not given to the host for this call.
    fn claim(&self, pointer: *mut u8, size: usize) -> Option<Answer> {
        if size == 0 {
            return Some(Answer::Small(0, 0));
        }
        let start = self.scratch.get() as usize;
        if let Some(offset) = (pointer as usize).checked_sub(start)
            && offset
                .checked_add(size)
                .is_some_and(|end| end <= self.used.get())
        {
            return Some(Answer::Small(offset, size));
        }
        let (large, capacity) = self.large.get()?;
        if large != pointer || size > capacity {
            return None;
        }
        self.large.set(None);
        // SAFETY: allocated above with this capacity and alignment 1; uninitialised bytes below `size` cannot be, all
        // of a linear memory is initialised; it was just removed from `large`, so nobody else owns it.
        Some(Answer::Large(unsafe {
            Vec::from_raw_parts(pointer, size, capacity)
        }))
    }
}

/// Why a host call gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// Calls to the host. Each callback has one of it.
#[derive(Debug)]
pub(crate) struct HostCalls {
    large: Vec<u8>,
    /// Calls that failed in a way that says nothing about the request.
    pub(crate) errors: u64,
}

/// Whether a call succeeded (true), found nothing (false) or failed.
fn check(status: u32) -> Result<bool, Failed> {
    match status {
        number::STATUS_OK => Ok(true),
        number::STATUS_NOT_FOUND | number::STATUS_EMPTY => Ok(false),
        _ => Err(Failed),
    }
}

impl HostCalls {
    const fn enter() -> Self {
        Self {
            large: Vec::new(),
            errors: 0,
        }
    }

    fn note<T>(&mut self, result: Result<T, Failed>) -> Option<T> {
        self.errors += u64::from(result.is_err());
        result.ok()
    }

    /// The wall clock, in nanoseconds since 1970.
    pub(crate) fn time(&mut self) -> Option<u64> {
        let mut time = 0;
        // SAFETY: the pointer is valid for the call.
        let status = unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
        self.note(check(status))
            .filter(|&found| found)
            .map(|_| time)
    }

    /// Writes a line to the host's log.
    pub(crate) fn log(&mut self, level: LogLevel, line: &str) {
        // SAFETY: pointer and size are of a live string.
        let status = unsafe { proxy_log(level as u32, line.as_ptr(), line.len()) };
        self.note(check(status));
    }

    /// Sets this root's timer.
    pub(crate) fn set_tick_period(&mut self, milliseconds: u32) {
        // SAFETY: no pointers.
        let status = unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
        self.note(check(status));
    }

    /// An attribute; its path's parts are joined by NUL.
    pub(crate) fn property(&mut self, path: &[u8]) -> Option<&[u8]> {
        self.answered(|value, size| {
            // SAFETY: path and out pointers are valid for the call.
            unsafe { proxy_get_property(path.as_ptr(), path.len(), value, size) }
        })
    }

    /// The status of the response whose headers are passing.
    pub(crate) fn response_status(&mut self) -> Option<u64> {
        let status = self.header(number::MAP_RESPONSE_HEADERS, ":status")?;
        std::str::from_utf8(status).ok()?.parse().ok()
    }

    /// A header of the answer to an HTTP call.
    pub(crate) fn call_header(&mut self, name: &str) -> Option<&[u8]> {
        self.header(number::MAP_HTTP_CALL_RESPONSE_HEADERS, name)
    }

    fn header(&mut self, map: u32, name: &str) -> Option<&[u8]> {
        self.answered(|value, size| {
            // SAFETY: key and out pointers are valid for the call.
            unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), value, size) }
        })
    }

    /// The first `most` bytes of a buffer.
    pub(crate) fn buffer(&mut self, buffer: Buffer, most: usize) -> Option<Vec<u8>> {
        let bytes = self.answered(|value, size| {
            // SAFETY: the out pointers are valid for the call.
            unsafe { proxy_get_buffer_bytes(buffer as u32, 0, most, value, size) }
        })?;
        if bytes.len() <= SCRATCH {
            return Some(bytes.to_vec());
        }
        Some(std::mem::take(&mut self.large))
    }

    /// Sends an HTTP request; returns the token of its answer.
    pub(crate) fn http_call(
        &mut self,
        upstream: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        timeout_ms: u32,
    ) -> Option<u32> {
        let headers = serialize(headers);
        let trailers = serialize(&[]);
        let mut token = 0;
        // SAFETY: all pointers and sizes are of live slices, the out pointer is valid for the call.
        let status = unsafe {
            proxy_http_call(
                upstream.as_ptr(),
                upstream.len(),
                headers.as_ptr(),
                headers.len(),
                body.as_ptr(),
                body.len(),
                trailers.as_ptr(),
                trailers.len(),
                timeout_ms,
                &raw mut token,
            )
        };
        // Refused calls are counted by who wanted them.
        check(status).ok().filter(|&sent| sent).map(|_| token)
    }

    /// Makes a call that answers with bytes.
    fn answered(&mut self, call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<&[u8]> {
        self.large.clear();
        MEMORY.reset();
        let (mut value, mut size) = (ptr::null_mut(), 0);
        let status = call(&raw mut value, &raw mut size);
        if !self.note(check(status))? {
            return None;
        }
        let claimed = MEMORY.claim(value, size).ok_or(Failed);
        match self.note(claimed)? {
            Answer::Small(offset, size) => {
                // SAFETY: within the area, as `claim` has checked. The slice borrows `self`, and only a further call
                // through `self` lets the host write there again.
                Some(unsafe {
                    let start = MEMORY.scratch.get().cast::<u8>().add(offset);
                    std::slice::from_raw_parts(start, size)
                })
            }
            Answer::Large(bytes) => {
                self.large = bytes;
                Some(&self.large)
            }
        }
    }
}

/// Pairs in the ABI's form: count, sizes, then names and values, each ended by NUL; numbers are 32 bit little endian.
fn serialize(pairs: &[(&str, &str)]) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let size: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len() + 10)
        .sum();
    let mut bytes = Vec::with_capacity(4 + size);
    bytes.extend_from_slice(&number(pairs.len()));
    for (name, value) in pairs {
        bytes.extend_from_slice(&number(name.len()));
        bytes.extend_from_slice(&number(value.len()));
    }
    for (name, value) in pairs {
        for text in [name, value] {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
    }
    bytes
}
