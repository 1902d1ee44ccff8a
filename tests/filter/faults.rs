//! A host that answers anything at any call: no trap, no table over its bound, no count lost or doubled that the fault
//! itself does not explain.
//!
//! Two shapes. *One fault*: a script with every kind of request, run once for each (host call, fault), so that a find
//! names its cause. *Storms*: many requests, many faults at once, hostile answers, clocks that jump, memory refused,
//! callbacks out of turn; by seeds, printed as they run.

mod storms;

use std::{collections::BTreeMap, rc::Rc};

use gaugeway_guest::{
    Ending, Fault, Faults, GuestModule, Meter, Personality, Request, Sim, Try, abi::callback,
    controller::service, fault::ADVERSARIAL, host::Traced, sim::Options,
};
use gaugeway_wire::policy::Policy;

use crate::scene::{MS, address, load, own, to};

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

/// Each status, and every sixth of the lies: neighbouring positions, which are often alike, share all of them.
fn faults_at(position: usize) -> impl Iterator<Item = Fault> {
    statuses().chain(lies().into_iter().skip(position % 6).step_by(6))
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
    let configuration = configuration(&sim);
    sim.configure("main", &configuration);
    sim
}

/// Kong's module has to be told to report as often as Envoy's here.
fn configuration(sim: &Sim) -> String {
    let often =
        r#"{"policy":{"report_interval_ms":1000},"identity":{"namespace":"demo","service":"app"},"#;
    sim.controller.configuration().replacen('{', often, 1)
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
        to(3).tried(Try::refused(&address(0))),
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
/// (`goal`, or long enough), then the end.
fn play(module: &Rc<GuestModule>, faults: Faults, goal: u64) -> Run {
    // In Kong a report that has nothing to say waits for a heartbeat.
    let seconds = match module.personality() {
        Personality::Envoy => 60,
        Personality::WasmX => 180,
    };
    let mut sim = new_sim(module, 1, faults);
    for request in script() {
        sim.send(0, &request);
    }
    sim.advance(MS(1_500));
    let now = sim.now();
    let new = service("demo", "app", Some("new"));
    sim.controller.index.set(now, &address(0), &new);
    let configuration = configuration(&sim);
    sim.configure("main", &configuration);
    for request in script() {
        sim.send(0, &request);
    }
    for _ in 0..seconds {
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

/// Tries of one request that Kong's module tells apart.
const TRIES: u64 = 16;

/// How far the requests reported may be from those of a run without faults.
fn tolerance(host: Personality, call: &Traced, all: u64) -> (u64, u64) {
    match call.callback {
        // A root without its configuration counts nothing.
        callback::CONFIGURE | "" => (all, 0),
        // The one request may be taken for another kind, or for none.
        callback::REQUEST_HEADERS | callback::RESPONSE_HEADERS | callback::DONE
            if host == Personality::Envoy =>
        {
            (1, 1)
        }
        // Each of its tries counts, and a false list tells of others.
        callback::REQUEST_HEADERS
        | callback::RESPONSE_HEADERS
        | callback::LOG
        | callback::DELETE => (2, TRIES),
        // Ticks and answers: nothing is lost, nothing comes twice.
        _ => (0, 0),
    }
}

#[test]
fn one_fault_at_every_call() {
    assert!(faults_one_by_one(Personality::Envoy) > 1_000_000);
}

#[test]
fn one_fault_at_every_call_in_kong() {
    assert!(faults_one_by_one(Personality::WasmX) > 500_000);
}

/// Returns how many host calls were made.
fn faults_one_by_one(host: Personality) -> u64 {
    let module = load(host);
    let whole = play(&module, Faults::None, u64::MAX);
    assert_eq!(whole.reported, 20);
    let baseline = play(&module, Faults::None, whole.reported);
    let (mut runs, mut calls) = (0, 0);
    for position in positions(&baseline.trace) {
        let call = baseline.trace[position];
        let (fewer, more) = tolerance(host, &call, whole.reported);
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
    calls
}
