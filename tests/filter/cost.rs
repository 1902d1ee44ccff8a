//! What each kind of request costs: host calls, guest entries and allocations exactly, instructions within 2 %.
//!
//! The figures stand in `tests/filter/cost.txt`; a change in them is a reviewed diff.

use std::{fmt::Write as _, path::Path};

use gaugeway_guest::{
    Ending, Meter, Request, Sim, Try, abi::callback, controller::service, golden,
};
use gaugeway_wire::units::Nanos;

use crate::scene::{MS, address, own, sim, to};

/// How often a kind of request is sent before it is measured: then its series exist and were reported.
const WARM_UP: usize = 3;
/// Between two ticks, in either host.
const TICKS: Nanos = Nanos::from_millis(500);

fn shared(sim: &mut Sim) {
    let now = sim.now();
    let both = [
        (service("demo", "app", None), vec!["demo/app/80".to_owned()]),
        (
            service("demo", "other", None),
            vec!["demo/other/80".to_owned()],
        ),
    ];
    sim.controller.index.set_candidates(now, &address(1), &both);
}

/// Kinds of requests, each with its name.
fn kinds() -> Vec<(&'static str, Request)> {
    vec![
        ("ordinary, known address", to(1)),
        ("nothing after the headers", to(1).headers_only()),
        ("5xx of the upstream", to(1).code(503)),
        ("connect failure", to(1).ending(Ending::ConnectFailure)),
        (
            "no endpoint",
            Request::without_address("demo/app/80", Ending::NoEndpoint),
        ),
        ("cancelled", to(1).ending(Ending::Cancelled)),
        (
            "cut after the headers",
            to(1).ending(Ending::CutByClient(200)),
        ),
        ("retried", to(1).tried(Try::refused(&address(2)))),
        ("shared address", to(1).cluster("demo/other/80")),
        ("direct response", to(1).ending(Ending::Local(301))),
    ]
}

/// Sends it alone, between two ticks.
fn measure(sim: &mut Sim, request: &Request) -> Meter {
    sim.take_meter(0);
    sim.exchange(&request.clone().shared());
    let meter = sim.take_meter(0);
    assert!(
        !meter.entries.contains_key(callback::TICK),
        "a tick came in between"
    );
    meter
}

/// Sends it alone, between two ticks, when it is nothing new any more.
pub(crate) fn measure_between_ticks(sim: &mut Sim, request: &Request) -> Meter {
    for _ in 0..WARM_UP {
        sim.exchange(&request.clone().shared());
        settle(sim);
    }
    measure(sim, request)
}

fn cost_of(kind: &str, request: &Request) -> Meter {
    let mut sim = sim();
    if kind == "shared address" {
        shared(&mut sim);
    } else {
        own(&mut sim, 1);
    }
    measure_between_ticks(&mut sim, request)
}

/// Lets everything be mapped and reported, and stops right behind a tick. A tick comes each 100 ms, or a multiple.
fn settle(sim: &mut Sim) {
    sim.advance(MS(40_000));
    let into = sim.now().0 % TICKS.0;
    sim.advance(Nanos(TICKS.0 - into + 1_000_000));
}

/// Compares costs with a file beside this one.
pub(crate) fn check_golden(file: &str, costs: impl IntoIterator<Item = (&'static str, Meter)>) {
    let mut text = String::new();
    for (kind, meter) in costs {
        let _ = writeln!(text, "{kind}");
        for line in meter.to_string().lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filter");
    if let Err(difference) = golden::check(&folder.join(file), &text) {
        panic!("{difference}");
    }
}

#[test]
fn each_kind_of_request_costs_what_it_did() {
    let kinds = kinds().into_iter();
    let costs = kinds.map(|(kind, request)| (kind, cost_of(kind, &request)));
    check_golden("cost.txt", costs);
}

/// DESIGN §10.
#[test]
fn an_ordinary_request_stays_within_its_budget() {
    let meter = cost_of("ordinary", &to(1));
    assert!(meter.host_call_count() <= 6, "{meter}");
    assert!(meter.entry_count() <= 5, "{meter}");
    assert_eq!(meter.grown, 0, "{meter}");
}

#[test]
fn the_thousandth_request_costs_what_the_tenth_did() {
    let mut sim = sim();
    own(&mut sim, 1);
    for _ in 0..10 {
        sim.exchange(&to(1).shared());
    }
    settle(&mut sim);
    sim.exchange(&to(1).shared());
    settle(&mut sim);
    let tenth = measure(&mut sim, &to(1));
    for _ in 0..1_000 {
        sim.exchange(&to(1).shared());
    }
    settle(&mut sim);
    let thousandth = measure(&mut sim, &to(1));
    assert_eq!(tenth.host_calls, thousandth.host_calls);
    let (tenth, thousandth) = (tenth.fuel_total(), thousandth.fuel_total());
    assert!(
        thousandth <= tenth + tenth / 50,
        "{tenth} then {thousandth}"
    );
}
