//! A host that answers anything at any call: no trap, no table over its bound, no count lost or doubled that the fault
//! itself does not explain.
//!
//! Two shapes. *One fault*: a script with every kind of request, run once for each (host call, fault), so that a find
//! names its cause. *Storms*: many requests, many faults at once, hostile answers, clocks that jump, memory refused,
//! callbacks out of turn; by seeds, printed as they run.

use std::{collections::BTreeMap, rc::Rc};

use gaugeway_guest::{
    Ending, Fault, Faults, GuestModule, Meter, Request, Sim,
    abi::callback,
    controller::service,
    fault::{ADVERSARIAL, RandomFaults},
    host::Traced,
    sim::Options,
};
use gaugeway_wire::{policy::Policy, units::Nanos};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    hostile,
    scene::{MS, address, module, own, to},
};

/// DESIGN §10's bound holds under fire, too.
const MEMORY: u64 = 12 << 20;

/// Garbage beside the ABI's 0 to 12. 0 comes without an answer.
fn statuses() -> impl Iterator<Item = Fault> {
    let statuses = (0..=12).chain([99, u32::MAX]).map(Fault::Status);
    statuses.chain([1, 10, u32::MAX].map(Fault::Late))
}

fn lies() -> Vec<Fault> {
    let numbers = [0_i64, -1, i64::MIN, i64::MAX, 1 << 14];
    let bytes = [
        Vec::new(),
        vec![0xff],
        vec![0x80; 7],
        vec![b'a'; 513],
        vec![b'0'; 5_000],
        vec![b'{'; 300_000],
    ];
    let pointers = [
        (0, 16),
        (16, 16),
        (65_536, 0),
        (u32::MAX, u32::MAX),
        (1 << 20, u32::MAX),
        (0x8000_0000, 0x8000_0000),
    ];
    let numbers = numbers.map(|n| Fault::Value(n.to_le_bytes().to_vec()));
    let texts = ADVERSARIAL.map(|text| Fault::Value(text.to_vec()));
    let pointers = pointers.map(|(at, size)| Fault::Pointer { at, size });
    let bytes = bytes.map(Fault::Value);
    numbers
        .into_iter()
        .chain(bytes)
        .chain(texts)
        .chain(pointers)
        .collect()
}

/// Each status, and every third of the lies: neighbouring positions, which are often alike, share all of them.
fn faults_at(position: usize) -> impl Iterator<Item = Fault> {
    statuses().chain(lies().into_iter().skip(position % 3).step_by(3))
}

fn new_sim(module: &Rc<GuestModule>, seed: u64, faults: Faults) -> Sim {
    let mut sim = Sim::new(
        Rc::clone(module),
        Options {
            seed,
            faults,
            trace: true,
            ..Options::default()
        },
    );
    sim.controller.index.set_policy(Policy {
        report_interval: MS(1_000),
        unknown_grace: MS(1_000),
        ..Policy::default()
    });
    for n in 0..4 {
        own(&mut sim, n);
    }
    let now = sim.now();
    let both = [
        (service("demo", "app", None), vec!["demo/app/80".to_owned()]),
        (
            service("demo", "other", None),
            vec!["demo/other/80".to_owned()],
        ),
    ];
    sim.controller.index.set_candidates(now, &address(4), &both);
    let configuration = sim.controller.configuration();
    sim.configure("main", &configuration);
    sim
}

/// Each kind of request once.
fn script() -> Vec<Rc<Request>> {
    let requests = [
        to(0),
        to(1).headers_only(),
        to(0).code(503),
        to(2).ending(Ending::Timeout),
        to(2).ending(Ending::CutByClient(200)),
        to(0).ending(Ending::Cancelled),
        to(3).tried(&address(0), 503, None),
        to(4).cluster("demo/other/80"),
        to(9),
        Request::without_address("demo/app/80", Ending::NoEndpoint),
        to(0).ending(Ending::Local(301)),
    ];
    requests.map(Request::shared).to_vec()
}

/// What one run came to.
struct Run {
    reported: u64,
    meter: Meter,
    trace: Vec<Traced>,
}

/// Two rounds of requests with a configuration anew and a new owner in between, then time until everything is reported
/// (`goal`, or a minute), then the end.
fn play(module: &Rc<GuestModule>, faults: Faults, goal: u64) -> Run {
    let mut sim = new_sim(module, 1, faults);
    for request in script() {
        sim.send(0, &request);
    }
    sim.advance(MS(1_500));
    let now = sim.now();
    let new = service("demo", "app", Some("new"));
    sim.controller.index.set(now, &address(0), &new);
    let configuration = sim.controller.configuration();
    sim.configure("main", &configuration);
    for request in script() {
        sim.send(0, &request);
    }
    for _ in 0..60 {
        sim.advance(MS(1_000));
        if sim.controller.ledger.totals.request_count() == goal {
            break;
        }
    }
    // What would come twice has its chance.
    sim.advance(MS(1_100));
    let trace = sim.host(0).and_then(|host| host.trace.take());
    sim.drain();
    sim.terminate();
    sim.advance(MS(1_000));
    assert_eq!(sim.take_failures(), []);
    Run {
        reported: sim.controller.ledger.totals.request_count(),
        meter: sim.meter(),
        trace: trace.unwrap_or_default(),
    }
}

/// Positions worth a fault: all but most of the clock reads of ticks that found nothing to do.
fn positions(trace: &[Traced]) -> Vec<usize> {
    let mut of_entry = BTreeMap::new();
    for call in trace {
        *of_entry.entry(call.entry).or_insert(0_u32) += 1;
    }
    let idle = |call: &Traced| call.callback == callback::TICK && of_entry[&call.entry] == 1;
    let mut idle_seen = 0;
    let mut keep = |call: &Traced| {
        idle_seen += usize::from(idle(call));
        !idle(call) || idle_seen.is_multiple_of(30)
    };
    (0..trace.len()).filter(|&at| keep(&trace[at])).collect()
}

/// How far the requests reported may be from those of a run without faults.
fn tolerance(call: &Traced, all: u64) -> (u64, u64) {
    match call.callback {
        // A root without its configuration counts nothing.
        callback::CONFIGURE | "" => (all, 0),
        // The one request may be taken for another kind, or for none.
        callback::REQUEST_HEADERS | callback::RESPONSE_HEADERS | callback::DONE => (1, 1),
        // Ticks and answers: nothing is lost, nothing comes twice.
        _ => (0, 0),
    }
}

#[test]
fn one_fault_at_every_call() {
    let module = module();
    let whole = play(&module, Faults::None, u64::MAX);
    assert_eq!(whole.reported, 20);
    let baseline = play(&module, Faults::None, whole.reported);
    let (mut runs, mut calls) = (0, 0);
    for position in positions(&baseline.trace) {
        let call = baseline.trace[position];
        let (fewer, more) = tolerance(&call, whole.reported);
        for fault in faults_at(position) {
            println!("position {position}, {call:?}: {fault:?}");
            let at = Faults::At {
                position: position as u64,
                fault,
            };
            let run = play(&module, at, whole.reported);
            let fits = whole.reported - fewer..=whole.reported + more;
            assert!(fits.contains(&run.reported), "{} reported", run.reported);
            assert!(run.meter.memory <= MEMORY);
            runs += 1;
            calls += run.meter.host_call_count();
        }
    }
    println!("{runs} runs, {calls} host calls");
    assert!(calls > 1_000_000, "{runs} runs, {calls} host calls");
}

/// Storms of one test: seeds from `first` on, every second one.
fn storms(first: u64) {
    let module = module();
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
    }
    assert!(calls >= 400_000, "{calls} host calls");
}

#[test]
fn storms_of_faults() {
    storms(1);
}

#[test]
fn more_storms_of_faults() {
    storms(2);
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
            disturb(&mut sim, &mut rng);
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
fn disturb(sim: &mut Sim, rng: &mut SmallRng) {
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
            let configuration = sim.controller.configuration();
            sim.configure("main", &configuration);
        }
        3 => sim.drain(),
        4 => {
            let key = address(rng.random_range(0..50));
            let target = service("demo", "app", Some(&rng.next_u32().to_string()));
            sim.controller.index.set(now, &key, &target);
        }
        5 => sim.controller.restart(),
        _ => intrude(sim, rng),
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
