//! Storms: many requests, many faults at once, hostile answers, clocks that jump, callbacks out of turn. By seeds,
//! printed as they run.

use std::rc::Rc;

use gaugeway_guest::{
    Ending, Faults, GuestModule, Meter, Personality, Request, Sim,
    abi::callback,
    controller::service,
    fault::{ADVERSARIAL, RandomFaults},
};
use gaugeway_wire::units::Nanos;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{MEMORY, configuration, new_sim};
use crate::{
    hostile,
    scene::{MS, address, load, to},
};

/// No callback takes more of the guest's steps, whatever it is answered. The longest applies a mapping whose time the
/// clock hides.
const LONGEST: u64 = 50_000_000;

/// Storms of one test: seeds from `first` on, every second one.
fn storms(host: Personality, first: u64) {
    let module = load(host);
    let mut sum = Meter::default();
    for seed in (first..44).step_by(2) {
        println!("seed {seed}");
        let meter = storm(&module, seed);
        assert!(
            meter.memory <= MEMORY,
            "seed {seed}: {} bytes",
            meter.memory
        );
        sum.add(&meter);
    }
    let calls = sum.host_call_count();
    println!("{calls} host calls, memory at most {}", sum.memory);
    for (name, fuel) in &sum.fuel {
        println!("{name}: at most {} steps", fuel.max);
        assert!(fuel.max < LONGEST, "{name} took {} steps", fuel.max);
    }
    assert!(calls >= 200_000, "{calls} host calls");
}

#[test]
fn storms_of_faults() {
    storms(Personality::Envoy, 1);
}

#[test]
fn more_storms_of_faults() {
    storms(Personality::Envoy, 2);
}

#[test]
fn storms_of_faults_in_kong() {
    storms(Personality::WasmX, 1);
}

#[test]
fn more_storms_of_faults_in_kong() {
    storms(Personality::WasmX, 2);
}

/// Requests of a storm.
const REQUESTS: u64 = 6_000;

fn storm(module: &Rc<GuestModule>, seed: u64) -> Meter {
    let mut rng = SmallRng::seed_from_u64(seed);
    let rates = [1, 10, 50, 200, 600, 1_000];
    let rate = rates[rng.random_range(0..rates.len())];
    let mut sim = new_sim(module, seed, Faults::Random(RandomFaults::new(seed, rate)));
    let hostile = rng.random_bool(0.7);
    for _ in 0..REQUESTS {
        if hostile && rng.random_ratio(1, 4) && sim.controller.fates.len() < 3 {
            sim.controller.fates.push_back(hostile::any_fate(&mut rng));
        }
        sim.send(0, &any_request(&mut rng).shared());
        if rng.random_ratio(1, 12) {
            disturb(&mut sim, module.personality(), &mut rng);
        }
        if rng.random_ratio(1, 4) {
            sim.advance(Nanos(rng.random_range(0..200_000_000)));
        }
    }
    sim.advance(MS(10_000));
    sim.terminate();
    let failures = sim.take_failures();
    let said = sim.last_words.last();
    assert_eq!(failures, [], "seed {seed}, last words {said:?}");
    sim.meter()
}

fn any_request(rng: &mut SmallRng) -> Request {
    let endings = [
        Ending::Response(200),
        Ending::Response(503),
        Ending::CutByUpstream(200),
        Ending::Timeout,
        Ending::ConnectFailure,
        Ending::NoEndpoint,
        Ending::Cancelled,
        Ending::Local(404),
    ];
    let request = match rng.random_range(0..20) {
        0 => {
            let odd = ADVERSARIAL[rng.random_range(0..ADVERSARIAL.len())];
            Request::to(&String::from_utf8_lossy(odd))
        }
        // More than the tables hold.
        1..=5 => to(rng.random_range(0..20_000)),
        _ => to(rng.random_range(0..50)),
    };
    let wait = Nanos(rng.next_u64() >> rng.random_range(30..64_u32));
    request
        .ending(endings[rng.random_range(0..endings.len())])
        .wait(wait.min(MS(30_000)))
        .route(["", "r1", "r2"][rng.random_range(0..3)])
}

/// Something that is no request.
fn disturb(sim: &mut Sim, host: Personality, rng: &mut SmallRng) {
    let now = sim.now();
    match rng.random_range(0..7) {
        0 => {
            let skew = rng.next_u64().cast_signed() >> rng.random_range(0..64_u32);
            sim.skew(skew);
        }
        1 => {
            let odd = ["", "{}", "{\"gateway\":1}", "\u{1}"][rng.random_range(0..4)];
            let plugin = ["main", "odd", "odd", "odd"][rng.random_range(0..4)];
            sim.configure(plugin, odd);
        }
        2 => {
            let configuration = configuration(sim);
            sim.configure("main", &configuration);
        }
        3 => sim.drain(),
        4 => {
            let key = address(rng.random_range(0..50));
            let target = service("demo", "app", Some(&rng.next_u32().to_string()));
            sim.controller.index.set(now, &key, &target);
        }
        5 => sim.controller.restart(),
        _ if host == Personality::Envoy => intrude(sim, rng),
        _ => intrude_in_kong(sim, rng),
    }
}

/// A callback out of turn, about a context that may not exist.
fn intrude(sim: &mut Sim, rng: &mut SmallRng) {
    let context = match rng.random_range(0..3) {
        0 => rng.next_u32(),
        _ => rng.random_range(0..6_000),
    };
    let other = rng.next_u32() >> rng.random_range(0..32_u32);
    let (name, args): (_, &[u32]) = match rng.random_range(0..7) {
        0 => (callback::CONTEXT_CREATE, &[context, other]),
        1 => (callback::CONFIGURE, &[context, other]),
        2 => (callback::TICK, &[context]),
        3 => (callback::REQUEST_HEADERS, &[context, other, other]),
        4 => (callback::RESPONSE_HEADERS, &[context, other, other]),
        5 => (
            callback::HTTP_CALL_RESPONSE,
            &[context, other, 1, other, other],
        ),
        _ => (callback::DONE, &[context]),
    };
    sim.intrude(0, name, context, args);
}

/// The same, but for what would make the host itself read what is not there.
fn intrude_in_kong(sim: &mut Sim, rng: &mut SmallRng) {
    let known = rng.random_range(0..6_000);
    let unknown = rng.random_range(1 << 20..u32::MAX);
    let other = rng.next_u32() >> rng.random_range(0..32_u32);
    let (name, args): (_, &[u32]) = match rng.random_range(0..8) {
        0 => (callback::TICK, &[known]),
        1 => (callback::TICK, &[unknown]),
        2 => (callback::DELETE, &[known]),
        3 => (callback::LOG, &[unknown]),
        4 => (callback::REQUEST_HEADERS, &[unknown, other, other]),
        5 => (callback::RESPONSE_HEADERS, &[unknown, other, other]),
        6 => (
            callback::HTTP_CALL_RESPONSE,
            &[known, other, 1, other, other],
        ),
        _ => (callback::DONE, &[known]),
    };
    sim.intrude(0, name, args[0], args);
}
