//! What the modules of both hosts export and import: one name too few or too many ends Kong's workers.

use std::collections::BTreeSet;

use gaugeway_guest::{Personality, abi::callback as cb};

use crate::scene::load;

/// What WASI gives: randomness, and what Rust's standard library refers to.
fn is_of_wasi(name: &str) -> bool {
    !name.starts_with("proxy_")
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn kongs_module_has_every_callback_that_kong_calls_unchecked() {
    let module = load(Personality::WasmX);
    let needed = set([
        cb::ABI_VERSION,
        cb::INITIALIZE,
        cb::ALLOCATE,
        cb::CONTEXT_CREATE,
        cb::VM_START,
        cb::CONFIGURE,
        cb::TICK,
        cb::REQUEST_HEADERS,
        cb::REQUEST_BODY,
        cb::RESPONSE_HEADERS,
        cb::RESPONSE_BODY,
        cb::HTTP_CALL_RESPONSE,
        cb::DONE,
        cb::LOG,
        cb::DELETE,
    ]);
    assert_eq!(module.exports, needed);
}

#[test]
fn envoys_module_has_those_that_do_something() {
    let module = load(Personality::Envoy);
    let needed = set([
        cb::ABI_VERSION,
        cb::INITIALIZE,
        cb::ALLOCATE,
        cb::CONTEXT_CREATE,
        cb::CONFIGURE,
        cb::TICK,
        cb::RESPONSE_HEADERS,
        cb::HTTP_CALL_RESPONSE,
        cb::DONE,
    ]);
    assert_eq!(module.exports, needed);
}

/// `proxy_get_log_level` ends workers; shared data, queues, gRPC, `proxy_done` and foreign functions trap; metrics and
/// whatever changes traffic are not for a filter that watches.
#[test]
fn nothing_is_imported_that_a_watcher_does_not_need() {
    let both = set([
        "proxy_get_buffer_bytes",
        "proxy_get_current_time_nanoseconds",
        "proxy_get_header_map_value",
        "proxy_get_property",
        "proxy_http_call",
        "proxy_log",
        "proxy_set_tick_period_milliseconds",
    ]);
    for host in [Personality::Envoy, Personality::WasmX] {
        let mut imports = load(host).imports.clone();
        imports.retain(|name| !is_of_wasi(name));
        assert_eq!(imports, both, "{host:?}");
    }
}
