//! Envoy's behaviours.

use gaugeway_guest::{
    Ending, Personality, Request, Stop, abi::callback as cb, controller::Fate, sim::Options,
};
use gaugeway_wire::units::Nanos;

use crate::tiny::{Tiny, letters, values};

const ENVOY: Personality = Personality::Envoy;
const MS: fn(u64) -> Nanos = Nanos::from_millis;

#[test]
fn callbacks_come_in_envoys_order() {
    let mut sim = Tiny::new().sim(ENVOY);
    assert_eq!(letters(&mut sim, 0), "cSC");
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    assert_eq!(letters(&mut sim, 0), "cqrldx");
    sim.exchange(
        &Request::to("10.0.0.1:80")
            .ending(Ending::Cancelled)
            .shared(),
    );
    assert_eq!(
        letters(&mut sim, 0),
        "cqldx",
        "no response headers for a client that left"
    );
    sim.exchange(&Request::without_address("a/b/80", Ending::DeniedBefore(403)).shared());
    assert_eq!(letters(&mut sim, 0), "cldx", "denied before the filter");
    sim.exchange(&Request::without_address("a/b/80", Ending::Overflow).shared());
    assert_eq!(
        letters(&mut sim, 0),
        "cqrldx",
        "local replies pass the filter"
    );
}

#[test]
fn callbacks_that_are_not_exported_are_skipped() {
    let tiny = Tiny::new()
        .without(cb::REQUEST_HEADERS)
        .without(cb::DONE)
        .without(cb::LOG);
    let mut sim = tiny.sim(ENVOY);
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    assert_eq!(letters(&mut sim, 0), "cSCcrx");
}

#[test]
fn attributes_are_there_in_their_phases_only() {
    let paths = [
        "upstream\0address",
        "response\0code",
        "response\0backend_latency",
    ];
    let tiny = [
        cb::REQUEST_HEADERS,
        cb::RESPONSE_HEADERS,
        cb::LOG,
        cb::DELETE,
        cb::CONFIGURE,
    ]
    .into_iter()
    .flat_map(|callback| paths.map(|path| (callback, path)))
    .fold(Tiny::new(), |tiny, (callback, path)| {
        tiny.reads(callback, path)
    });
    let mut sim = tiny.sim(ENVOY);
    assert_eq!(values(&mut sim, 0), ["!1", "!1", "!1"], "a root has none");
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    let code = String::from_utf8(200_i64.to_le_bytes().to_vec());
    let code = code.unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    let got = values(&mut sim, 0);
    assert_eq!(
        got[..6],
        ["!1", "!1", "!1", "10.0.0.1:80", code.as_str(), "!1"]
    );
    assert_eq!(got[6..8], ["10.0.0.1:80", code.as_str()]);
    assert!(!got[8].starts_with('!'), "backend latency is there at last");
    assert_eq!(got[9..], ["!1", "!1", "!1"], "nothing in delete");
}

#[test]
fn addresses_stay_after_failures_and_are_absent_where_none_was_chosen() {
    let mut sim = Tiny::new().reads(cb::LOG, "upstream\0address").sim(ENVOY);
    for (ending, address) in [
        (Ending::ConnectFailure, "10.0.0.1:80"),
        (Ending::Timeout, "10.0.0.1:80"),
        (Ending::Cancelled, "10.0.0.1:80"),
        (Ending::Overflow, "!1"),
        (Ending::NoEndpoint, "!1"),
        (Ending::Local(301), "!1"),
    ] {
        sim.exchange(&Request::to("10.0.0.1:80").ending(ending).shared());
        assert_eq!(values(&mut sim, 0), [address], "{ending:?}");
    }
}

#[test]
fn a_configuration_runs_in_a_canary_first_and_on_the_main_thread_too() {
    let tiny = Tiny::new().sets_period(cb::CONFIGURE, 100);
    let mut sim = tiny.sim(ENVOY);
    sim.advance(MS(250));
    assert_eq!(letters(&mut sim, 0), "cSCtt");
    let main = sim.main_thread();
    assert_eq!(
        letters(&mut sim, main),
        "cSCtt",
        "the main thread's VM ticks"
    );
    let meter = sim.meter();
    assert_eq!(
        meter.entries[cb::CONFIGURE],
        3,
        "worker, main thread, canary"
    );
    assert_eq!(meter.entries[cb::TICK], 4, "the canary never ticks");
}

#[test]
fn a_new_configuration_starts_again_in_the_live_instance_and_the_old_root_lives_until_drained() {
    let tiny = Tiny::new().sets_period(cb::CONFIGURE, 100);
    let mut sim = tiny.sim(ENVOY);
    let streaming = Request::to("10.0.0.1:80").stream(MS(10_000)).shared();
    sim.send(0, &streaming);
    assert_eq!(letters(&mut sim, 0), "cSCcq");
    sim.configure("main", "{}");
    assert_eq!(
        letters(&mut sim, 0),
        "cSC",
        "vm_start again, statics intact"
    );
    sim.advance(MS(110));
    assert_eq!(letters(&mut sim, 0), "rtt", "both roots tick");
    sim.drain();
    assert_eq!(letters(&mut sim, 0), "dx");
    sim.advance(MS(100));
    assert_eq!(letters(&mut sim, 0), "t");
    sim.advance(MS(10_000));
    assert!(
        letters(&mut sim, 0).contains("ldx"),
        "the request outlived its root's configuration"
    );
}

#[test]
fn the_tick_period_can_change_and_stop() {
    let tiny = Tiny::new()
        .sets_period(cb::CONFIGURE, 100)
        .sets_period(cb::REQUEST_HEADERS, 0);
    let mut sim = tiny.sim(ENVOY);
    sim.advance(MS(100));
    sim.configure("main", "{}");
    letters(&mut sim, 0);
    // A request's context cannot set it.
    sim.send(0, &Request::to("10.0.0.1:80").shared());
    sim.advance(MS(200));
    assert_eq!(letters(&mut sim, 0).matches('t').count(), 4);
    let stops = Tiny::new()
        .sets_period(cb::CONFIGURE, 100)
        .sets_period(cb::TICK, 0);
    let mut sim = stops.sim(ENVOY);
    sim.advance(MS(1000));
    assert_eq!(letters(&mut sim, 0), "cSCt");
}

#[test]
fn calls_go_to_known_clusters_and_fail_as_envoys_client_does() {
    let base = || {
        Tiny::new()
            .sets_period(cb::CONFIGURE, 100)
            .reads_answer_header(":status")
    };
    let mut sim = base().dispatches(cb::TICK, "nobody").sim(ENVOY);
    sim.advance(MS(100));
    assert_eq!(
        values(&mut sim, 0),
        ["!2"],
        "an unknown cluster is BadArgument"
    );

    let known = base()
        .dispatches(cb::TICK, "gaugeway-controller")
        .sets_period(cb::TICK, 0);
    for (fate, status, after) in [
        (
            Fate::Answer {
                status: 503,
                body: Vec::new(),
            },
            "503",
            10,
        ),
        (Fate::LoseRequest, "504", 1000),
        (Fate::Reset, "!1", 10),
    ] {
        let mut sim = known.sim(ENVOY);
        sim.controller.fate = fate;
        sim.advance(MS(100));
        values(&mut sim, 0);
        sim.advance(MS(after));
        assert_eq!(values(&mut sim, 0), [status]);
    }
    let mut sim = known.sim(ENVOY);
    sim.host(0).unwrap().refuse_dispatch = true;
    sim.advance(MS(100));
    assert_eq!(
        values(&mut sim, 0),
        ["!:"],
        "InternalFailure when the cluster has no host"
    );
}

#[test]
fn a_trap_ends_the_vm_and_reload_makes_a_new_one() {
    let tiny = Tiny::new().does(cb::LOG, "unreachable");
    let mut sim = tiny.sim(ENVOY);
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    let failures = sim.take_failures();
    assert!(
        matches!(failures[..], [ref f] if f.callback == cb::LOG && matches!(f.stop, Stop::Trap(_)))
    );
    assert!(sim.host(0).is_none(), "FAIL_OPEN: the filter is gone");
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    assert_eq!(sim.take_failures(), []);

    let mut sim = tiny.sim_with(
        ENVOY,
        Options {
            reload: true,
            ..Options::default()
        },
    );
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    assert_eq!(sim.take_failures().len(), 1);
    sim.send(0, &Request::to("10.0.0.1:80").shared());
    assert_eq!(
        letters(&mut sim, 0),
        "cSCcq",
        "started anew for the next request"
    );
}

#[test]
#[should_panic(expected = "nobody took these failures")]
fn a_failure_that_nobody_takes_fails_the_test() {
    let mut sim = Tiny::new().does(cb::LOG, "unreachable").sim(ENVOY);
    sim.exchange(&Request::to("10.0.0.1:80").shared());
}

#[test]
fn costs_are_counted_exactly() {
    let mut sim = Tiny::new().reads(cb::LOG, "upstream\0address").sim(ENVOY);
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    sim.take_meter(0);
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    let meter = sim.take_meter(0);
    assert_eq!(meter.entry_count(), 6);
    assert_eq!(meter.host_calls["proxy_get_property"], 1);
    assert_eq!((meter.allocator_entries, meter.allocated_bytes), (1, 11));
    let again = {
        sim.exchange(&Request::to("10.0.0.1:80").shared());
        sim.take_meter(0)
    };
    assert_eq!(meter, again, "same request, same cost, to the instruction");
}
