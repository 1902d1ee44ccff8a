//! WasmX's behaviours: attributes as strings, and each way to take the worker down.

use gaugeway_guest::{
    Ending, GuestModule, LoadError, Personality, Request, Sim, Stop, abi::callback as cb,
    controller::Fate, request::Try,
};
use gaugeway_wire::units::Nanos;

use crate::tiny::{Tiny, letters, values};

const WASMX: Personality = Personality::WasmX;
const MS: fn(u64) -> Nanos = Nanos::from_millis;

fn request(address: &str) -> Request {
    let mut request = Request::to(address);
    request.tries = vec![Try::answered(address, 200, MS(3))];
    request
}

/// What ended the process.
fn death(sim: &mut Sim) -> String {
    match sim.take_failures().as_slice() {
        [failure] => match &failure.stop {
            Stop::Death(why) => why.clone(),
            Stop::Trap(why) => panic!("only a trap: {why}"),
        },
        other => panic!("{other:?}"),
    }
}

fn trap(sim: &mut Sim) -> String {
    match sim.take_failures().as_slice() {
        [failure] => match &failure.stop {
            Stop::Trap(why) => why.clone(),
            Stop::Death(why) => panic!("a death: {why}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn attributes_are_strings_and_lists_of_all_tries() {
    let paths = [
        "ngx.upstream_addr",
        "ngx.upstream_status",
        "ngx.upstream_header_time",
        "response.code",
    ];
    let tiny = [cb::REQUEST_HEADERS, cb::LOG]
        .into_iter()
        .flat_map(|callback| paths.map(|path| (callback, path)))
        .fold(Tiny::new(), |tiny, (callback, path)| {
            tiny.reads(callback, path)
        });
    let mut sim = tiny.sim(WASMX);
    sim.exchange(
        &request("10.0.0.2:80")
            .tried(Try::refused("10.0.0.1:80"))
            .shared(),
    );
    assert_eq!(
        values(&mut sim, 0),
        [
            "!1",
            "!1",
            "!1",
            "000",
            "10.0.0.1:80, 10.0.0.2:80",
            "502, 200",
            "-, 0.003",
            "200"
        ]
    );
    sim.exchange(&request("10.0.0.2:80").ending(Ending::Cancelled).shared());
    assert_eq!(values(&mut sim, 0).last().unwrap(), "499");
}

#[test]
fn kong_made_errors_leave_an_orphan() {
    let mut sim = Tiny::new().sim(WASMX);
    letters(&mut sim, 0);
    sim.exchange(&request("10.0.0.1:80").shared());
    assert_eq!(letters(&mut sim, 0), "cqrBdlx");
    for ending in [Ending::Timeout, Ending::Reset, Ending::ConnectFailure] {
        sim.exchange(&request("10.0.0.1:80").ending(ending).shared());
        assert_eq!(letters(&mut sim, 0), "cqx", "{ending:?}");
    }
    sim.exchange(&Request::without_address("svc", Ending::NoEndpoint).shared());
    assert_eq!(
        letters(&mut sim, 0),
        "cdlx",
        "no target: the log without request headers"
    );
    sim.exchange(&request("10.0.0.1:80").ending(Ending::Local(301)).shared());
    assert_eq!(
        letters(&mut sim, 0),
        "",
        "answered by another plugin: not run"
    );
}

#[test]
fn a_property_read_in_delete_ends_the_process() {
    let mut sim = Tiny::new().reads(cb::DELETE, "response.code").sim(WASMX);
    sim.exchange(&request("10.0.0.1:80").ending(Ending::Reset).shared());
    assert!(death(&mut sim).contains("response.code"));
    assert!(sim.host(0).is_none());
    sim.send(0, &request("10.0.0.1:80").shared());
    assert_eq!(sim.take_failures(), [], "nothing is left to fail");
}

#[test]
fn missing_callbacks_are_called_through_null() {
    let cut = Ending::CutByUpstream(200);
    for (name, ending) in [
        (cb::REQUEST_HEADERS, cut),
        (cb::RESPONSE_HEADERS, cut),
        (cb::RESPONSE_BODY, cut),
        (cb::LOG, cut),
        (cb::DONE, cut),
        (cb::DELETE, Ending::Reset),
    ] {
        let mut sim = Tiny::new().without(name).sim(WASMX);
        sim.exchange(&request("10.0.0.1:80").ending(ending).shared());
        assert!(death(&mut sim).contains(name));
    }
    // Ticks are looked up first.
    let mut sim = Tiny::new()
        .without(cb::TICK)
        .sets_period(cb::CONFIGURE, 100)
        .sim(WASMX);
    sim.advance(MS(300));
    assert_eq!(letters(&mut sim, 0), "cSC");
}

#[test]
fn modules_that_kong_does_without_or_does_not_survive() {
    for name in [
        cb::ABI_VERSION,
        cb::VM_START,
        cb::CONFIGURE,
        cb::CONTEXT_CREATE,
        cb::ALLOCATE,
    ] {
        let wasm = Tiny::new().without(name).wasm();
        let error = GuestModule::load(&wasm, WASMX).unwrap_err();
        assert!(
            matches!(error, LoadError::Export(missing) if missing == name),
            "{error}"
        );
    }
    let level = Tiny::new()
        .import(r#"(import "env" "proxy_get_log_level" (func (param i32) (result i32)))"#)
        .wasm();
    assert!(matches!(
        GuestModule::load(&level, WASMX),
        Err(LoadError::Death(_))
    ));
    assert!(GuestModule::load(&level, Personality::Envoy).is_ok());
}

#[test]
fn forbidden_reads() {
    for path in ["upstream.address", "upstream.port"] {
        let mut sim = Tiny::new().reads(cb::LOG, path).sim(WASMX);
        sim.exchange(&request("10.0.0.1:80").shared());
        assert!(death(&mut sim).contains(path));
    }
    for (path, callback) in [
        ("kong.response.source", cb::LOG),
        ("kong.service.response.status", cb::REQUEST_HEADERS),
    ] {
        let mut sim = Tiny::new().reads(callback, path).sim(WASMX);
        sim.exchange(&request("10.0.0.1:80").shared());
        assert!(trap(&mut sim).contains(path));
    }
}

#[test]
fn kong_properties_go_through_lua() {
    let path = "kong.service_name";
    for callback in [cb::REQUEST_HEADERS, cb::RESPONSE_HEADERS, cb::LOG] {
        let mut sim = Tiny::new().reads(callback, path).sim(WASMX);
        sim.exchange(&request("10.0.0.1:80").shared());
        assert!(death(&mut sim).contains(path));
    }
}

#[test]
fn roots_have_no_request() {
    let mut sim = Tiny::new()
        .reads(cb::CONFIGURE, "ngx.upstream_addr")
        .reads(cb::CONFIGURE, "kong.service_name")
        .sim(WASMX);
    assert_eq!(
        values(&mut sim, 0),
        ["!:", "!:"],
        "status 10, which the SDK unwraps"
    );
    let mut sim = Tiny::new().reads(cb::CONFIGURE, "response.code").sim(WASMX);
    assert!(death(&mut sim).contains("response.code"));
}

#[test]
fn old_roots_tick_for_ever() {
    let mut sim = Tiny::new().sets_period(cb::CONFIGURE, 100).sim(WASMX);
    sim.configure("main", "{}");
    sim.configure("main", "{}");
    letters(&mut sim, 0);
    sim.advance(MS(100_000));
    assert_eq!(letters(&mut sim, 0), "t".repeat(3000));
}

#[test]
fn a_second_tick_period_traps_and_zero_then_a_period_doubles_the_timer() {
    let other = Tiny::new()
        .sets_period(cb::CONFIGURE, 100)
        .sets_period(cb::TICK, 200);
    let mut sim = other.sim(WASMX);
    sim.advance(MS(100));
    assert!(trap(&mut sim).contains("period"));
    let doubled = Tiny::new()
        .sets_period(cb::CONFIGURE, 100)
        .sets_period(cb::REQUEST_HEADERS, 7)
        .sets_period(cb::CONFIGURE, 0)
        .sets_period(cb::CONFIGURE, 100);
    let mut sim = doubled.sim(WASMX);
    letters(&mut sim, 0);
    sim.advance(MS(1000));
    assert_eq!(letters(&mut sim, 0), "t".repeat(20));
}

#[test]
fn after_a_trap_the_instance_is_configured_but_not_started_and_ticks_come_twice() {
    let tiny = Tiny::new()
        .sets_period(cb::CONFIGURE, 100)
        .does(cb::RESPONSE_BODY, "unreachable");
    let mut sim = tiny.sim(WASMX);
    sim.exchange(&request("10.0.0.1:80").stream(Nanos(0)).shared());
    trap(&mut sim);
    sim.send(0, &request("10.0.0.1:80").ending(Ending::Reset).shared());
    assert_eq!(letters(&mut sim, 0), "cCcq");
    sim.advance(MS(1000));
    let ticks = letters(&mut sim, 0).matches('t').count();
    assert!((19..=21).contains(&ticks), "{ticks}");
}

#[test]
fn calls_leave_from_roots_only_and_failures_show_in_the_dispatch_status() {
    let mut sim = Tiny::new().dispatches(cb::LOG, "127.0.0.1:8080").sim(WASMX);
    sim.exchange(&request("10.0.0.1:80").shared());
    assert!(death(&mut sim).contains("dispatched"));
    let mut sim = Tiny::new()
        .sets_period(cb::CONFIGURE, 100)
        .dispatches(cb::TICK, "127.0.0.1:8080")
        .dispatches(cb::HTTP_CALL_RESPONSE, "127.0.0.1:8080")
        .sim(WASMX);
    sim.advance(MS(1000));
    assert!(death(&mut sim).contains("in the answer"));

    let tiny = Tiny::new()
        .sets_period(cb::CONFIGURE, 100)
        .dispatches(cb::TICK, "127.0.0.1:8080")
        .sets_period(cb::TICK, 0)
        .reads_answer_header(":dispatch_status")
        .reads_answer_header(":status");
    for (fate, read) in [
        (Fate::LoseRequest, ["timeout", "!1"]),
        (Fate::Reset, ["broken connection", "!1"]),
        (
            Fate::Answer {
                status: 200,
                body: Vec::new(),
            },
            ["!1", "200"],
        ),
    ] {
        let mut sim = tiny.sim(WASMX);
        sim.controller.fate = fate;
        sim.advance(MS(100));
        values(&mut sim, 0);
        sim.advance(MS(1000));
        assert_eq!(values(&mut sim, 0), read);
    }
}

#[test]
fn calls_of_the_abi_that_trap() {
    for name in ["proxy_get_status", "proxy_done"] {
        let import = format!(r#"(import "env" "{name}" (func $odd (result i32)))"#);
        let mut sim = Tiny::new()
            .import(&import)
            .does(cb::LOG, "(drop (call $odd))")
            .sim(WASMX);
        sim.exchange(&request("10.0.0.1:80").shared());
        assert!(trap(&mut sim).contains(name));
    }
}

#[test]
fn the_clock_has_whole_milliseconds_with_a_little_noise() {
    let tiny = Tiny::new().does(
        cb::TICK,
        "(drop (call $time (i32.const 40)))
         (i32.store (i32.const 16) (i32.const 40)) (i32.store (i32.const 20) (i32.const 8))
         (i32.store (i32.const 48) (i32.wrap_i64 (i64.rem_u (i64.load (i32.const 40)) (i64.const 1000000))))
         (if (i32.and (i32.gt_u (i32.load (i32.const 48)) (i32.const 128))
                      (i32.lt_u (i32.load (i32.const 48)) (i32.const 999872)))
           (then unreachable))",
    );
    let mut sim = tiny.sets_period(cb::CONFIGURE, 100).sim(WASMX);
    sim.advance(Nanos(100_777_777));
    sim.advance(MS(10_000));
    assert_eq!(sim.take_failures(), []);
    assert!(letters(&mut sim, 0).len() > 90);
}

#[test]
fn many_roots_share_one_instance_per_worker() {
    let mut sim = Tiny::new().sim(WASMX);
    for plugin in 0..5 {
        sim.configure(&format!("route-{plugin}"), "{}");
    }
    assert_eq!(letters(&mut sim, 0), "cSC".repeat(6));
    sim.exchange(&request("10.0.0.1:80").plugin("route-3").shared());
    assert_eq!(letters(&mut sim, 0), "cqrBdlx");
}

#[test]
fn a_collected_plan_takes_the_instance_and_contexts_come_anew_when_they_are_entered() {
    let mut sim = Tiny::new().sim(WASMX);
    sim.configure("route", "{}");
    let answered = request("10.0.0.1:80").plugin("route");
    sim.send(0, &answered.clone().shared());
    sim.send(0, &answered.ending(Ending::Reset).shared());
    letters(&mut sim, 0);
    sim.collect_plan(0);
    sim.advance(MS(1000));
    // The route's root, configured but not started, then the request; the orphan is not heard of.
    assert_eq!(letters(&mut sim, 0), "cCcrBdlx");
    sim.collect_plan(0);
    sim.exchange(&request("10.0.0.1:80").shared());
    assert_eq!(letters(&mut sim, 0), "cCcqrBdlx");
}
