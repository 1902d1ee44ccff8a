//! Single stories of a worker VM in Kong: its roots and their timers, configurations that change, calls and what they
//! carry, instances that WasmX ends.

use gaugeway_wire::Policy;

use super::{
    host::FakeHost,
    kong::{CONFIG, Told, World},
    kong_stories::{A, MS, owned, owned_with, report},
};
use crate::kong::Tick;

#[test]
fn hundreds_of_roots_share_one_agent_and_one_timer() {
    let mut world = owned();
    for n in 0..300 {
        let config = format!(
            r#"{{"gateway":"g","controller":"10.0.0.9:7080","identity":{{"namespace":"ns{n}"}}}}"#
        );
        world.add_root(&config);
    }
    world.run_seconds(2);
    let timers: usize = world.roots.iter().map(|root| root.timers).sum();
    assert_eq!(timers, 1);
    for n in [0, 7, 300] {
        let root = world.roots[n].context;
        let told = Told::ok(A, 2);
        let context = world.start_at(root, &told);
        world.headers(context, &told);
        world.log(context, &told);
        world.delete(context);
    }
    report(&mut world);
    assert_eq!(world.controller.service("s0").requests(), 3);
    assert_eq!(world.controller.sequences.len(), 1, "one worker VM");
}

#[test]
fn a_changed_configuration_loses_and_doubles_nothing() {
    let mut world = owned();
    let told = Told::ok(A, 2);
    for round in 0..50 {
        let open = world.start(&told);
        world.headers(open, &told);
        world.add_root(&format!(
            r#"{{"gateway":"g","controller":"10.0.0.9:7080","token":"t{round}"}}"#
        ));
        world.request(A, 2);
        world.run_seconds(1);
        world.log(open, &told);
        world.delete(open);
    }
    report(&mut world);
    assert_eq!(world.controller.service("s0").requests(), 100);
    let timers: usize = world.roots.iter().map(|root| root.timers).sum();
    assert_eq!(timers, 1, "stale roots have stopped themselves");
    assert_eq!(world.roots.last().unwrap().timers, 1);
}

#[test]
fn an_old_root_ticks_until_the_new_one_does() {
    let mut world = owned();
    world.run_seconds(1);
    let old = world.roots[0].context;
    let new = world.add_root(CONFIG);
    world.host.now += 500 * MS;
    assert_eq!(world.instance.on_tick(old, &mut world.host), Tick::Continue);
    assert_eq!(world.instance.on_tick(new, &mut world.host), Tick::Continue);
    world.host.now += 500 * MS;
    assert_eq!(world.instance.on_tick(old, &mut world.host), Tick::Stop);
}

#[test]
fn a_trap_begins_anew_and_ticks_that_come_too_early_are_skipped() {
    let mut world = owned();
    world.request(A, 1);
    report(&mut world);
    let before = world.controller.requests();
    for _ in 0..3 {
        world.trap(CONFIG);
        world.request(A, 1);
        report(&mut world);
    }
    assert_eq!(world.roots.last().unwrap().timers, 4);
    assert_eq!(world.controller.requests(), before + 3);
    assert_eq!(
        world.controller.sequences.len(),
        4,
        "each under a new identity"
    );
    // All timers fire at once here: only the first of them does anything.
    world.host.reads.clear();
    world.run_seconds(1);
    let clocks = world.host.reads.iter().filter(|&&read| read == "clock");
    assert_eq!(clocks.count(), 2 * 4 + 2);
}

#[test]
fn one_call_per_interval_carries_everything() {
    let mut world = owned();
    world.request(A, 1);
    world.run_seconds(4);
    assert_eq!(
        (world.network.calls, world.controller.enclosed),
        (1, 1),
        "the first soon: its answer says what the address belongs to"
    );
    for second in 0..120 {
        // A new address now and then.
        world.request(&format!("10.0.1.{}:80", second / 10), 1);
        world.request(A, 1);
        world.run_seconds(1);
    }
    let calls = world.network.calls;
    assert!((8..=9).contains(&calls), "{calls} calls in 124 s");
    assert_eq!(world.controller.enclosed, calls);
    assert!(world.controller.service("s0").requests() > 100);
}

#[test]
fn without_traffic_there_is_a_slow_heartbeat_and_before_the_first_request_nothing() {
    let mut world = owned();
    world.run_seconds(300);
    assert_eq!(world.network.calls, 0);
    world.request(A, 1);
    report(&mut world);
    let calls = world.network.calls;
    world.run_seconds(600);
    let beats = world.network.calls - calls;
    assert!((8..=10).contains(&beats), "{beats} in 600 s");
}

#[test]
fn the_controllers_policy_does_not_make_calls_more_frequent_than_configured() {
    let busy = |config: &str| {
        let mut world = owned_with(config);
        world.controller.set_policy(Policy {
            report_interval: gaugeway_wire::Nanos::from_millis(1_000),
            ..Policy::default()
        });
        for _ in 0..60 {
            world.request(A, 1);
            world.run_seconds(1);
        }
        world.network.calls
    };
    let plain = busy(CONFIG);
    assert!((4..=5).contains(&plain), "{plain}");
    let frequent = busy(
        r#"{"gateway":"g","controller":"10.0.0.9:7080","policy":{"report_interval_ms":5000}}"#,
    );
    assert!((11..=13).contains(&frequent), "{frequent}");
}

#[test]
fn a_change_of_owner_is_in_force_after_one_interval() {
    let mut world = owned();
    world.request(A, 1);
    report(&mut world);
    let now = world.host.now;
    world.controller.own(A, &["s5"], now);
    world.request(A, 1);
    world.run_seconds(16);
    world.request(A, 1);
    report(&mut world);
    let [old, new] = ["s0", "s5"].map(|service| world.controller.service(service).requests());
    assert_eq!(
        (old, new),
        (2, 1),
        "the second was reported before the change was told"
    );
}

#[test]
fn a_controller_that_does_not_know_its_objects_yet_takes_reports_and_is_asked_again() {
    let mut world = owned();
    world.controller.synced = false;
    for _ in 0..10 {
        world.request(A, 1);
        world.run_seconds(10);
    }
    assert_eq!(world.controller.requests(), 0, "kept, not given to anybody");
    world.controller.synced = true;
    report(&mut world);
    assert_eq!(world.controller.service("s0").requests(), 10);
}

#[test]
fn calls_that_are_lost_lose_and_double_nothing() {
    use super::network::Fate::{AnswerLost, AnswerVanished, Delivered, Refused, Vanished};
    let fates = [
        AnswerLost,
        AnswerVanished,
        Refused(503),
        Vanished,
        Delivered,
    ];
    for (n, &first) in fates.iter().enumerate() {
        for &second in &fates[n..] {
            let mut world = owned();
            world.network.fates = [first, second, first].into();
            for round in 0..8 {
                world.request(A, 1);
                world.request(&format!("10.0.2.{round}:80"), 1);
                if round == 4 {
                    world.controller.restart();
                }
                world.run_seconds(20);
            }
            for _ in 0..4 {
                report(&mut world);
            }
            let s0 = world.controller.service("s0").requests();
            let all = world.controller.requests();
            assert_eq!((s0, all), (8, 16), "{first:?} {second:?}");
        }
    }
}

#[test]
fn workers_whose_random_bytes_are_the_same_are_told_apart() {
    let mut first = owned();
    first.request(A, 44);
    report(&mut first);
    let mut host = FakeHost::new();
    host.now += MS;
    let mut second = World::on(host, CONFIG);
    second.controller = first.controller;
    second.request(A, 44);
    report(&mut second);
    assert_eq!(second.controller.service("s0").samples, 2);
}

#[test]
fn a_root_in_use_outlives_thousands_of_changes_of_another() {
    let mut world = owned();
    let first = world.roots[0].context;
    for n in 0..5_000 {
        let context = world.add_root(CONFIG);
        let _ = world.instance.on_tick(context, &mut world.host);
        if n % 100 == 0 {
            let told = Told::ok(A, 1);
            let open = world.start_at(first, &told);
            world.headers(open, &told);
            world.log(open, &told);
            world.delete(open);
        }
    }
    report(&mut world);
    assert_eq!(world.controller.service("s0").requests(), 50);
}

#[test]
fn requests_of_a_root_that_had_no_room_are_counted_as_unrecorded() {
    let mut world = owned();
    let first = world.roots[0].context;
    for _ in 0..5_000 {
        let context = world.add_root(CONFIG);
        let _ = world.instance.on_tick(context, &mut world.host);
    }
    let told = Told::ok(A, 1);
    let open = world.start_at(first, &told);
    world.headers(open, &told);
    world.delete(open);
    world.request(A, 1);
    report(&mut world);
    assert_eq!(world.controller.requests(), 1);
    assert_eq!(world.controller.counters["unrecorded"], 1);
}

/// WasmX gives a worker's instance up, all that it has counted included, some time after a configuration was replaced.
#[test]
fn a_changed_configuration_lets_nothing_old_wait_for_the_next_round() {
    let mut world = owned();
    world.request(A, 1);
    world.run_seconds(60);
    let mut asked = 1;
    for _ in 0..5 {
        world.add_root(CONFIG);
        for _ in 0..5 {
            world.request(A, 1);
            asked += 1;
            world.run_seconds(2);
            assert_eq!(world.controller.service("s0").requests(), asked);
        }
    }
    world.trap(CONFIG);
    world.request(A, 1);
    report(&mut world);
    assert_eq!(world.controller.requests(), asked + 1);
    // However often configurations change: calls are dear.
    let before = world.controller.reports;
    for _ in 0..600 {
        world.request(A, 1);
        world.add_root(CONFIG);
        world.run_seconds(1);
    }
    let made = world.controller.reports - before;
    // One per 15 s, as many beside, and 60.
    assert!((130..=140).contains(&made), "{made} in 600 s");
    world.run_seconds(120);
    let before = world.controller.reports;
    for _ in 0..60 {
        world.request(A, 1);
        world.run_seconds(1);
    }
    assert!(
        world.controller.reports - before <= 5,
        "back to one per 15 s"
    );
}

#[test]
fn a_request_outlives_its_instance() {
    let mut world = owned();
    let told = Told::ok(A, 44);
    let (waiting, answered) = (world.start(&told), world.start(&told));
    world.headers(answered, &told);
    world.trap(CONFIG);
    let root = world.roots[0].context;
    for context in [waiting, answered] {
        world.instance.on_context_create(context, Some(root));
    }
    world.headers(waiting, &told);
    for context in [waiting, answered] {
        world.log(context, &told);
        world.delete(context);
    }
    report(&mut world);
    let s0 = world.controller.service("s0");
    assert_eq!((s0.samples, s0.sum, s0.aborted), (1, 44 * MS, 0));
    assert_eq!(world.controller.requests(), 1);
}

/// A KongPlugin whose Secret was forgotten when keys changed.
#[test]
fn a_refused_token_gives_way_to_that_of_another_configuration() {
    let of = |token: &str| {
        format!(r#"{{"gateway":"g","controller":"10.0.0.9:7080","token":"{token}"}}"#)
    };
    for tokens in [
        ["new", "old", "older"],
        ["older", "new", "old"],
        ["old", "older", "new"],
    ] {
        let mut world = owned_with(&of(tokens[0]));
        world.network.good_token = Some("new");
        for token in &tokens[1..] {
            world.add_root(&of(token));
        }
        for _ in 0..20 {
            world.request(A, 1);
            world.run_seconds(10);
        }
        report(&mut world);
        let all = world.controller.service("s0").requests();
        assert_eq!(all, 20, "{tokens:?}");
        assert!(world.network.calls < 25, "{tokens:?}");
        // One that is good stays, whatever else fails.
        let before = world.network.calls;
        world.network.fates = [super::network::Fate::Refused(503); 3].into();
        world.request(A, 1);
        report(&mut world);
        report(&mut world);
        assert_eq!(world.controller.service("s0").requests(), 21);
        assert!(world.network.calls - before < 12);
    }
    // Where none is good the filter says so, keeps its counts and calls no more often.
    let mut world = owned_with(&of("a"));
    world.network.good_token = Some("new");
    world.add_root(&of("b"));
    world.request(A, 1);
    world.run_seconds(600);
    assert_eq!(world.controller.requests(), 0);
    assert!(world.network.calls <= 40, "{}", world.network.calls);
    world.add_root(&of("new"));
    report(&mut world);
    assert_eq!(world.controller.service("s0").requests(), 1);
}

/// A tick whose clock failed, just when a report was made.
#[test]
fn a_clock_that_fails_once_silences_nothing() {
    let mut world = owned();
    world.request(A, 1);
    report(&mut world);
    world.add_root(CONFIG);
    world.run_seconds(1);
    world.request(A, 1);
    let now = core::mem::take(&mut world.host.now);
    let root = world.roots.last().unwrap().context;
    let _ = world.instance.on_tick(root, &mut world.host);
    world.host.now = now;
    world.run_seconds(100);
    assert_eq!(world.controller.requests(), 2);
    let heard = world.controller.reports;
    world.run_seconds(100);
    assert!(world.controller.reports > heard, "a heartbeat");
}
