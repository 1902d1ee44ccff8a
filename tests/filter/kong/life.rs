//! Life cycle of workers and roots in Kong: roots that are never deleted, timers that nobody else stops, instances made
//! anew after a trap, calls that each cost memory.

use gaugeway_guest::{Ending, Sim, abi::callback, controller::Fate, sim::Options};
use gaugeway_wire::report::FilterCounter;

use super::{SERVICE, identified, own_service, sim, sim_with, to};
use crate::scene::{MS, own, reported};

fn calls(sim: &Sim) -> u64 {
    sim.controller.calls.values().sum()
}

/// Ticks of worker 0 in ten seconds.
fn ticks(sim: &mut Sim) -> u64 {
    sim.take_meter(0);
    sim.advance(MS(10_000));
    sim.take_meter(0).entries[callback::TICK]
}

#[test]
fn one_call_per_interval_and_none_before_the_first_request() {
    let mut sim = sim_with(Options {
        workers: 3,
        ..Options::default()
    });
    sim.advance(MS(300_000));
    assert_eq!(calls(&sim), 0);
    for n in 0..600 {
        let n = n % 100;
        own(&mut sim, n);
        sim.send(0, &to(n).shared());
        sim.advance(MS(1_000));
    }
    let made = calls(&sim);
    assert!((40..=42).contains(&made), "{made} in 600 s");
    assert_eq!(sim.controller.calls.len(), 1, "{:?}", sim.controller.calls);
    assert_eq!(sim.controller.vms().len(), 1, "the others never served");
    sim.assert_all_reported();
    // A slow heartbeat.
    sim.advance(MS(60_000));
    let before = calls(&sim);
    sim.advance(MS(600_000));
    let beats = calls(&sim) - before;
    assert!((1..=10).contains(&beats), "{beats} in 600 s");
}

#[test]
fn a_second_start_of_the_instance_changes_nothing() {
    for start_every_root in [false, true] {
        let mut sim = sim_with(Options {
            start_every_root,
            ..Options::default()
        });
        own(&mut sim, 1);
        for round in 0..10 {
            sim.exchange(&to(1).shared());
            let configuration = identified(&sim.controller, SERVICE);
            sim.configure(&format!("plugin-{round}"), &configuration);
        }
        sim.assert_all_reported();
        assert_eq!(sim.controller.vms().len(), 1);
    }
}

#[test]
fn replaced_roots_stop_themselves_and_lose_nothing() {
    let mut sim = sim();
    own(&mut sim, 1);
    let before = ticks(&mut sim);
    let configuration = identified(&sim.controller, SERVICE);
    let streaming = to(1).stream(MS(100_000)).shared();
    for _ in 0..50 {
        sim.send(0, &streaming);
        sim.configure("main", &configuration);
        sim.exchange(&to(1).ending(Ending::Reset).shared());
        sim.advance(MS(700));
    }
    sim.advance(MS(5_000));
    assert_eq!(ticks(&mut sim), before, "as with one root");
    sim.advance(MS(100_000));
    sim.assert_all_reported();
    assert_eq!(sim.controller.vms().len(), 1);
    assert_eq!(sim.controller.ledger.totals.request_count(), 100);
}

/// One route per namespace, each with its own Service: one table, one reporter, one tick.
#[test]
fn hundreds_of_configurations_share_one_reporter() {
    const ROUTES: usize = 300;
    let mut sim = sim();
    let alone = ticks(&mut sim);
    let mut services = Vec::new();
    for n in 0..ROUTES {
        let service = format!("ns-{n}/app");
        services.push(own_service(&mut sim, &service));
        let configuration = identified(&sim.controller, &service);
        sim.configure(&format!("route-{n}"), &configuration);
    }
    sim.advance(MS(5_000));
    assert_eq!(ticks(&mut sim), alone);
    let before = calls(&sim);
    for n in 0..ROUTES {
        let request = to(n).plugin(&format!("route-{n}"));
        let request = request.cluster(&format!("ns-{n}/app"));
        own(&mut sim, n);
        sim.exchange(&request.clone().shared());
        sim.exchange(&request.ending(Ending::ConnectFailure).shared());
    }
    sim.advance(MS(60_000));
    sim.assert_all_reported();
    assert!(services.iter().all(|&service| reported(&sim, service) == 1));
    assert_eq!(sim.controller.vms().len(), 1);
    // After new configurations there may be 60 before their time.
    assert!(calls(&sim) - before < 80, "{}", calls(&sim) - before);
}

#[test]
fn after_a_trap_the_instance_starts_clean_and_ticks_that_come_twice_do_nothing() {
    let mut sim = sim();
    let target = own(&mut sim, 1);
    sim.exchange(&to(1).shared());
    sim.advance(MS(40_000));
    assert_eq!(reported(&sim, target), 1, "acknowledged before the loss");
    for round in 1..=4 {
        sim.lose_vm(0);
        for _ in 0..10 {
            sim.exchange(&to(1).shared());
        }
        sim.advance(MS(60_000));
        assert_eq!(reported(&sim, target), 1 + round * 10);
    }
    assert_eq!(sim.controller.vms().len(), 5, "each with its own identity");
    assert_eq!(sim.controller.violations, Vec::<String>::new());
    // Five timers, one of them at work: all others read the clock and no more.
    assert_eq!(ticks(&mut sim), 5 * 20);
    let before = calls(&sim);
    for _ in 0..300 {
        sim.exchange(&to(1).shared());
        sim.advance(MS(1_000));
    }
    let made = calls(&sim) - before;
    assert!((20..=22).contains(&made), "{made} in 300 s");
}

#[test]
fn a_collected_plan_loses_what_came_after_the_last_report_and_no_more() {
    let mut sim = sim();
    let target = own(&mut sim, 1);
    sim.exchange(&to(1).shared());
    sim.advance(MS(60_000));
    let mut sent = 1;
    let configuration = identified(&sim.controller, SERVICE);
    for round in 0..4 {
        // Counted by the old instance, reported since the configuration changes.
        sim.exchange(&to(1).shared());
        sim.configure("main", &configuration);
        sim.advance(MS(6_000));
        // Its instance goes while it is under way.
        sim.send(0, &to(1).wait(MS(100)).shared());
        sim.collect_plan(0);
        sim.advance(MS(200));
        if round % 2 == 0 {
            sim.advance(MS(60_000));
        }
        sim.exchange(&to(1).shared());
        sim.advance(MS(60_000));
        sent += 3;
        assert_eq!(reported(&sim, target), sent, "round {round}");
    }
    assert_eq!(sim.controller.violations, Vec::<String>::new());
    assert_eq!(sim.controller.vms().len(), 5);
    // What was not reported yet is what is lost.
    sim.exchange(&to(1).shared());
    sim.collect_plan(0);
    sim.exchange(&to(1).shared());
    sim.advance(MS(60_000));
    assert_eq!(reported(&sim, target), sent + 1);
}

#[test]
fn a_controller_that_is_away_for_long_costs_patience_not_counts() {
    let mut sim = sim();
    own(&mut sim, 1);
    for fate in [Fate::Reset, Fate::LoseRequest] {
        sim.controller.fate = fate;
        sim.take_meter(0);
        for _ in 0..300 {
            sim.exchange(&to(1).shared());
            sim.advance(MS(1_000));
        }
        let made = sim.take_meter(0).host_calls["proxy_http_call"];
        assert!(made <= 21, "{made} calls in 300 s without an answer");
    }
    let lines = &sim.host(0).unwrap().log;
    assert!(lines.len() <= 2, "one line per cause: {lines:?}");
    sim.controller.fate = Fate::Deliver;
    sim.advance(MS(200_000));
    sim.assert_all_counted();
    assert_eq!(sim.controller.ledger.totals.request_count(), 600);
}

#[test]
fn a_configuration_that_cannot_be_used_records_nothing_and_harms_nothing() {
    let mut sim = sim();
    let good = identified(&sim.controller, SERVICE);
    let huge = format!("{{\"gateway\":\"{}\"}}", "x".repeat(300_000));
    let envoys = r#"{"gateway":"g","cluster":"c"}"#;
    for bad in ["", "{", "[]", "null", "\u{0}", envoys, &huge] {
        sim.configure("main", bad);
        for ending in [Ending::Response(200), Ending::Reset, Ending::Cancelled] {
            sim.exchange(&to(1).ending(ending).shared());
        }
        sim.advance(MS(1_000));
    }
    assert_eq!(calls(&sim), 0);
    let said = &sim.host(0).unwrap().log;
    assert_eq!(said.len(), 7, "once per configuration: {said:?}");
    sim.configure("main", &good);
    own(&mut sim, 2);
    sim.exchange(&to(2).shared());
    sim.advance(MS(60_000));
    assert_eq!(sim.controller.ledger.totals.request_count(), 1);
    let counted = sim
        .controller
        .ledger
        .counter(FilterCounter::BadConfigurations);
    assert_eq!(counted, 7);
}

/// Lua's tables have no order, so Kong writes the configuration's keys as they come.
#[test]
fn keys_come_in_any_order() {
    let mut sim = sim();
    own(&mut sim, 1);
    let configuration = identified(&sim.controller, SERVICE);
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&configuration).unwrap();
    let mut members: Vec<String> = object
        .iter()
        .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_str())))
        .collect();
    for _ in 0..members.len() {
        members.rotate_left(1);
        sim.configure("main", &format!("{{{}}}", members.join(",")));
        sim.exchange(&to(1).shared());
        sim.exchange(&to(1).ending(Ending::Reset).shared());
    }
    sim.assert_all_reported();
    assert_eq!(sim.controller.vms().len(), 1);
    let bad = FilterCounter::BadConfigurations;
    assert_eq!(sim.controller.ledger.counter(bad), 0);
}

#[test]
fn a_changed_owner_is_in_force_after_one_interval() {
    let mut sim = sim();
    let old = own(&mut sim, 1);
    sim.exchange(&to(1).shared());
    sim.advance(MS(40_000));
    let new = crate::scene::pod("successor");
    let now = sim.now();
    sim.controller
        .index
        .set(now, &crate::scene::address(1), &new);
    // Told by the next report's answer.
    sim.exchange(&to(1).shared());
    sim.advance(MS(16_000));
    sim.exchange(&to(1).shared());
    sim.advance(MS(60_000));
    assert_eq!(reported(&sim, old) + reported(&sim, new.fingerprint()), 3);
    assert!(reported(&sim, new.fingerprint()) >= 1);
}

#[test]
fn the_last_root_reports_what_there_is_when_the_worker_ends() {
    let mut sim = sim();
    let target = own(&mut sim, 1);
    sim.exchange(&to(1).shared());
    sim.advance(MS(40_000));
    sim.exchange(&to(1).shared());
    sim.terminate();
    sim.advance(MS(1_000));
    // No promise: Kong does not tell roots that they go.
    assert!((1..=2).contains(&reported(&sim, target)));
}
