//! An ordinary request allocates nothing once its series exists.
#![allow(unsafe_code, reason = "a global allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use gaugeway_filter_core::{
    ContextId, Instance, Limits,
    envoy::{Attributes, Flags},
    host::{CallToken, Calls, Clock, Entropy, Level, Log, Names, Post},
    identity::Metadata,
};
use gaugeway_wire::UnixNanos;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Host {
    now: u64,
    address: &'static [u8],
}

impl Clock for Host {
    fn now(&mut self) -> UnixNanos {
        self.now += 1_000_000;
        UnixNanos(self.now)
    }
}

impl Names for Host {
    fn metadata(&mut self, _of: Metadata) -> Option<&[u8]> {
        None
    }

    fn cluster(&mut self) -> Option<&[u8]> {
        Some(b"c")
    }
    fn route(&mut self) -> Option<&[u8]> {
        Some(b"r")
    }
}

impl Attributes for Host {
    fn address(&mut self) -> Option<&[u8]> {
        Some(self.address)
    }
    fn status(&mut self) -> Option<u64> {
        Some(200)
    }
    fn code(&mut self) -> Option<u64> {
        Some(200)
    }
    fn flags(&mut self) -> Flags {
        Flags::NONE
    }
    fn attempts(&mut self) -> u64 {
        1
    }
    fn is_via_upstream(&mut self) -> bool {
        true
    }
}

impl Entropy for Host {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        bytes.fill(7);
        true
    }
}

impl Log for Host {
    fn log(&mut self, _level: Level, _line: &str) {}
}

impl Calls for Host {
    fn post(&mut self, _post: &Post<'_>) -> Option<CallToken> {
        None
    }
}

fn request(instance: &mut Instance, context: u32, host: &mut Host) {
    let context = ContextId(context);
    instance.on_context_create(context, Some(ContextId(1)), host);
    instance.on_response_headers(context, false, host);
    instance.on_done(context, host);
}

#[test]
fn an_ordinary_request_allocates_nothing() {
    let mut host = Host {
        now: 1 << 60,
        address: b"",
    };
    for route in ["false", "true"] {
        let mut instance = Instance::new(Limits::DEFAULT);
        let config = format!(r#"{{"gateway":"g","cluster":"c","policy":{{"route":{route}}}}}"#);
        instance.on_context_create(ContextId(1), None, &mut host);
        instance.on_configure(ContextId(1), config.as_bytes(), &mut host);
        let addresses: [&[u8]; 3] = [b"10.0.0.1:80", b"10.0.0.2:80", b"[fd00::1]:8080"];
        let mut context = 1;
        let mut round = |instance: &mut Instance, host: &mut Host| {
            for address in addresses {
                host.address = address;
                context += 1;
                request(instance, context, host);
            }
        };
        round(&mut instance, &mut host);
        instance.on_tick(ContextId(1), &mut host);
        let before = COUNT.get();
        for _ in 0..1000 {
            round(&mut instance, &mut host);
        }
        assert_eq!(COUNT.get() - before, 0, "route: {route}");
    }
}
