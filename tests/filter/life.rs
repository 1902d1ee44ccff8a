//! Life cycle of VMs and roots in Envoy: who speaks to the controller, under which identity, and what survives.

use gaugeway_guest::{Ending, controller::Fate, sim::Options};

use crate::scene::{MS, address, own, reported, sim, sim_with, to};

#[test]
fn canary_and_main_thread_vms_make_no_calls() {
    let mut sim = sim_with(Options {
        workers: 2,
        ..Options::default()
    });
    sim.advance(MS(120_000));
    assert_eq!(sim.controller.calls.values().sum::<u64>(), 0);
    // One worker serves: it alone is heard of.
    sim.exchange(&to(1).shared());
    sim.configure("main", &sim.controller.configuration());
    sim.advance(MS(60_000));
    assert_eq!(sim.controller.vms().len(), 1);
    let main = sim.main_thread();
    let calls = |meter: &gaugeway_guest::Meter| meter.host_calls.get("proxy_http_call").copied();
    assert_eq!(calls(&sim.take_meter(main)), None);
    assert_eq!(calls(&sim.take_meter(1)), None);
    assert!(calls(&sim.take_meter(0)).unwrap() > 2);
    sim.assert_all_reported();
}

#[test]
fn a_new_configuration_keeps_identity_sequence_and_counts() {
    let mut sim = sim();
    own(&mut sim, 1);
    // A request outlives each configuration that began before it.
    let streaming = to(1).stream(MS(100_000)).shared();
    for change in 0..50 {
        sim.send(0, &streaming);
        sim.exchange(&to(1).shared());
        let configuration = sim.controller.configuration().replace(
            "\"authority\":\"gaugeway\"",
            &format!("\"authority\":\"v{change}\""),
        );
        sim.configure("main", &configuration);
        sim.exchange(&to(2).shared());
        sim.advance(MS(700));
    }
    sim.drain();
    sim.advance(MS(100_000));
    sim.assert_all_reported();
    assert_eq!(sim.controller.vms().len(), 1, "one identity");
    assert_eq!(sim.controller.ledger.totals.request_count(), 150);
}

#[test]
fn several_roots_share_one_identity_and_their_requests_count_once() {
    let mut sim = sim();
    let configuration = sim.controller.configuration();
    for plugin in ["other", "third"] {
        sim.configure(plugin, &configuration);
    }
    own(&mut sim, 1);
    for plugin in ["main", "other", "third", "main"] {
        for n in 0..10 {
            sim.exchange(&to(n % 3).plugin(plugin).shared());
        }
    }
    sim.assert_all_reported();
    assert_eq!(sim.controller.vms().len(), 1);
    assert_eq!(sim.controller.ledger.totals.request_count(), 40);
}

#[test]
fn a_reloaded_vm_has_a_new_identity_and_totals_stay_right() {
    let mut sim = sim_with(Options {
        reload: true,
        ..Options::default()
    });
    let target = own(&mut sim, 1);
    for _ in 0..20 {
        sim.exchange(&to(1).shared());
    }
    sim.advance(MS(20_000));
    assert_eq!(reported(&sim, target), 20, "acknowledged before the loss");
    sim.exchange(&to(1).shared());
    sim.lose_vm(0);
    for _ in 0..30 {
        sim.exchange(&to(1).shared());
    }
    sim.advance(MS(20_000));
    assert_eq!(
        reported(&sim, target),
        50,
        "what was not reported went with the VM, nothing else, and nothing came twice"
    );
    assert_eq!(sim.controller.vms().len(), 2);
    assert_eq!(sim.controller.violations, Vec::<String>::new());
}

#[test]
fn the_last_root_reports_what_there_is_when_the_process_ends() {
    let mut sim = sim();
    let target = own(&mut sim, 1);
    sim.exchange(&to(1).shared());
    sim.advance(MS(20_000));
    for _ in 0..7 {
        sim.exchange(&to(1).shared());
    }
    sim.terminate();
    sim.advance(MS(1_000));
    assert_eq!(reported(&sim, target), 8);
    assert_eq!(sim.controller.violations, Vec::<String>::new());
}

#[test]
fn a_configuration_that_cannot_be_used_records_nothing_and_harms_nothing() {
    let mut sim = sim();
    let good = sim.controller.configuration();
    let huge = format!("{{\"gateway\":\"{}\"}}", "x".repeat(300_000));
    for bad in ["", "{", "[]", "null", "\u{0}", r#"{"gateway":7}"#, &huge] {
        sim.configure("main", bad);
        sim.exchange(&to(1).ending(Ending::Timeout).shared());
        sim.advance(MS(1_000));
    }
    assert_eq!(sim.controller.calls.values().sum::<u64>(), 0);
    let said = &sim.host(0).unwrap().log;
    assert_eq!(said.len(), 7, "once per configuration: {said:?}");
    sim.configure("main", &good);
    sim.exchange(&to(2).shared());
    sim.advance(MS(20_000));
    assert_eq!(sim.controller.ledger.totals.request_count(), 1);
    let counted = sim
        .controller
        .ledger
        .counter(gaugeway_wire::report::FilterCounter::BadConfigurations);
    assert_eq!(counted, 7);
}

#[test]
fn a_controller_that_is_away_for_long_costs_patience_not_counts() {
    let mut sim = sim();
    let target = own(&mut sim, 1);
    sim.controller.fate = Fate::Reset;
    for _ in 0..200 {
        sim.exchange(&to(1).shared());
        sim.advance(MS(1_000));
    }
    let calls = sim.take_meter(0).host_calls["proxy_http_call"];
    assert!(calls < 60, "{calls} calls in 200 s without an answer");
    let lines = sim.host(0).unwrap().log.len();
    assert!(lines <= 2, "one line per cause: {lines}");
    sim.controller.fate = Fate::Deliver;
    sim.advance(MS(120_000));
    sim.assert_all_reported();
    assert_eq!(reported(&sim, target), 200);
    assert!(
        sim.controller
            .subscribed(sim.controller.vms()[0])
            .contains(&address(1).as_str())
    );
}
