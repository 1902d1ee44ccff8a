//! Bounds of memory and of the work in one callback, at 4,096 live addresses.

use gaugeway_guest::{Sim, abi::callback, controller::Fate, sim::Options};

use gaugeway_wire::{FilterCounter, Policy, Target, TargetKind};

use crate::scene::{MS, address, own, pod, reported, sim_with, to};

const ADDRESSES: usize = 4_096;
/// DESIGN §10: peak memory of a worker's VM.
const MEMORY: u64 = 12 << 20;
/// How much of the guest's work is a microsecond, for budgets that the filter measures by the host's clock. Optimised
/// code runs 1 to 3 of wasmi's steps per nanosecond.
const FUEL_PER_US: u64 = 1_000;
/// What no callback takes. A thousand would be DESIGN §10's millisecond; lower this with every gain.
const LONGEST: u64 = 2_500 * FUEL_PER_US;

fn crowded() -> Sim {
    let mut sim = sim_with(Options {
        fuel_per_us: Some(FUEL_PER_US),
        ..Options::default()
    });
    for n in 0..ADDRESSES {
        own(&mut sim, n);
    }
    sim
}

/// One request to each address at the same time.
fn round(sim: &mut Sim, wait_ms: u64) {
    for n in 0..ADDRESSES {
        sim.send(0, &to(n).wait(MS(wait_ms)).shared());
    }
    sim.advance(MS(wait_ms + 10));
}

/// Every address gets another owner at once.
fn replace_all(sim: &mut Sim, turn: usize) {
    let now = sim.now();
    for n in 0..ADDRESSES {
        let target = pod(&format!("pod-{n}-{turn}"));
        sim.controller.index.set(now, &address(n), &target);
    }
}

/// Each request of so many rounds was reported once, whoever's it was.
fn all_counted(sim: &Sim, rounds: usize) {
    assert_eq!(sim.controller.violations, Vec::<String>::new());
    let sent = u64::try_from(ADDRESSES * rounds).unwrap();
    assert_eq!(sim.controller.ledger.totals.request_count(), sent);
}

fn peak(sim: &mut Sim) -> u64 {
    let meter = sim.take_meter(0);
    println!(
        "memory {:.2} MiB; dearest callbacks: {:?}",
        meter.memory as f64 / f64::from(1 << 20),
        meter
            .fuel
            .iter()
            .map(|(name, fuel)| (name, fuel.max))
            .collect::<Vec<_>>(),
    );
    meter.memory
}

#[test]
fn memory_with_4096_live_addresses_and_wide_latencies() {
    let mut sim = crowded();
    let waits = [1, 3, 7, 15, 30, 70, 150, 400, 1_000, 3_000, 9_000];
    for wait in waits {
        round(&mut sim, wait);
    }
    sim.advance(MS(20_000));
    assert!(peak(&mut sim) <= MEMORY);
    all_counted(&sim, waits.len());
    // However long the answers take, no owner that the controller knows is taken for nobody.
    assert_eq!(sim.controller.ledger.counter(FilterCounter::Unknown), 0);
}

#[test]
fn memory_while_all_owners_change_and_the_controller_is_away() {
    let mut sim = crowded();
    round(&mut sim, 20);
    sim.advance(MS(30_000));
    for turn in 0..3 {
        replace_all(&mut sim, turn);
        sim.advance(MS(5_000));
        sim.controller.fate = Fate::Reset;
        for wait in [5, 50, 500, 5_000] {
            round(&mut sim, wait);
        }
        sim.advance(MS(60_000));
        sim.controller.fate = Fate::Deliver;
        sim.advance(MS(60_000));
    }
    assert!(peak(&mut sim) <= MEMORY);
    all_counted(&sim, 1 + 3 * 4);
}

#[test]
fn no_callback_takes_long_while_4096_addresses_change() {
    let mut sim = crowded();
    round(&mut sim, 20);
    sim.advance(MS(30_000));
    sim.take_meter(0);
    for turn in 0..3 {
        replace_all(&mut sim, turn);
        sim.advance(MS(300));
        round(&mut sim, 50);
        sim.advance(MS(15_000));
    }
    let meter = sim.take_meter(0);
    for (name, fuel) in &meter.fuel {
        println!("{name}: at most {} steps", fuel.max);
        assert!(fuel.max <= LONGEST, "{name} took {} steps", fuel.max);
    }
    assert!(meter.entries[callback::HTTP_CALL_RESPONSE] > 10);
    sim.advance(MS(20_000));
    all_counted(&sim, 4);
}

#[test]
fn old_and_new_owners_have_room_until_the_next_report() {
    let mut sim = crowded();
    // So long between two reports that both are waiting for the same one.
    sim.controller.index.set_policy(Policy {
        report_interval: MS(60_000),
        ..Policy::default()
    });
    round(&mut sim, 20);
    sim.advance(MS(120_000));
    round(&mut sim, 20);
    replace_all(&mut sim, 0);
    sim.advance(MS(10_000));
    round(&mut sim, 20);
    sim.advance(MS(120_000));
    all_counted(&sim, 3);
    let overflow = Target::try_new(TargetKind::Overflow, Vec::new()).unwrap();
    assert_eq!(reported(&sim, overflow.fingerprint()), 0);
    assert!(peak(&mut sim) <= MEMORY);
}
