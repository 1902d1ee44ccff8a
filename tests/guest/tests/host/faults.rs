//! Faults reach the guest, and only where they should.

use gaugeway_guest::{Fault, Faults, Personality, Request, abi::callback as cb, sim::Options};

use crate::tiny::{Tiny, values};

fn options(faults: Faults) -> Options {
    Options {
        faults,
        ..Options::default()
    }
}

#[test]
fn one_call_fails_at_its_position() {
    let tiny = Tiny::new()
        .reads(cb::LOG, "upstream\0address")
        .reads(cb::LOG, "upstream\0address");
    let mut seen = Vec::new();
    // Positions: c S C, then c q r l, the first read, its log line, the second read.
    for (position, fault) in [
        (7, Fault::Status(5)),
        (9, Fault::Value(b"hostile".to_vec())),
        (1000, Fault::Status(3)),
    ] {
        let faults = Faults::At { position, fault };
        let mut sim = tiny.sim_with(Personality::Envoy, options(faults));
        sim.exchange(&Request::to("10.0.0.1:80").shared());
        seen.push(values(&mut sim, 0).join(" "));
    }
    assert_eq!(
        seen,
        [
            "!5 10.0.0.1:80",
            "10.0.0.1:80 hostile",
            "10.0.0.1:80 10.0.0.1:80"
        ]
    );
}

#[test]
fn random_faults_repeat_by_seed() {
    let run = |seed| {
        let faults = Faults::Random(gaugeway_guest::fault::RandomFaults::new(seed, 300));
        let tiny = Tiny::new().reads(cb::LOG, "upstream\0address");
        let mut sim = tiny.sim_with(Personality::Envoy, options(faults));
        (0..50).for_each(|_| sim.exchange(&Request::to("10.0.0.1:80").shared()));
        values(&mut sim, 0)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn memory_can_be_refused() {
    let tiny = Tiny::new().does(
        cb::LOG,
        "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (call $mark (i32.const 33))))",
    );
    let mut sim = tiny.sim(Personality::Envoy);
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    sim.host(0).unwrap().limit_memory(4 * 65_536);
    sim.exchange(&Request::to("10.0.0.1:80").shared());
    let letters = crate::tiny::letters(&mut sim, 0);
    assert!(letters.ends_with("cqrl!dx"), "{letters}");
    assert_eq!(sim.take_meter(0).grown, 65_536);
}
