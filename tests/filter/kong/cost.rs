//! What each kind of request costs in Kong, in `tests/filter/kong-cost.txt`: see `tests/filter/cost.rs`.

use gaugeway_guest::{Ending, Request, Sim, Try, controller::service};
use gaugeway_wire::policy::Policy;

use super::{SERVICE, sim, to};
use crate::{
    cost::{check_golden, measure_between_ticks},
    scene::{MS, address, own},
};

/// How the worker is set up before.
type Prepare = fn(&mut Sim);

fn plain(_: &mut Sim) {}

fn without_identity(sim: &mut Sim) {
    let configuration = sim.controller.configuration();
    sim.configure("main", &configuration);
}

fn shared(sim: &mut Sim) {
    let both = ["app", "other"].map(|name| {
        let hints = vec![format!("demo/{name}")];
        (service("demo", name, None), hints)
    });
    let now = sim.now();
    sim.controller.index.set_candidates(now, &address(1), &both);
}

fn shared_without_identity(sim: &mut Sim) {
    without_identity(sim);
    shared(sim);
}

fn with_route(sim: &mut Sim) {
    sim.controller.index.set_policy(Policy {
        route: true,
        ..Policy::default()
    });
}

fn kinds() -> Vec<(&'static str, Request, Prepare)> {
    let retried = to(1)
        .tried(Try::refused(&address(2)))
        .tried(Try::timed_out(&address(2), MS(20)));
    vec![
        ("ordinary, known address", to(1), plain),
        (
            "ordinary, without a configured Service",
            to(1),
            without_identity,
        ),
        ("nothing after the headers", to(1).headers_only(), plain),
        ("5xx of the upstream", to(1).code(503), plain),
        ("Kong's own error", to(1).ending(Ending::Reset), plain),
        (
            "Kong's own error, without a configured Service",
            to(1).ending(Ending::Reset),
            without_identity,
        ),
        (
            "no live peer",
            Request::without_address(SERVICE, Ending::NoEndpoint),
            plain,
        ),
        ("cancelled", to(1).ending(Ending::Cancelled), plain),
        (
            "cut after the headers",
            to(1).ending(Ending::CutByClient(200)),
            plain,
        ),
        ("tried three times", retried, plain),
        ("shared address", to(1), shared),
        (
            "shared address, without a configured Service",
            to(1),
            shared_without_identity,
        ),
        ("with its route", to(1), with_route),
    ]
}

#[test]
fn each_kind_of_request_costs_what_it_did() {
    let costs = kinds().into_iter().map(|(kind, request, prepare)| {
        let mut sim = sim();
        own(&mut sim, 1);
        own(&mut sim, 2);
        prepare(&mut sim);
        (kind, measure_between_ticks(&mut sim, &request))
    });
    check_golden("kong-cost.txt", costs);
}

/// Each read costs 1 to 2 µs.
#[test]
fn an_ordinary_request_stays_within_its_budget() {
    let mut sim = sim();
    own(&mut sim, 1);
    let meter = measure_between_ticks(&mut sim, &to(1));
    assert!(meter.host_calls["proxy_get_property"] <= 4, "{meter}");
    assert!(meter.host_call_count() <= 6, "{meter}");
    assert_eq!(meter.grown, 0, "{meter}");
}
