//! Host calls and entry points against a host that answers as it likes, natively: so miri can look at every access to memory
//! (`cargo xtask miri`). What a module does in real hosts is shown elsewhere (`tests/filter/`).
#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::*;

/// How the host answers a call that asks for bytes.
#[derive(Clone, Debug)]
enum Says {
    /// These, in memory that it asked for.
    Bytes(Vec<u8>),
    /// Asks for memory once more than it uses, the first time for so much.
    Twice(usize, Vec<u8>),
    /// Names more bytes than it asked memory for.
    Longer(Vec<u8>, usize),
    /// Names memory of its own.
    Foreign,
    /// Names the memory of an earlier call.
    Stale,
    /// No bytes, and a status.
    Status(u32),
    /// Nothing written, and success.
    Nothing,
}

#[derive(Default)]
struct Host {
    says: VecDeque<Says>,
    last: Option<(*mut u8, usize)>,
    sent: Vec<Vec<u8>>,
    logged: Vec<String>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// There is one memory for host calls: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

fn host(says: impl IntoIterator<Item = Says>) -> MutexGuard<'static, ()> {
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = Host {
        says: says.into_iter().collect(),
        ..Host::default()
    };
    HOST.set(host);
    guard
}

/// Asks the filter for memory, and fills it.
fn place(bytes: &[u8]) -> Option<*mut u8> {
    let pointer = proxy_on_memory_allocate(bytes.len());
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the filter gave so much.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pointer, bytes.len()) }
    Some(pointer)
}

fn answer(value: *mut *mut u8, size: *mut usize) -> u32 {
    static OWN: [u8; 8] = *b"not ours";
    let (says, last) = HOST.with_borrow_mut(|host| (host.says.pop_front(), host.last));
    let told = |pointer: *mut u8, length: usize| {
        HOST.with_borrow_mut(|host| host.last = Some((pointer, length)));
        // SAFETY: the filter's out pointers are valid during a call.
        unsafe {
            *value = pointer;
            *size = length;
        }
        number::STATUS_OK
    };
    let placed = |bytes: &[u8], length| match place(bytes) {
        Some(pointer) => told(pointer, length),
        None => 10,
    };
    match says.unwrap_or(Says::Status(number::STATUS_NOT_FOUND)) {
        Says::Bytes(bytes) => placed(&bytes, bytes.len()),
        Says::Twice(first, bytes) => {
            place(&vec![b'x'; first]);
            placed(&bytes, bytes.len())
        }
        Says::Longer(bytes, length) => placed(&bytes, length),
        Says::Foreign => told(OWN.as_ptr().cast_mut(), OWN.len()),
        Says::Stale => last.map_or(number::STATUS_OK, |(pointer, length)| told(pointer, length)),
        Says::Status(status) => status,
        Says::Nothing => number::STATUS_OK,
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_property(
    _path: *const u8,
    _path_size: usize,
    value: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    answer(value, size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_buffer_bytes(
    _buffer: u32,
    _start: usize,
    _max_size: usize,
    value: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    answer(value, size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_header_map_value(
    _map: u32,
    _key: *const u8,
    _key_size: usize,
    value: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    answer(value, size)
}

fn read(pointer: *const u8, size: usize) -> Vec<u8> {
    // SAFETY: what the filter names is valid during a call.
    unsafe { std::slice::from_raw_parts(pointer, size) }.to_vec()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_log(_level: u32, message: *const u8, size: usize) -> u32 {
    let line = String::from_utf8(read(message, size)).unwrap();
    HOST.with_borrow_mut(|host| host.logged.push(line));
    number::STATUS_OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    // SAFETY: the filter's out pointer is valid during a call.
    unsafe { *time = 1_800_000_000_000_000_000 }
    number::STATUS_OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(_period: u32) -> u32 {
    number::STATUS_OK
}

#[unsafe(no_mangle)]
extern "C" fn proxy_http_call(
    upstream: *const u8,
    upstream_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    trailers: *const u8,
    trailers_size: usize,
    _timeout_ms: u32,
    token: *mut u32,
) -> u32 {
    let sent = [
        read(upstream, upstream_size),
        read(headers, headers_size),
        read(body, body_size),
        read(trailers, trailers_size),
    ];
    HOST.with_borrow_mut(|host| host.sent.extend(sent));
    // SAFETY: the filter's out pointer is valid during a call.
    unsafe { *token = 7 }
    number::STATUS_OK
}

#[unsafe(no_mangle)]
extern "C" fn __wasm_call_ctors() {}

fn property(says: impl IntoIterator<Item = Says>) -> (Vec<Option<Vec<u8>>>, u64) {
    let says: Vec<Says> = says.into_iter().collect();
    let count = says.len();
    let _host = host(says);
    let mut calls = HostCalls::enter();
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(calls.property(b"upstream\0address").map(<[u8]>::to_vec));
    }
    (answers, calls.errors)
}

fn bytes(length: usize) -> Vec<u8> {
    // Copied in few steps: miri takes its time for each.
    let mut bytes = b"0123456789".repeat(length / 10 + 1);
    bytes.truncate(length);
    bytes
}

#[test]
fn an_answer_of_any_length_is_read_whole() {
    let lengths = [0, 1, 15, SCRATCH - 1, SCRATCH, SCRATCH + 1, 5000, LARGEST];
    let (answers, errors) = property(lengths.map(|length| Says::Bytes(bytes(length))));
    assert_eq!(errors, 0);
    for (answer, length) in answers.into_iter().zip(lengths) {
        assert_eq!(answer, Some(bytes(length)), "{length}");
    }
}

#[test]
fn memory_that_is_asked_for_twice_is_neither_lost_nor_freed_twice() {
    for (first, second) in [(10, 20), (10, 5000), (5000, 10), (5000, 6000), (SCRATCH, 1)] {
        let (answers, errors) = property([
            Says::Twice(first, bytes(second)),
            Says::Bytes(bytes(second)),
        ]);
        assert_eq!(errors, 0, "{first} {second}");
        assert_eq!(answers, [Some(bytes(second)), Some(bytes(second))]);
    }
}

#[test]
fn memory_that_was_not_given_for_this_call_is_never_read() {
    for says in [
        Says::Foreign,
        Says::Longer(bytes(10), 11),
        Says::Longer(bytes(10), usize::MAX),
        Says::Longer(bytes(5000), 5001),
        Says::Bytes(bytes(LARGEST + 1)),
        Says::Status(2),
        Says::Status(u32::MAX),
    ] {
        let (answers, errors) = property([says.clone()]);
        assert_eq!((answers, errors), (vec![None], 1), "{says:?}");
    }
    for length in [100, 5000] {
        let (answers, errors) = property([Says::Bytes(bytes(length)), Says::Stale]);
        assert_eq!((answers[1].as_ref(), errors), (None, 1), "{length}");
    }
}

#[test]
fn nothing_is_nothing_and_no_failure() {
    let (answers, errors) = property([Says::Status(1), Says::Status(7), Says::Nothing]);
    assert_eq!((answers, errors), (vec![None, None, Some(vec![])], 0));
}

#[test]
fn a_buffer_is_taken_over_whatever_its_length() {
    for length in [0, 100, SCRATCH, 5000] {
        let _host = host([Says::Bytes(bytes(length))]);
        let taken = HostCalls::enter().buffer(Buffer::PluginConfiguration, 9);
        assert_eq!(taken, Some(bytes(length)));
    }
}

#[test]
fn a_call_hands_the_host_what_it_was_given() {
    let _host = host([]);
    let mut calls = HostCalls::enter();
    let token = calls.http_call("cluster", &[("a", "bc"), ("d", "")], b"body", 5);
    assert_eq!(token, Some(7));
    calls.log(LogLevel::Warn, "a line");
    assert_eq!(calls.errors, 0);
    HOST.with_borrow(|host| {
        let headers = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0a\0bc\0d\0\0";
        let sent: Vec<&[u8]> = host.sent.iter().map(Vec::as_slice).collect();
        assert_eq!(sent, [&b"cluster"[..], headers, b"body", &[0; 4]]);
        assert_eq!(host.logged, ["a line"]);
    });
}

/// As a host may answer at any time.
fn anything(state: &mut u64) -> Says {
    let mut next = |below: u64| {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*state >> 33) % below
    };
    let length = [0, 8, 15, 2000][usize::try_from(next(4)).unwrap()];
    match next(8) {
        0 => Says::Twice(length, bytes(8)),
        1 => Says::Longer(bytes(length), length + 1),
        2 => Says::Foreign,
        3 => Says::Stale,
        4 => Says::Status(u32::try_from(next(12)).unwrap()),
        5 => Says::Bytes(
            br#"{"gateway":"g","cluster":"c","controller":"c:1","token":"00"}"#.to_vec(),
        ),
        6 => Says::Bytes(b"10.0.0.1:80".to_vec()),
        _ => Says::Bytes(bytes(length)),
    }
}

#[test]
fn entry_points_stand_whatever_the_host_says_and_calls() {
    let mut state = 1;
    let _host = host([]);
    _initialize();
    for step in 0..200_u32 {
        let says: VecDeque<Says> = (0..12).map(|_| anything(&mut state)).collect();
        HOST.with_borrow_mut(|host| host.says = says);
        let (context, size) = (step % 5, step as usize * 37 % 3000);
        match step % 7 {
            0 => proxy_on_context_create(context, context / 2),
            1 => assert_eq!(proxy_on_configure(context, size), 1),
            2 => proxy_on_tick(context),
            3 => assert_eq!(
                proxy_on_response_headers(context, 0, step % 2),
                number::ACTION_CONTINUE
            ),
            4 => assert_eq!(proxy_on_done(context), 1),
            5 => proxy_on_http_call_response(context, 7, step % 3, size, 0),
            // Contexts that were never made.
            _ => proxy_on_tick(context + 1000),
        }
    }
}
