//! What is reported equals what was scripted: every outcome, every count, every bucket, through lost, doubled and late
//! answers, new owners, new policies and new controllers.

use gaugeway_guest::{
    Ending, Request, Sim, Try,
    controller::{Fate, service},
    sim::Options,
};
use gaugeway_wire::{
    mapping::CLUSTER_PREFIX,
    policy::{ClassicBounds, Policy, Schema},
    report::FilterCounter,
    units::Nanos,
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::scene::{MS, address, own, reported, sim, sim_with, to};

const ENDINGS: [Ending; 13] = [
    Ending::Response(200),
    Ending::Response(302),
    Ending::Response(404),
    Ending::Response(503),
    Ending::CutByUpstream(200),
    Ending::CutByClient(200),
    Ending::Timeout,
    Ending::Reset,
    Ending::ConnectFailure,
    Ending::Overflow,
    Ending::NoEndpoint,
    Ending::Cancelled,
    Ending::Local(301),
];

#[test]
fn every_ending_is_counted_as_what_it_is() {
    let mut sim = sim();
    own(&mut sim, 1);
    for round in 1..=3_u64 {
        for ending in ENDINGS {
            let request = to(1).ending(ending).wait(Nanos(round * 7_654_321_000));
            sim.exchange(&request.clone().shared());
            sim.exchange(&request.tried(Try::refused(&address(2))).shared());
        }
        sim.exchange(&to(1).headers_only().shared());
        sim.exchange(&Request::without_address("a/b/80", Ending::DeniedBefore(403)).shared());
    }
    sim.assert_all_reported();
}

/// A request that a correct filter counts the same whatever the seed made of it.
fn any_request(rng: &mut SmallRng) -> Request {
    let ending = ENDINGS[rng.random_range(0..ENDINGS.len())];
    let mut request = to(rng.random_range(0..40))
        .ending(ending)
        .cluster(["demo/app/80", "demo/other/80"][rng.random_range(0..2)])
        .route(["r1", "r2", "r3"][rng.random_range(0..3)])
        .wait(Nanos(rng.random_range(0..3_000_000) * 1_000))
        .stream(Nanos(rng.random_range(0..2_000_000) * 1_000));
    if rng.random_ratio(1, 10) {
        request = request.tried(Try::refused(&address(3)));
    }
    request
}

fn any_fate(rng: &mut SmallRng) -> Fate {
    match rng.random_range(0..12) {
        0 => Fate::LoseRequest,
        1 => Fate::LoseAnswer,
        2 => Fate::Duplicate,
        3 => Fate::Reset,
        4 => Fate::Delay(MS(rng.random_range(0..20_000))),
        5 => Fate::Answer {
            status: [429, 500, 503][rng.random_range(0..3)],
            body: Vec::new(),
        },
        _ => Fate::Deliver,
    }
}

/// From the first request on: by configuration, then by the controller.
fn record_routes(sim: &mut Sim) {
    sim.controller.index.set_policy(Policy {
        route: true,
        ..Policy::default()
    });
    let configuration = sim.controller.configuration();
    let with_policy = configuration.replacen('{', r#"{"policy":{"route":true},"#, 1);
    sim.configure("main", &with_policy);
}

/// Owners settled, random traffic, a random network: exact in the end.
fn random_run(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut sim = sim_with(Options {
        workers: 2,
        seed,
        ..Options::default()
    });
    if seed.is_multiple_of(2) {
        record_routes(&mut sim);
    }
    // Some belong to two Services, told apart by the cluster.
    let now = sim.now();
    for n in (0..20).chain(25..40) {
        own(&mut sim, n);
    }
    for cluster in ["demo/app/80", "demo/other/80"] {
        let target = service("demo", cluster, None);
        let key = format!("{CLUSTER_PREFIX}{cluster}");
        sim.controller.index.set(now, &key, &target);
    }
    for n in 20..25 {
        let both = [
            (service("demo", "app", None), vec!["demo/app/80".to_owned()]),
            (
                service("demo", "other", None),
                vec!["demo/other/80".to_owned()],
            ),
        ];
        sim.controller.index.set_candidates(now, &address(n), &both);
    }
    // Owners come first: they own from a time on.
    for worker in 0..2 {
        for n in 0..40 {
            let mut request = to(n);
            if (20..25).contains(&n) {
                request = request.cluster("demo/app/80");
            }
            sim.send(worker, &request.route("r1").shared());
        }
    }
    sim.advance(MS(30_000));
    for _ in 0..400 {
        if rng.random_ratio(1, 20) {
            sim.controller.fates.push_back(any_fate(&mut rng));
        }
        let request = any_request(&mut rng).shared();
        sim.send(rng.random_range(0..2), &request);
        sim.advance(Nanos(rng.random_range(0..400_000_000)));
    }
    sim.controller.fates.clear();
    sim.advance(MS(120_000));
    sim.assert_all_reported();
}

#[test]
fn random_traffic_over_a_bad_network_is_counted_exactly() {
    for seed in 1..=12 {
        println!("seed {seed}");
        random_run(seed);
    }
}

#[test]
fn samples_gather_under_the_address_and_move_to_its_owner() {
    let mut sim = sim();
    // The first call waits for an answer that comes late: the samples gather meanwhile.
    sim.controller.fates.push_back(Fate::Delay(MS(8_000)));
    let target = own(&mut sim, 1);
    for _ in 0..50 {
        sim.exchange(&to(1).shared());
    }
    sim.advance(MS(1_000));
    assert_eq!(reported(&sim, target), 0, "not known yet");
    sim.advance(MS(20_000));
    assert_eq!(reported(&sim, target), 50);
    let moved = sim.controller.ledger.counter(FilterCounter::Reattributed);
    assert_eq!(moved, 50);
    sim.assert_all_reported();
}

#[test]
fn an_address_that_nobody_owns_becomes_unknown_after_its_grace_and_finds_its_owner_later() {
    let mut sim = sim();
    for _ in 0..10 {
        sim.exchange(&to(1).shared());
    }
    sim.advance(MS(60_000));
    let unknown = gaugeway_guest::controller::unnamed(gaugeway_wire::target::TargetKind::Unknown);
    assert_eq!(reported(&sim, unknown.fingerprint()), 10);
    let target = own(&mut sim, 1);
    sim.advance(MS(2_000));
    for _ in 0..5 {
        sim.exchange(&to(1).shared());
    }
    sim.advance(MS(20_000));
    assert_eq!(reported(&sim, target), 5, "from then on");
}

#[test]
fn a_request_that_began_before_a_new_owner_belongs_to_the_old_one() {
    let mut sim = sim();
    let old = own(&mut sim, 1);
    sim.exchange(&to(1).shared());
    sim.advance(MS(5_000));
    sim.send(0, &to(1).wait(MS(10_000)).shared());
    sim.advance(MS(100));
    let new = service("demo", "app", Some("successor"));
    let now = sim.now();
    sim.controller.index.set(now, &address(1), &new);
    sim.advance(MS(2_000));
    sim.exchange(&to(1).shared());
    sim.advance(MS(30_000));
    assert_eq!(reported(&sim, old), 2);
    assert_eq!(reported(&sim, new.fingerprint()), 1);
}

#[test]
fn a_new_policy_changes_the_layout_and_loses_nothing() {
    let mut sim = sim();
    let target = own(&mut sim, 1);
    let policies = [
        Policy {
            schema: Schema::MAX,
            ..Policy::default()
        },
        Policy {
            classic_bounds: ClassicBounds::try_new(vec![Nanos(50_000_000)]).unwrap(),
            report_interval: MS(1_000),
            ..Policy::default()
        },
        Policy {
            route: true,
            ..Policy::default()
        },
    ];
    let mut sent = 0;
    for policy in policies {
        for _ in 0..20 {
            sim.exchange(&to(1).shared());
            sent += 1;
        }
        sim.controller.index.set_policy(policy);
        sim.advance(MS(7_000));
    }
    sim.advance(MS(20_000));
    let classes: u64 = sim
        .controller
        .ledger
        .totals
        .series
        .iter()
        .filter(|((of, _), _)| *of == target)
        .map(|(_, series)| series.request_count())
        .sum();
    assert_eq!(classes, sent);
    assert_eq!(sim.controller.violations, Vec::<String>::new());
}

#[test]
fn a_new_controller_gets_subscriptions_and_definitions_again() {
    let mut sim = sim();
    let target = own(&mut sim, 1);
    sim.exchange(&to(1).shared());
    sim.advance(MS(10_000));
    sim.controller.restart();
    sim.controller.ledger.renew();
    sim.exchange(&to(1).shared());
    // It restarted while a call was held: that one runs into its time-out first.
    sim.advance(MS(60_000));
    assert_eq!(reported(&sim, target), 1, "a new ledger starts at zero");
    assert!(sim.controller.ledger.names.contains_key(&target));
    let successor = service("demo", "app", Some("successor"));
    let now = sim.now();
    sim.controller.index.set(now, &address(1), &successor);
    sim.advance(MS(5_000));
    sim.exchange(&to(1).shared());
    sim.advance(MS(10_000));
    assert_eq!(
        reported(&sim, successor.fingerprint()),
        1,
        "subscribed again"
    );
}

#[test]
fn a_clock_that_steps_costs_samples_not_requests() {
    let mut sim = sim();
    let target = own(&mut sim, 1);
    sim.exchange(&to(1).shared());
    sim.advance(MS(10_000));
    for step in [-3_600_000_000_000, 86_400_000_000_001, 5_000_000_000, 0] {
        sim.send(0, &to(1).wait(MS(200)).shared());
        sim.advance(MS(100));
        sim.skew(step);
        sim.advance(MS(10_000));
    }
    sim.advance(MS(30_000));
    let totals = sim.controller.ledger.totals.of(target).unwrap();
    assert_eq!(totals.request_count(), 5);
    let dropped = sim.controller.ledger.counter(FilterCounter::ClockSteps);
    assert_eq!(totals.latency.count() + dropped, 5);
    assert!(dropped >= 2, "{dropped}");
    // Spans are told by the gateway's clock, so they step with it.
    let stepped = "a report ends before the one before it";
    sim.controller
        .violations
        .retain(|violation| violation != stepped);
    assert_eq!(sim.controller.violations, Vec::<String>::new());
}
