//! Single stories of requests in Kong, told from the first one to the controller's totals. Each point of what WasmX does
//! otherwise than Envoy has its own.

use gaugeway_wire::{CodeClass, Outcome, Policy, RequestClass, TargetKind};

use super::{
    controller::{Total, outcome, special},
    kong::{CONFIG, Told, World},
};

pub(super) const MS: u64 = 1_000_000;
pub(super) const A: &str = "10.0.0.1:80";
const B: &str = "[fd00::2]:80";
const IDENTIFIED: &str = r#"{"gateway":"g","controller":"10.0.0.9:7080","identity":{"namespace":"demo","service":"s3","route":"web"}}"#;

pub(super) fn owned() -> World {
    owned_with(CONFIG)
}

pub(super) fn owned_with(config: &str) -> World {
    let mut world = World::with(config);
    let now = world.host.now;
    for (key, service) in [
        (A, "s0"),
        (B, "s1"),
        ("unix:/run/app.sock", "s2"),
        ("cluster:demo/s3", "s3"),
        ("cluster:demo.web.80", "s4"),
    ] {
        world.controller.own(key, &[service], now);
    }
    world
}

/// Long enough for everything to be reported.
pub(super) fn report(world: &mut World) {
    world.run_seconds(60);
}

fn classes(total: &Total) -> Vec<(Outcome, CodeClass, u64)> {
    let of = |(&class, &count): (&usize, &u64)| {
        let class = RequestClass::from_index(class as u64).unwrap();
        (class.outcome, class.code, count)
    };
    total.requests.iter().map(of).collect()
}

#[test]
fn an_answered_request_counts_with_nginxs_own_time() {
    let mut world = owned();
    world.request(A, 44);
    world.request(A, 0);
    world.request(B, 1_000);
    report(&mut world);
    let s0 = world.controller.service("s0");
    assert_eq!((s0.samples, s0.sum, s0.aborted), (2, 44 * MS, 0));
    assert_eq!(classes(&s0), [(Outcome::Response, CodeClass::Success, 2)]);
    assert_eq!(world.controller.service("s1").sum, 1_000 * MS);
}

/// Golden: what each kind of request costs in host calls, and that nothing else is read.
#[test]
fn host_calls() {
    let mut world = owned();
    world.request(A, 1);
    world.run_seconds(20);
    let reads = |world: &mut World, act: &dyn Fn(&mut World)| {
        world.host.reads.clear();
        act(world);
        world.host.reads.join(" ")
    };
    assert_eq!(
        reads(&mut world, &|world| world.request(A, 1)),
        "clock upstream_addr upstream_status upstream_header_time request_completion"
    );
    let left = Told {
        header_times: "-".to_owned(),
        response_times: "0.007".to_owned(),
        code: "499".to_owned(),
        ..Told::ok(A, 0)
    };
    assert_eq!(
        reads(&mut world, &|world| world.unanswered(7, &left)),
        "clock code clock upstream_addr upstream_status upstream_header_time upstream_connect_time \
         upstream_response_time"
    );
    assert_eq!(
        reads(&mut world, &|world| world.orphan(1, &Told::default())),
        "clock clock"
    );
    let config = world.roots[0].context;
    let context = world.start_at(config, &Told::default());
    assert_eq!(
        reads(&mut world, &|world| world
            .headers(context, &Told::default())),
        "upstream_addr code"
    );
}

#[test]
fn each_try_counts_at_its_own_address() {
    let mut world = owned();
    world.exchange(&Told {
        addresses: format!("{A}, {A}, {B} : unix:/run/app.sock"),
        statuses: "502, 504, 503 : 200".to_owned(),
        header_times: "-, -, 0.012 : 0.003".to_owned(),
        connect_times: "-, 0.001, 0.000 : 0.000".to_owned(),
        response_times: "0.000, 2.000, 0.013 : 0.004".to_owned(),
        ..Told::ok("", 0)
    });
    report(&mut world);
    let [s0, s1, s2] = ["s0", "s1", "s2"].map(|service| world.controller.service(service));
    assert_eq!(
        classes(&s0),
        [
            (Outcome::Timeout, CodeClass::None, 1),
            (Outcome::ConnectFailure, CodeClass::None, 1)
        ]
    );
    assert_eq!((s0.samples, s0.sum, s0.retries), (1, 2_000 * MS, 1));
    assert_eq!(
        classes(&s1),
        [(Outcome::Response, CodeClass::ServerError, 1)]
    );
    assert_eq!((s1.samples, s1.sum, s1.retries), (1, 12 * MS, 1));
    assert_eq!(classes(&s2), [(Outcome::Response, CodeClass::Success, 1)]);
    assert_eq!((s2.samples, s2.sum, s2.retries), (1, 3 * MS, 1));
    assert_eq!(
        s0.latency_unknown + s1.latency_unknown + s2.latency_unknown,
        0
    );
}

#[test]
fn of_too_many_tries_the_last_are_told_apart() {
    let mut world = owned();
    let list = |first: &str, last: &str| format!("{}{last}", format!("{first}, ").repeat(40));
    world.exchange(&Told {
        addresses: list(B, A),
        statuses: list("502", "200"),
        header_times: list("-", "0.003"),
        connect_times: list("-", "0.000"),
        response_times: list("0.000", "0.003"),
        ..Told::ok("", 0)
    });
    report(&mut world);
    let [s0, s1] = ["s0", "s1"].map(|service| world.controller.service(service));
    assert_eq!((s0.requests(), s0.sum), (1, 3 * MS));
    assert_eq!(outcome(&s1, Outcome::ConnectFailure), 15);
    assert_eq!(world.controller.counter("unrecorded"), 25);
}

#[test]
fn what_a_last_try_without_an_answer_comes_to() {
    use CodeClass::{None as NoCode, ServerError};
    let rows = [
        // Connect time, status, code, response time: outcome, code class, samples, sum, cancelled wait.
        (
            "0.000",
            "499",
            "499",
            "0.250",
            (Outcome::Cancelled, NoCode, 0, 0, 250),
        ),
        (
            "-",
            "-",
            "499",
            "-",
            (Outcome::Cancelled, NoCode, 0, 0, 400),
        ),
        (
            "-",
            "502",
            "502",
            "0.400",
            (Outcome::ConnectFailure, ServerError, 0, 0, 0),
        ),
        (
            "0.001",
            "502",
            "502",
            "0.400",
            (Outcome::Reset, ServerError, 0, 0, 0),
        ),
        (
            "0.001",
            "504",
            "504",
            "0.400",
            (Outcome::Timeout, ServerError, 1, 400, 0),
        ),
    ];
    for (connect, status, code, response, expected) in rows {
        let mut world = owned();
        let told = Told {
            statuses: status.to_owned(),
            header_times: "-".to_owned(),
            connect_times: connect.to_owned(),
            response_times: response.to_owned(),
            code: code.to_owned(),
            complete: false,
            ..Told::ok(A, 0)
        };
        world.unanswered(400, &told);
        report(&mut world);
        let s0 = world.controller.service("s0");
        let [(outcome, class, 1)] = classes(&s0)[..] else {
            panic!("{told:?}: {s0:?}");
        };
        assert_eq!(
            (
                outcome,
                class,
                s0.samples,
                s0.sum / MS,
                s0.cancelled_wait / MS
            ),
            expected,
            "{told:?}"
        );
        assert_eq!(s0.latency_unknown, 0);
    }
}

/// nginx without Kong's error pages.
#[test]
fn an_error_that_comes_with_headers_of_nginxs_own_is_no_response() {
    for (address, status, connect, expected, samples) in [
        (A, "502", "-", Outcome::ConnectFailure, 0),
        (A, "502", "0.000", Outcome::Reset, 0),
        (A, "504", "0.000", Outcome::Timeout, 1),
        ("upstream", "502", "-", Outcome::NoEndpoint, 0),
    ] {
        let mut world = owned_with(IDENTIFIED);
        for complete in [true, false] {
            world.exchange(&Told {
                statuses: status.to_owned(),
                header_times: "-".to_owned(),
                connect_times: connect.to_owned(),
                response_times: "0.400".to_owned(),
                code: status.to_owned(),
                complete,
                ..Told::ok(address, 0)
            });
        }
        report(&mut world);
        let service = if address == A { "s0" } else { "s3" };
        let total = world.controller.service(service);
        assert_eq!(
            classes(&total),
            [(expected, CodeClass::ServerError, 2)],
            "{status}"
        );
        assert_eq!((total.samples, total.latency_unknown), (2 * samples, 0));
        assert_eq!((total.sum, total.aborted), (2 * samples * 400 * MS, 0));
    }
}

#[test]
fn a_client_that_left_during_the_body_aborts() {
    let mut world = owned();
    for code in ["200", "499"] {
        world.exchange(&Told {
            complete: false,
            code: code.to_owned(),
            ..Told::ok(A, 5)
        });
    }
    report(&mut world);
    let s0 = world.controller.service("s0");
    assert_eq!((s0.requests(), s0.samples, s0.aborted), (2, 2, 2));
    assert_eq!(outcome(&s0, Outcome::Response), 2);
}

#[test]
fn a_stream_counts_at_its_headers() {
    let mut world = owned();
    let told = Told::ok(A, 5);
    let context = world.start(&told);
    world.headers(context, &told);
    report(&mut world);
    assert_eq!(world.controller.service("s0").sum, 5 * MS);
    world.log(context, &told);
    world.delete(context);
    report(&mut world);
    assert_eq!(world.controller.service("s0").requests(), 1);
}

#[test]
fn no_live_peer_counts_where_the_request_was_to_go() {
    let mut world = owned_with(IDENTIFIED);
    world.unanswered(
        1,
        &Told {
            addresses: format!("{A}, kong_upstream"),
            statuses: "502, 502".to_owned(),
            header_times: "-, -".to_owned(),
            connect_times: "-, -".to_owned(),
            response_times: "0.000, 0.000".to_owned(),
            code: "502".to_owned(),
            ..Told::ok("", 0)
        },
    );
    report(&mut world);
    let [s0, s3] = ["s0", "s3"].map(|service| world.controller.service(service));
    assert_eq!(outcome(&s0, Outcome::ConnectFailure), 1);
    assert_eq!(
        classes(&s3),
        [(Outcome::NoEndpoint, CodeClass::ServerError, 1)]
    );
}

#[test]
fn orphans_count_once_from_delete_at_the_configured_identity() {
    let mut world = owned_with(IDENTIFIED);
    world.orphan(3, &Told::ok(A, 3));
    world.orphan(60_000, &Told::ok(A, 3));
    report(&mut world);
    let s3 = world.controller.service("s3");
    assert_eq!(
        classes(&s3),
        [
            (Outcome::Timeout, CodeClass::ServerError, 1),
            (Outcome::Reset, CodeClass::ServerError, 1)
        ]
    );
    assert_eq!((s3.samples, s3.sum), (1, 60_000 * MS));
    assert_eq!(world.controller.requests(), 2);
}

#[test]
fn a_shorter_time_out_is_told_by_the_configuration() {
    let config = IDENTIFIED.replace(r#""gateway""#, r#""timeout_ms":2000,"gateway""#);
    let mut world = owned_with(&config);
    // nginx's timers come early where its worker is busy.
    for ms in [1_899, 1_900, 1_999, 2_000] {
        world.orphan(ms, &Told::ok(A, 3));
    }
    report(&mut world);
    let s3 = world.controller.service("s3");
    assert_eq!(outcome(&s3, Outcome::Timeout), 3);
    assert_eq!(outcome(&s3, Outcome::Reset), 1);
}

#[test]
fn orphans_of_a_configuration_without_a_service_are_of_unknown() {
    let mut world = owned();
    for _ in 0..3 {
        world.orphan(3, &Told::ok(A, 3));
    }
    report(&mut world);
    let unknown = special(TargetKind::Unknown);
    assert_eq!(world.controller.of(unknown).requests(), 3);
}

#[test]
fn the_log_without_request_headers_counts_and_reads_nothing() {
    let mut world = owned();
    world.request(A, 1);
    report(&mut world);
    let requests = world.controller.requests();
    let root = world.roots[0].context;
    let context = crate::ContextId(9_999);
    world.instance.on_context_create(context, Some(root));
    world.host.reads.clear();
    world.log(context, &Told::ok("kong_upstream", 1));
    world.delete(context);
    assert!(world.host.reads.is_empty());
    report(&mut world);
    assert_eq!(world.controller.requests(), requests);
}

#[test]
fn what_no_upstream_answered_is_not_counted() {
    let mut world = owned();
    world.request(A, 1);
    world.exchange(&Told {
        addresses: String::new(),
        ..Told::ok("", 1)
    });
    report(&mut world);
    assert_eq!(world.controller.requests(), 1);
    assert_eq!(world.controller.counter("bad_configurations"), 0);
}

#[test]
fn a_gateway_that_is_not_kong_is_told_once() {
    let mut world = owned();
    for _ in 0..3 {
        // Envoy writes numbers as eight bytes, and has no attributes of nginx.
        world.exchange(&Told {
            addresses: String::new(),
            code: "\u{48}\u{1}\0\0\0\0\0\0".to_owned(),
            ..Told::ok("", 1)
        });
    }
    let told = world
        .host
        .log
        .iter()
        .filter(|line| line.contains("not Kong"));
    assert_eq!(told.count(), 1);
}

#[test]
fn routes_come_from_the_configuration() {
    for (config, route) in [(CONFIG, ""), (IDENTIFIED, "web")] {
        let mut world = owned_with(config);
        world.controller.set_policy(Policy {
            route: true,
            ..Policy::default()
        });
        world.request(A, 1);
        world.run_seconds(20);
        world.request(A, 1);
        report(&mut world);
        let mut routes = world.controller.totals.keys();
        assert!(
            routes.all(|(_, of)| of.is_empty() || of == route),
            "{route}"
        );
        assert!(world.controller.totals.keys().any(|(_, of)| of == route));
    }
}

#[test]
fn a_shared_address_is_told_apart_by_the_service() {
    let mut world = World::new();
    let now = world.host.now;
    world.controller.own(A, &["s0", "s1"], now);
    for _ in 0..7 {
        world.request(A, 1);
    }
    report(&mut world);
    assert_eq!(world.controller.service("s0").requests(), 7);
    assert!(world.controller.counter("ambiguous") > 0);
    let mut world = World::with(
        r#"{"gateway":"g","controller":"10.0.0.9:7080","identity":{"namespace":"demo","service":"s1"}}"#,
    );
    world.controller.own(A, &["s0", "s1"], now);
    for _ in 0..3 {
        world.request(A, 1);
    }
    report(&mut world);
    assert_eq!(world.controller.service("s1").requests(), 3);
}

#[test]
fn a_cluster_ip_counts_at_its_service() {
    let mut world = World::new();
    let now = world.host.now;
    world.controller.own("10.96.0.7:80", &["s0"], now);
    world.request("10.96.0.7:80", 3);
    report(&mut world);
    assert_eq!(world.controller.service("s0").sum, 3 * MS);
}

#[test]
fn garbage_is_absent_and_still_counts_once() {
    let mut world = owned();
    world.exchange(&Told {
        statuses: "x".to_owned(),
        header_times: "\u{7f}, , ,".to_owned(),
        connect_times: "-1".to_owned(),
        response_times: "never".to_owned(),
        ..Told::ok(A, 1)
    });
    report(&mut world);
    let s0 = world.controller.service("s0");
    assert_eq!(classes(&s0), [(Outcome::Response, CodeClass::None, 1)]);
    assert_eq!((s0.samples, s0.latency_unknown), (0, 1));
}
