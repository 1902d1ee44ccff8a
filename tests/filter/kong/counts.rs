//! What is reported equals what was scripted: every try of every request at its own address, Kong's own errors once.

use gaugeway_guest::{
    Ending, Request, Sim, Try, abi::callback, controller::Fate, controller::service,
};
use gaugeway_wire::{
    outcome::{CodeClass, Outcome, RequestClass},
    policy::Policy,
    report::FilterCounter,
    target::Fingerprint,
    units::Nanos,
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{SERVICE, identified, own_service, sim, sim_with, to};
use crate::scene::{MS, address, own, reported};

/// All that reach the filter, but for the ones that it is not to count.
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

fn any_try(rng: &mut SmallRng) -> Try {
    let address = address(rng.random_range(0..40));
    let after = MS(rng.random_range(0..400));
    match rng.random_range(0..4) {
        0 => Try::refused(&address),
        1 => Try::reset(&address, after),
        2 => Try::timed_out(&address, after),
        _ => Try::answered(&address, 502, after),
    }
}

#[test]
fn every_ending_is_counted_as_what_it_is() {
    let mut sim = sim();
    own(&mut sim, 1);
    own(&mut sim, 2);
    for round in 1..=9_u64 {
        for ending in ENDINGS {
            let request = to(1).ending(ending).wait(MS(round * 7_654));
            sim.exchange(&request.clone().shared());
            for before in [
                Try::refused(&address(2)),
                Try::reset(&address(2), MS(3)),
                Try::timed_out(&address(2), MS(2_000)),
                Try::answered(&address(2), 503, MS(0)),
            ] {
                sim.exchange(&request.clone().tried(before).shared());
            }
        }
        sim.exchange(&to(1).headers_only().shared());
        sim.exchange(&to(1).wait(MS(0)).shared());
        sim.exchange(&Request::without_address(SERVICE, Ending::NoEndpoint).shared());
        sim.exchange(&Request::without_address(SERVICE, Ending::DeniedBefore(403)).shared());
    }
    sim.assert_all_reported();
}

fn any_request(rng: &mut SmallRng) -> Request {
    let ending = ENDINGS[rng.random_range(0..ENDINGS.len())];
    let mut request = to(rng.random_range(0..40))
        .ending(ending)
        .wait(MS(rng.random_range(0..3_000)))
        .stream(MS(rng.random_range(0..2_000)))
        .route(["r1", "r2", "r3"][rng.random_range(0..3)])
        .plugin(["main", "second"][rng.random_range(0..2)]);
    for _ in 0..rng.random_range(0..6_u32) / 3 {
        request = request.tried(any_try(rng));
    }
    request
}

/// Every fault of a network.
fn any_fate(rng: &mut SmallRng) -> Fate {
    match rng.random_range(0..8) {
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

/// Owners settled, random traffic, a random network: exact in the end.
fn random_run(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut sim = sim_with(gaugeway_guest::sim::Options {
        workers: 2,
        seed,
        start_every_root: seed.is_multiple_of(3),
        ..Default::default()
    });
    let mut configuration = identified(&sim.controller, SERVICE);
    if seed.is_multiple_of(2) {
        sim.controller.index.set_policy(Policy {
            route: true,
            ..Policy::default()
        });
        configuration = configuration.replacen('{', r#"{"policy":{"route":true},"#, 1);
    }
    for plugin in ["main", "second"] {
        sim.configure(plugin, &configuration);
    }
    for n in (0..20).chain(25..40) {
        own(&mut sim, n);
    }
    // Some belong to two Services, told apart by the one that the configuration names.
    let both = [
        (
            service("demo", "other", None),
            vec!["demo/other".to_owned()],
        ),
        (service("demo", "app", None), vec![SERVICE.to_owned()]),
    ];
    let now = sim.now();
    for n in 20..25 {
        sim.controller.index.set_candidates(now, &address(n), &both);
    }
    for _ in 0..400 {
        if rng.random_ratio(1, 5) {
            sim.controller.fates.push_back(any_fate(&mut rng));
        }
        let request = any_request(&mut rng).shared();
        sim.send(rng.random_range(0..2), &request);
        sim.advance(MS(rng.random_range(0..800)));
        if rng.random_ratio(1, 60) {
            sim.configure("second", &configuration);
        }
    }
    sim.controller.fates.clear();
    sim.advance(MS(240_000));
    sim.assert_all_counted();
    assert_reads(&sim);
}

/// Whatever the traffic: what crashes a worker, goes through Lua, or logs an error each time, is never asked for.
fn assert_reads(sim: &Sim) {
    const READ: [&str; 7] = [
        "ngx.request_completion",
        "ngx.upstream_addr",
        "ngx.upstream_connect_time",
        "ngx.upstream_header_time",
        "ngx.upstream_response_time",
        "ngx.upstream_status",
        "response.code",
    ];
    let meter = sim.meter();
    let others = meter
        .attributes
        .keys()
        .filter(|path| !READ.contains(&path.as_str()));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn random_traffic_over_a_bad_network_is_counted_exactly() {
    for seed in 1..=12 {
        println!("seed {seed}");
        random_run(seed);
    }
}

fn count(sim: &Sim, target: Fingerprint, outcome: Outcome, code: CodeClass) -> u64 {
    let class = RequestClass { outcome, code };
    let totals = sim.controller.ledger.totals.of(target);
    totals.map_or(0, |totals| {
        totals.requests.get(&class).copied().unwrap_or(0)
    })
}

#[test]
fn errors_that_kong_makes_count_once_at_the_configured_service() {
    let mut sim = sim();
    let service = own_service(&mut sim, SERVICE);
    let pod = own(&mut sim, 1);
    for _ in 0..10 {
        sim.exchange(&to(1).ending(Ending::ConnectFailure).shared());
        sim.exchange(&to(1).ending(Ending::Timeout).wait(MS(60_000)).shared());
        // The upstream's own.
        sim.exchange(&to(1).code(502).shared());
    }
    sim.assert_all_reported();
    let failed = CodeClass::ServerError;
    assert_eq!(count(&sim, service, Outcome::Reset, failed), 10);
    assert_eq!(count(&sim, service, Outcome::Timeout, failed), 10);
    assert_eq!(count(&sim, pod, Outcome::Response, failed), 10);
    assert_eq!(sim.controller.ledger.totals.request_count(), 30);
}

#[test]
fn errors_that_kong_makes_count_as_unknown_without_a_configured_service() {
    let mut sim = sim();
    let configuration = sim.controller.configuration();
    sim.configure("main", &configuration);
    let service = own_service(&mut sim, SERVICE);
    for _ in 0..20 {
        sim.exchange(&to(1).ending(Ending::Reset).shared());
    }
    sim.advance(MS(60_000));
    assert_eq!(reported(&sim, service), 0);
    assert_eq!(sim.controller.ledger.totals.request_count(), 20);
    assert_reads(&sim);
}

#[test]
fn a_shared_address_counts_at_its_first_service_without_a_configured_one() {
    let mut sim = sim();
    let configuration = sim.controller.configuration();
    sim.configure("main", &configuration);
    let targets = ["app", "other"].map(|name| service("demo", name, None));
    let both = targets.clone().map(|target| (target, Vec::new()));
    let now = sim.now();
    sim.controller.index.set_candidates(now, &address(1), &both);
    for _ in 0..30 {
        sim.exchange(&to(1).cluster("demo/other").shared());
        sim.advance(MS(20_000));
    }
    sim.advance(MS(60_000));
    let [app, other] = targets.map(|target| reported(&sim, target.fingerprint()));
    assert_eq!((app, other), (30, 0));
    let ambiguous = sim.controller.ledger.counter(FilterCounter::Ambiguous);
    assert_eq!(ambiguous, app);
    assert_reads(&sim);
}

#[test]
fn times_are_nginxs_own_whatever_the_clock_does() {
    let mut sim = sim();
    let target = own(&mut sim, 1);
    for ms in 0..200 {
        // Between two of the clock's milliseconds.
        sim.advance(Nanos(ms * 137_911));
        sim.exchange(&to(1).wait(MS(ms % 3)).stream(Nanos(0)).shared());
    }
    sim.assert_all_reported();
    let totals = sim.controller.ledger.totals.of(target).unwrap();
    assert_eq!(totals.latency.count(), 200);
    assert_eq!(totals.latency.sum_ns(), u128::from(MS(67 + 66 * 2).0));
    assert_eq!(sim.controller.ledger.counter(FilterCounter::ClockSteps), 0);
}

#[test]
fn a_log_without_request_headers_reads_and_counts_nothing() {
    let mut sim = sim();
    own(&mut sim, 1);
    sim.exchange(&to(1).shared());
    sim.advance(MS(20_000));
    sim.take_meter(0);
    for _ in 0..10 {
        sim.exchange(&Request::without_address(SERVICE, Ending::NoEndpoint).shared());
    }
    let meter = sim.take_meter(0);
    assert_eq!(meter.entries[callback::LOG], 10);
    assert_eq!(meter.host_calls.get("proxy_get_property"), None);
    sim.assert_all_reported();
    assert_eq!(sim.controller.ledger.totals.request_count(), 1);
}

#[test]
fn samples_gather_under_the_address_and_move_to_its_owner() {
    let mut sim = sim();
    sim.controller.fates.push_back(Fate::LoseRequest);
    let target = own(&mut sim, 1);
    for _ in 0..50 {
        sim.exchange(&to(1).shared());
    }
    sim.advance(MS(1_000));
    assert_eq!(reported(&sim, target), 0, "not known yet");
    sim.advance(MS(90_000));
    assert_eq!(reported(&sim, target), 50);
    sim.assert_all_reported();
}
