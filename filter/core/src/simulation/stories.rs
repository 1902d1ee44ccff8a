//! Single stories, told from the first request to the controller's totals.

use gaugeway_wire::{Outcome, Policy, Schema, TargetKind};

use super::{
    controller::{outcome, special},
    host::Facts,
    network::Fate,
    world::{World, ok},
};
use crate::Limits;

const MS: u64 = 1_000_000;
const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";

fn owned(addresses: &[(&str, &str)]) -> World {
    let mut world = World::new();
    for (address, service) in addresses {
        let now = world.host.now;
        world.controller.own(address, &[service], now);
    }
    world
}

#[test]
fn requests_that_came_before_the_mapping_are_reattributed() {
    let mut world = owned(&[(A, "s0")]);
    world.run_seconds(1);
    for _ in 0..3 {
        world.request(A, 20 * MS);
    }
    world.run_seconds(10);
    let total = world.controller.service("s0");
    assert_eq!(
        (total.requests(), total.samples, total.sum),
        (3, 3, 60 * MS)
    );
    assert_eq!(world.controller.counter("reattributed"), 3);
    assert_eq!(world.controller.counter("unknown"), 0);
}

#[test]
fn a_vm_that_never_serves_is_never_heard_of() {
    let mut world = owned(&[(A, "s0")]);
    world.run_seconds(60);
    assert_eq!(world.network.calls, 0);
}

#[test]
fn a_vm_that_has_served_heartbeats() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.run_seconds(60);
    assert!(
        (11..=13).contains(&world.controller.reports),
        "{}",
        world.controller.reports
    );
    let spans = &world.controller.spans;
    assert!(
        spans
            .windows(2)
            .all(|pair| pair[0].1 == pair[1].0 || pair[0].1 < pair[1].1)
    );
    assert!(spans.iter().all(|(from, to)| to - from <= 6_000 * MS));
}

#[test]
fn a_span_begins_when_its_counts_can_have_begun() {
    let mut world = owned(&[(A, "s0"), (B, "s1")]);
    for _ in 0..30 {
        world.request(A, MS);
        world.run_seconds(1);
    }
    let first = world.host.now;
    world.request(B, MS);
    world.run_seconds(60);
    world.request(A, MS);
    let last = world.host.now;
    world.run_seconds(6);
    let spans = &world.controller.spans;
    assert!(
        spans.iter().all(|(from, to)| to - from <= 6_000 * MS),
        "idle time is in no span"
    );
    assert!(spans.iter().any(|&(from, to)| from <= first && first <= to));
    assert!(spans.iter().any(|&(from, to)| from <= last && last <= to));
}

#[test]
fn every_call_names_its_gateway() {
    let mut world = World::with(
        Limits::DEFAULT,
        r#"{"gateway":"ns/g","cluster":"c","authority":"a","token":"t"}"#,
    );
    world.request(A, MS);
    let root = world.roots[0];
    world.instance.on_tick(root, &mut world.host);
    let headers = &world.host.outgoing[0].headers;
    let get = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (get(":method"), get(":authority")),
        (Some("POST"), Some("a"))
    );
    assert_eq!(get("x-gaugeway-gateway"), Some("ns/g"));
    assert_eq!(get("authorization"), Some("Bearer t"));
}

#[test]
fn who_has_no_token_shows_none() {
    let mut world = World::new();
    world.request(A, MS);
    let root = world.roots[0];
    world.instance.on_tick(root, &mut world.host);
    let headers = &world.host.outgoing[0].headers;
    assert!(headers.iter().any(|(name, _)| name == "x-gaugeway-gateway"));
    assert!(
        headers.iter().all(|(name, _)| name != "authorization"),
        "{headers:?}"
    );
}

#[test]
fn an_unowned_address_is_unknown_after_the_grace() {
    let mut world = World::new();
    world.request(A, MS);
    world.run_seconds(5);
    assert_eq!(world.controller.requests(), 0, "it gathers");
    world.run_seconds(30);
    let unknown = special(TargetKind::Unknown);
    assert_eq!(world.controller.of(unknown).requests(), 1);
    world.request(A, MS);
    world.run_seconds(6);
    assert_eq!(world.controller.of(unknown).requests(), 2);
    assert_eq!(world.controller.counter("unknown"), 2);
    let now = world.host.now;
    world.controller.own(A, &["s0"], now);
    world.run_seconds(1);
    world.request(A, MS);
    world.run_seconds(6);
    assert_eq!(world.controller.service("s0").requests(), 1);
}

#[test]
fn the_grace_does_not_run_while_the_controller_is_away() {
    let mut world = World::new();
    world.request(A, MS);
    world.network.fates.extend([Fate::Refused(503); 100]);
    world.run_seconds(60);
    world.network.fates.clear();
    let now = world.host.now;
    world.controller.own(A, &["s0"], now - 120_000 * MS);
    world.run_seconds(30);
    assert_eq!(world.controller.service("s0").requests(), 1);
    assert_eq!(world.controller.counter("unknown"), 0);
}

#[test]
fn a_moved_address_is_split_by_when_requests_began() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.run_seconds(1);
    let before = world.start();
    world.host.now += 10 * MS;
    let now = world.host.now;
    world.controller.own(A, &["s1"], now);
    world.run_seconds(1);
    world.request(A, MS);
    world.headers(before, ok(A), false);
    // Aborted after another owner came: still the first owner's.
    world.end(
        before,
        Facts {
            flags: 1 << 14,
            ..ok(A)
        },
    );
    world.run_seconds(6);
    let (s0, s1) = (
        world.controller.service("s0"),
        world.controller.service("s1"),
    );
    assert_eq!(
        (s0.requests(), s0.aborted, s1.requests(), s1.aborted),
        (2, 1, 1, 0)
    );
}

#[test]
fn what_gathered_before_a_move_belongs_to_the_previous_owner() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.network.fates.extend([Fate::Refused(503); 3]);
    world.run_seconds(1);
    let now = world.host.now;
    world.controller.own(A, &["s1"], now);
    world.run_seconds(20);
    assert_eq!(world.controller.service("s0").requests(), 1);
    assert_eq!(world.controller.service("s1").requests(), 0);
}

/// A request through a cluster, all in one go.
fn through(world: &mut World, cluster: &str, address: &str) {
    let facts = Facts {
        cluster: Some(cluster.to_owned()),
        ..ok(address)
    };
    let context = world.start();
    world.headers(context, facts.clone(), false);
    world.end(context, facts);
}

#[test]
fn a_shared_address_is_told_apart_by_its_hint_and_only_then_read() {
    let mut world = World::new();
    let now = world.host.now;
    world.controller.own(A, &["s0", "s1"], now);
    world.controller.own(B, &["s2"], now);
    world.request(A, MS);
    world.request(B, MS);
    world.run_seconds(6);
    for cluster in ["demo/s0", "demo/s1", "demo/s1", "else"] {
        through(&mut world, cluster, A);
    }
    world.host.reads.clear();
    world.request(B, MS);
    assert!(!world.host.reads.contains(&"cluster"));
    world.run_seconds(6);
    let requests = ["s0", "s1", "s2"].map(|service| world.controller.service(service).requests());
    assert_eq!(requests, [3, 2, 2]);
    assert_eq!(world.controller.counter("ambiguous"), 1);
}

#[test]
fn what_came_before_a_shared_address_was_mapped_is_told_apart_too() {
    let mut world = World::new();
    let now = world.host.now;
    world.controller.own(A, &["s0", "s1"], now);
    let clusters = ["demo/s1", "demo/s0", "demo/s1", "else", "demo/s1"];
    for cluster in clusters {
        through(&mut world, cluster, A);
    }
    // A stream that is cut after the mapping came.
    let stream = Facts {
        cluster: Some("demo/s1".to_owned()),
        ..ok(A)
    };
    let context = world.start();
    world.headers(context, stream.clone(), false);
    world.run_seconds(6);
    world.end(
        context,
        Facts {
            flags: 1 << 6,
            ..stream
        },
    );
    world.run_seconds(6);
    let [s0, s1] = ["s0", "s1"].map(|service| world.controller.service(service));
    assert_eq!((s0.requests(), s0.aborted), (2, 0));
    assert_eq!((s1.requests(), s1.aborted), (4, 1));
    assert_eq!(world.controller.counter("ambiguous"), 1);
    assert_eq!(world.controller.counter("reattributed"), 6);
}

#[test]
fn clusters_beyond_their_bound_are_a_guess_and_make_room_once_settled() {
    let limits = Limits {
        clusters: 2,
        ..Limits::DEFAULT
    };
    let mut world = World::with(limits, r#"{"gateway":"g","cluster":"c"}"#);
    for (address, round) in [(A, 1), (B, 2)] {
        let now = world.host.now;
        world.controller.own(address, &["s0", "s1"], now);
        // No room is left for the fourth; its guess is right by luck.
        for cluster in ["else", "demo/s1", "demo/s1", "demo/s0"] {
            through(&mut world, cluster, address);
        }
        world.run_seconds(6);
        let requests = ["s0", "s1"].map(|service| world.controller.service(service).requests());
        assert_eq!(requests, [2 * round, 2 * round]);
        assert_eq!(world.controller.counter("ambiguous"), 2 * round);
    }
}

#[test]
fn an_address_that_loses_its_owner_gathers_anew() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.run_seconds(6);
    let now = world.host.now;
    world.controller.own(A, &[], now);
    world.run_seconds(1);
    world.request(A, MS);
    world.run_seconds(60);
    assert_eq!(world.controller.service("s0").requests(), 1);
    let unknown = special(TargetKind::Unknown);
    assert_eq!(world.controller.of(unknown).requests(), 1);
}

#[test]
fn refusals_without_an_address_are_counted_by_cluster() {
    let mut world = owned(&[("cluster:demo/s0", "s0")]);
    for flags in [1 << 1, 1 << 7] {
        let facts = Facts {
            address: None,
            code: Some(503),
            flags,
            attempts: 0,
            ..ok(A)
        };
        let context = world.start();
        world.headers(context, facts.clone(), false);
        world.end(context, facts);
    }
    world.run_seconds(10);
    let total = world.controller.service("s0");
    assert_eq!(outcome(&total, Outcome::NoEndpoint), 1);
    assert_eq!(outcome(&total, Outcome::Overflow), 1);
    assert_eq!(total.samples, 0);
}

#[test]
fn an_hours_backlog_arrives_whole() {
    let mut world = owned(&[(A, "s0"), (B, "s1")]);
    world.request(A, MS);
    world.run_seconds(6);
    let reports = world.controller.reports;
    world
        .network
        .fates
        .extend(std::iter::repeat_n(Fate::Refused(503), 100_000));
    for _ in 0..3600 {
        world.request(A, 3 * MS);
        world.request(B, 3 * MS);
        world.run_seconds(1);
    }
    assert!(
        world.host.log.len() < 10,
        "said once per cause: {:?}",
        world.host.log
    );
    assert_eq!(world.controller.reports, reports);
    world.network.fates.clear();
    world.run_seconds(40);
    assert_eq!(world.controller.service("s0").requests(), 3601);
    assert_eq!(world.controller.service("s1").requests(), 3600);
    let longest = world
        .controller
        .spans
        .iter()
        .map(|(from, to)| to - from)
        .max()
        .unwrap();
    assert!(longest > 3_500_000 * MS, "the backlog says how old it is");
}

#[test]
fn a_lost_answer_does_not_count_twice() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    for fate in [
        Fate::AnswerLost,
        Fate::AnswerVanished,
        Fate::Vanished,
        Fate::Refused(401),
    ] {
        world.run_seconds(10);
        world.request(A, MS);
        world.network.fates.extend([fate; 4]);
        world.run_seconds(60);
    }
    world.network.fates.clear();
    world.run_seconds(60);
    assert_eq!(world.controller.requests(), 5);
    assert_eq!(world.controller.service("s0").requests(), 5);
    assert!(world.controller.counter("resends") > 0);
}

#[test]
fn a_refused_report_loses_only_what_is_illegal() {
    let mut world = World::new();
    let now = world.host.now;
    for n in 0..300 {
        world
            .controller
            .own(&format!("a{n}"), &[&format!("many{n}")], now);
    }
    for n in 0..300 {
        world.request(&format!("a{n}"), MS);
    }
    let illegal = super::controller::target("many77").fingerprint();
    world.controller.illegal.insert(illegal.0);
    world.run_seconds(60);
    assert_eq!(
        world.controller.counter("dropped_requests") + world.controller.requests(),
        300
    );
    // Seven halvings leave 300 / 2^6 series together.
    assert!(
        world.controller.requests() >= 295,
        "{}",
        world.controller.requests()
    );
    assert!(world.controller.counter("refused_reports") > 0);
}

#[test]
fn names_are_told_to_a_new_ledger() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.run_seconds(6);
    let target = super::controller::target("s0").fingerprint().0;
    assert!(world.controller.named.contains(&target));
    world.controller.forget_names();
    world.request(A, MS);
    world.run_seconds(6);
    assert!(world.controller.named.contains(&target));
}

#[test]
fn a_new_layout_begins_with_a_new_report() {
    let mut world = owned(&[(A, "s0"), (B, "s1")]);
    world.request(A, MS);
    world.request(B, MS);
    world.run_seconds(8);
    world.request(A, MS);
    let schema = Schema::try_new(5).unwrap();
    world.controller.set_policy(Policy {
        schema,
        ..Policy::default()
    });
    world.run(super::world::TICK * 2);
    world.request(A, MS);
    // This key waits while the layout changes.
    world.request("10.9.9.9:1", MS);
    world.run_seconds(60);
    assert_eq!(world.controller.service("s0").requests(), 3);
    assert_eq!(world.controller.requests(), 5);
    assert!(world.controller.layouts.is_sorted());
    assert_eq!(world.controller.layouts.last(), Some(&5));
}

#[test]
fn routes_are_recorded_when_the_policy_asks() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.run_seconds(1);
    world.controller.set_policy(Policy {
        route: true,
        ..Policy::default()
    });
    world.run_seconds(1);
    for route in ["r1", "r2", "r1"] {
        let facts = Facts {
            route: Some(route.to_owned()),
            ..ok(A)
        };
        let context = world.start();
        world.headers(context, facts.clone(), true);
        world.end(context, facts);
    }
    world.run_seconds(8);
    let of = |route: &str| {
        let target = super::controller::target("s0").fingerprint().0;
        world
            .controller
            .totals
            .get(&(target, route.to_owned()))
            .map(super::controller::Total::requests)
    };
    assert_eq!([of(""), of("r1"), of("r2")], [Some(1), Some(2), Some(1)]);
}

#[test]
fn a_full_table_overflows_and_counts_everything() {
    let limits = Limits {
        keys: 8,
        series: 4,
        bucket_bytes: 300,
        ..Limits::DEFAULT
    };
    let mut world = World::with(limits, r#"{"gateway":"g","cluster":"c"}"#);
    let now = world.host.now;
    for n in 0..20 {
        world
            .controller
            .own(&format!("a{n}"), &[&format!("many{n}")], now);
    }
    for round in 0..10u64 {
        for n in 0..20 {
            world.request(&format!("a{n}"), (n + 1) * (round + 1) * MS);
        }
        world.run_seconds(2);
    }
    world.run_seconds(20);
    assert_eq!(world.controller.requests(), 200);
    let overflow = world.controller.of(special(TargetKind::Overflow));
    assert!(overflow.requests() >= 120, "{}", overflow.requests());
    assert_eq!(
        world.controller.counter("table_overflows"),
        overflow.requests()
    );
    assert_eq!(world.controller.counter("unrecorded"), 0);
}

#[test]
fn idle_keys_are_given_up_and_come_back() {
    let mut world = owned(&[(A, "s0"), (B, "s1")]);
    world.request(A, MS);
    world.request(B, MS);
    world.run_seconds(10);
    let stream = world.start();
    world.headers(stream, ok(B), false);
    world.run_seconds(1000);
    world.end(
        stream,
        Facts {
            flags: 1 << 6,
            ..ok(B)
        },
    );
    world.request(A, MS);
    world.run_seconds(10);
    assert_eq!(world.controller.service("s0").requests(), 2);
    let s1 = world.controller.service("s1");
    assert_eq!(
        (s1.requests(), s1.aborted),
        (2, 1),
        "an open request keeps its key"
    );
    assert_eq!(
        world.controller.counter("reattributed"),
        3,
        "the idle key was asked for again"
    );
}

#[test]
fn a_replaced_configuration_loses_nothing() {
    let mut world = owned(&[(A, "s0")]);
    for n in 0..50 {
        world.request(A, MS);
        world.run(super::world::TICK * (n % 7));
        world.add_root(r#"{"gateway":"g","cluster":"c","token":"new"}"#);
        world.request(A, MS);
        world.run(super::world::TICK * (n % 3));
        world.end_root();
    }
    world.run_seconds(60);
    assert_eq!(world.controller.service("s0").requests(), 100);
    assert_eq!(world.controller.sequences.len(), 1, "one identity");
}

/// Found by the soak: a poll goes with the root that asked it, without a word, and was waited for until its deadline.
#[test]
fn a_replaced_configuration_goes_on_hearing_of_changes() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.run_seconds(1);
    world.add_root(r#"{"gateway":"g","cluster":"c"}"#);
    world.end_root();
    world.run_seconds(1);
    let now = world.host.now;
    world.controller.own(A, &["s1"], now);
    world.run_seconds(1);
    world.request(A, MS);
    world.run_seconds(10);
    let of = |service| world.controller.service(service).requests();
    assert_eq!((of("s0"), of("s1")), (1, 1));
}

#[test]
fn another_gateways_configuration_leaves_the_rest_to_be_reported() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.run_seconds(1);
    world.request(A, MS);
    world.network.fates.extend([Fate::Vanished; 2]);
    world.add_root(r#"{"gateway":"other","cluster":"c"}"#);
    world.request(A, MS);
    world.end_root();
    world.run_seconds(90);
    assert_eq!(world.controller.service("s0").requests(), 3);
    // Each gateway has an identity; the one that is gone is never heard of again.
    let before = world.controller.sequences.clone();
    assert_eq!(before.len(), 2, "{before:?}");
    world.run_seconds(60);
    let after = &world.controller.sequences;
    let grown = after.iter().filter(|(vm, seq)| before.get(vm) != Some(seq));
    assert_eq!(grown.count(), 1, "{before:?} {after:?}");
}

#[test]
fn the_last_root_flushes_what_there_is() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.run_seconds(1);
    world.request(A, MS);
    world.request(B, MS);
    world.end_root();
    assert_eq!(world.controller.service("s0").requests(), 2);
    assert_eq!(
        world.controller.of(special(TargetKind::Unknown)).requests(),
        1
    );
}

#[test]
fn a_bad_configuration_is_counted_and_harms_nobody() {
    let mut world = owned(&[(A, "s0")]);
    world.add_root("{");
    world.request(A, MS);
    assert_eq!(world.host.log.len(), 1);
    world.roots.pop();
    world.request(A, MS);
    world.run_seconds(10);
    assert_eq!(world.controller.requests(), 1);
    assert_eq!(world.controller.counter("bad_configurations"), 1);
}

#[test]
fn clock_steps_drop_latencies_not_requests() {
    let mut world = owned(&[(A, "s0")]);
    world.request(A, MS);
    world.run_seconds(1);
    let context = world.start();
    world.host.now -= 5_000 * MS;
    world.headers(context, ok(A), true);
    let context = world.start();
    world.host.now += 2 * 86_400_000 * MS;
    world.headers(context, ok(A), true);
    world.run_seconds(10);
    let total = world.controller.service("s0");
    assert_eq!(
        (total.requests(), total.samples, total.latency_unknown),
        (3, 1, 2)
    );
    assert_eq!(world.controller.counter("clock_steps"), 2);
}

#[test]
fn big_answers_are_applied_in_steps() {
    let mut world = World::new();
    let now = world.host.now;
    for n in 0..500 {
        world
            .controller
            .own(&format!("a{n}"), &[&format!("many{n}")], now);
    }
    for n in 0..500 {
        world.request(&format!("a{n}"), MS);
    }
    // Each look at the clock takes longer than a callback may.
    world.host.clock_runs = MS;
    world.run_seconds(30);
    world.host.clock_runs = 0;
    world.run_seconds(10);
    assert_eq!(world.controller.requests(), 500);
    assert_eq!(world.controller.counter("reattributed"), 500);
}
