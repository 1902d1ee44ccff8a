//! Windows fed by reports, against a model that keeps every report; who covers a window, and who does not.

use gaugeway_wire::{
    CodeClass, GatewayName, Label, Nanos, Outcome, Policy, Report, RequestClass, Seq, Target,
    TargetDefinition, TargetKind, UnixNanos, VmId,
    histogram::{bucket_index, classic_position},
    report::{ReportWriter, SeriesCounts},
    target::names,
};
use proptest::prelude::*;

use super::*;
use crate::{Aggregate, Applied, Config, Maker, Reach, units::seconds};

const START: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

struct Any;

impl Reach for Any {
    fn generation(&self) -> Option<gaugeway_wire::Generation> {
        Some(gaugeway_wire::Generation(1))
    }

    fn allows(&self, _: &GatewayName, _: &Target) -> bool {
        true
    }

    fn maker(&self, _: &GatewayName, _: &Target) -> Option<Maker> {
        None
    }
}

fn at(second: u64) -> UnixNanos {
    START.plus(seconds(second))
}

fn gateway(name: &str) -> GatewayName {
    GatewayName::try_new(name).unwrap()
}

fn target(service: &str, pod: &str) -> Target {
    let all = [
        (names::NAMESPACE, "shop"),
        (names::SERVICE, service),
        (names::POD, pod),
    ];
    let label = |(name, value): (&str, &str)| Label {
        name: name.to_owned().into(),
        value: value.into(),
    };
    Target::try_new(TargetKind::Kubernetes, all.map(label).into()).unwrap()
}

fn aggregate() -> Aggregate {
    let config = Config {
        layout: Policy::default().layout(),
        max_series: 1000,
        series_expiry: seconds(300),
        by_service: false,
    };
    let mut aggregate = Aggregate::new(config, START);
    aggregate.begin();
    aggregate
}

/// A report of requests that took 7 ms each; without any it says that the VM lives.
struct Told<'a> {
    gateway: &'a str,
    vm: u8,
    seq: u64,
    from: UnixNanos,
    to: UnixNanos,
    counts: &'a [(Target, u64)],
}

fn tell(to: &mut Aggregate, told: &Told<'_>, now: UnixNanos) -> Applied {
    let layout = Policy::default().layout();
    let took = Nanos::from_millis(7);
    let gateway = gateway(told.gateway);
    let vm = VmId([told.vm; 16]);
    let mut writer = ReportWriter::new(Vec::new(), vm, Seq(told.seq), told.from, &layout);
    for (target, count) in told.counts {
        let encoded = target.encode();
        let definition = TargetDefinition {
            fingerprint: target.fingerprint(),
            target: &encoded,
        };
        to.define(&gateway, &definition, &Any, now).unwrap();
        let class = RequestClass {
            outcome: Outcome::Response,
            code: CodeClass::Success,
        };
        let native = bucket_index(layout.schema, took).unwrap();
        assert!(writer.series(SeriesCounts {
            target: target.fingerprint(),
            route: "",
            requests: [(class, *count)].into_iter(),
            native: [(native, *count)].into_iter(),
            classic: [(classic_position(&layout.bounds, took), *count)].into_iter(),
            zero_count: 0,
            sum: Nanos(took.0 * count),
            retries: 0,
            aborted: 0,
            latency_unknown: 0,
            cancelled_wait: Nanos(0),
        }));
    }
    let bytes = writer.finish(told.to);
    let report = Report::decode(&bytes).unwrap();
    to.apply(&gateway, &report, &Any, now).unwrap()
}

fn requests(of: &Aggregate, subject: Subject<'_>, window: Window, now: UnixNanos) -> u64 {
    let sample = of.recent().unwrap().sample(subject, window, now);
    assert!(sample.is_complete(window));
    let reading = sample.read(window, &of.config().layout);
    assert_eq!(
        reading.counts().latency.count(),
        reading.counts().requests_total()
    );
    reading.counts().requests_total()
}

const CART: Subject<'static> = Subject::Service {
    namespace: "shop",
    name: "cart",
};

fn pod(name: &str) -> Subject<'_> {
    Subject::Pod {
        namespace: "shop",
        name,
    }
}

/// Reports of one gateway without requests, every 5 s.
fn reporting(to: &mut Aggregate, gateway: &str, vm: u8, seconds: std::ops::Range<u64>) {
    for end in seconds.step_by(5) {
        let told = Told {
            gateway,
            vm,
            seq: end,
            from: at(end - 5),
            to: at(end),
            counts: &[],
        };
        tell(to, &told, at(end));
    }
}

fn judged(of: &Aggregate, window: Window, now: UnixNanos, by: &[&str]) -> Result<(), Unknown> {
    let gateways: Vec<_> = by.iter().map(|name| gateway(name)).collect();
    of.recent()
        .unwrap()
        .standings(window, now)
        .judge(&gateways)
        .map(drop)
}

const SLOT: u64 = 5_000_000_000;

/// When a window of so many seconds began; the longest begins with a half minute.
fn begin(now: UnixNanos, seconds: u64) -> u64 {
    let begin = now.0 / SLOT * SLOT - seconds * 1_000_000_000;
    if seconds == 300 {
        begin / (6 * SLOT) * (6 * SLOT)
    } else {
        begin
    }
}

proptest! {
    #[test]
    fn windows_fed_by_reports_are_what_the_model_says(
        reports in prop::collection::vec(
            (0_u64..12_000, prop_oneof![3 => 0_u64..3_000, 1 => 0_u64..400_000],
             prop_oneof![3 => Just(5_000_u64), 1 => 0_u64..70_000, 1 => 250_000_u64..400_000],
             0_usize..2, 0_usize..3, 1_u64..5), 0..60),
        later in 0_u64..70_000,
    ) {
        let (services, pods) = (["cart", "till"], ["a", "b", "c"]);
        let mut aggregate = aggregate();
        let mut kept = Vec::new();
        let mut now = at(1000);
        for (seq, (pause, age, span, service, pod, count)) in reports.into_iter().enumerate() {
            now = now.plus(Nanos::from_millis(pause));
            let to = now.minus(Nanos::from_millis(age));
            let told = Told {
                gateway: "shop/edge",
                vm: 1,
                seq: seq as u64 + 1,
                from: to.minus(Nanos::from_millis(span)),
                to,
                counts: &[(target(services[service], pods[pod]), count)],
            };
            let applied = tell(&mut aggregate, &told, now);
            let old = to.0 < begin(now, 300);
            prop_assert_eq!(applied.unfit.is_some(), span > 300_000 || old);
            kept.push((to.0, span, service, pod, count));
        }
        now = now.plus(Nanos::from_millis(later));
        for (window, length) in Window::ALL.into_iter().zip([15_u64, 30, 60, 300]) {
            let inside = begin(now, length)..now.0 / SLOT * SLOT;
            let sum = |of: &dyn Fn(usize, usize) -> bool| -> u64 {
                let fits = kept.iter().filter(|(to, span, service, pod, _)| {
                    inside.contains(to) && *span <= length * 1000 && of(*service, *pod)
                });
                fits.map(|(.., count)| count).sum()
            };
            prop_assert_eq!(requests(&aggregate, CART, window, now), sum(&|s, _| s == 0));
            for (i, name) in pods.iter().enumerate() {
                let modelled = sum(&|_, p| p == i);
                prop_assert_eq!(requests(&aggregate, pod(name), window, now), modelled);
            }
        }
        aggregate.sweep(None, now.plus(seconds(400)));
        prop_assert_eq!(aggregate.recent().unwrap().bytes(), 0);
        prop_assert_eq!(aggregate.recent().unwrap().objects(), 0);
    }
}

#[test]
fn an_idle_gateway_that_reports_is_known_and_a_young_one_is_not() {
    let mut aggregate = aggregate();
    reporting(&mut aggregate, "shop/edge", 1, 5..100);
    let edge = ["shop/edge"];
    assert_eq!(judged(&aggregate, Window::Seconds60, at(99), &edge), Ok(()));
    let young = judged(&aggregate, Window::Minutes5, at(99), &edge);
    assert_eq!(young, Err(Unknown::Young));
    assert_eq!(requests(&aggregate, CART, Window::Seconds60, at(99)), 0);
}

#[test]
fn a_gateway_that_stopped_makes_unknown_until_the_window_is_past_it() {
    let mut aggregate = aggregate();
    for end in (5..150).step_by(5) {
        reporting(&mut aggregate, "shop/edge", 1, end..end + 1);
        reporting(&mut aggregate, "shop/gone", 2, end..end + 1);
    }
    reporting(&mut aggregate, "shop/edge", 1, 150..200);
    let both = ["shop/edge", "shop/gone"];
    let stopped = Err(Unknown::Stopped(Silence(gateway("shop/gone"))));
    assert_eq!(
        judged(&aggregate, Window::Seconds60, at(196), &both),
        stopped
    );
    let alone = judged(&aggregate, Window::Seconds60, at(196), &both[1..]);
    assert_eq!(alone, stopped);
    reporting(&mut aggregate, "shop/edge", 1, 200..250);
    assert_eq!(
        judged(&aggregate, Window::Seconds60, at(247), &both),
        Ok(())
    );
    let gone = judged(&aggregate, Window::Seconds60, at(247), &both[1..]);
    assert_eq!(gone, Err(Unknown::NoGateway));
}

#[test]
fn traffic_that_nobody_told_of_yet_is_not_gone_before_it_is_unknown() {
    // At an interval of 5 s, of 15 s as Kong reports, and of 1 s; at the begin of a slot, and within one.
    for (pace, phase, over) in [
        (5, 0, 400),
        (5, 3, 400),
        (15, 0, 400),
        (15, 4, 400),
        (1, 0, 400),
        (1, 0, 398),
        (1, 0, 396),
    ] {
        let mut aggregate = aggregate();
        let ends = (pace + phase..over).step_by(usize::try_from(pace).unwrap());
        let last = ends.clone().last().unwrap();
        for end in ends {
            let told = Told {
                gateway: "shop/edge",
                vm: 1,
                seq: end,
                from: at(end - pace),
                to: at(end),
                counts: &[(target("cart", "a"), pace * 6)],
            };
            tell(&mut aggregate, &told, at(end));
        }
        for window in Window::ALL {
            // The longest begins where a half minute does, whatever the interval.
            let fits = if window == Window::Minutes5 {
                0.5
            } else {
                1e-9
            };
            for late in 0..80 {
                let (now, overdue) = (at(last + late), late > 2 * pace.max(5) + 5);
                let recent = aggregate.recent().unwrap();
                let judged = recent.standings(window, now).judge(&[gateway("shop/edge")]);
                assert_eq!(judged.is_err(), overdue, "{judged:?} after {late} s");
                let Ok(known) = judged else { continue };
                let sample = recent.sample(CART, window, now).as_told(known);
                let reading = sample.read(window, &Policy::default().layout());
                let rate = reading.requests_per_second();
                let off = (rate - 6.0).abs();
                assert!(off < fits, "{rate}/s {late} s after the last, {window:?}");
            }
        }
    }
}

#[test]
fn a_backlog_enters_no_short_window_and_breaks_them() {
    let mut aggregate = aggregate();
    reporting(&mut aggregate, "shop/edge", 1, 5..400);
    let backlog = Told {
        gateway: "shop/edge",
        vm: 1,
        seq: 1000,
        from: at(395),
        to: at(485),
        counts: &[(target("cart", "a"), 9)],
    };
    let applied = tell(&mut aggregate, &backlog, at(485));
    assert_eq!(applied.unfit, None);
    assert_eq!(requests(&aggregate, CART, Window::Seconds60, at(490)), 0);
    assert_eq!(requests(&aggregate, CART, Window::Minutes5, at(490)), 9);
    let edge = ["shop/edge"];
    let short = judged(&aggregate, Window::Seconds60, at(490), &edge);
    assert_eq!(short, Err(Unknown::Young));
    assert_eq!(judged(&aggregate, Window::Minutes5, at(490), &edge), Ok(()));
}

#[test]
fn a_gap_between_reports_makes_young() {
    let mut aggregate = aggregate();
    reporting(&mut aggregate, "shop/edge", 1, 5..100);
    reporting(&mut aggregate, "shop/edge", 1, 110..120);
    let edge = ["shop/edge"];
    let after = judged(&aggregate, Window::Seconds15, at(116), &edge);
    assert_eq!(after, Err(Unknown::Young));
}

#[test]
fn one_vm_that_goes_on_covers_for_one_that_ended() {
    let mut aggregate = aggregate();
    for end in (5..150).step_by(5) {
        reporting(&mut aggregate, "shop/edge", 1, end..end + 1);
        reporting(&mut aggregate, "shop/edge", 2, end..end + 1);
    }
    reporting(&mut aggregate, "shop/edge", 1, 150..200);
    let edge = ["shop/edge"];
    assert_eq!(
        judged(&aggregate, Window::Seconds60, at(196), &edge),
        Ok(())
    );
}

#[test]
fn a_clock_that_went_back_makes_unknown() {
    let mut aggregate = aggregate();
    reporting(&mut aggregate, "shop/edge", 1, 505..600);
    let edge = ["shop/edge"];
    assert!(judged(&aggregate, Window::Seconds15, at(100), &edge).is_err());
}

fn added(recent: &mut Recent, target: &Target, place: Place) -> bool {
    let of = (&gateway("shop/edge"), target);
    let layout = Policy::default().layout();
    recent.add(place, of, &mut Subjects::default(), &layout, &[])
}

#[test]
fn what_has_no_room_is_unknown_and_not_low() {
    let mut recent = Recent::default();
    let place = Place::of(at(0), at(5), at(5)).unwrap();
    recent.bytes = RECENT_BYTES;
    assert!(!added(&mut recent, &target("cart", "a"), place));
    let cart = recent.sample(CART, Window::Seconds60, at(10));
    assert!(!cart.is_complete(Window::Seconds60));
    recent.bytes = 0;
    for n in recent.objects()..RECENT_OBJECTS {
        recent.insert(&n.to_string());
    }
    assert!(!added(&mut recent, &target("till", "b"), place));
    let b = recent.sample(pod("b"), Window::Seconds60, at(10));
    assert!(!b.is_complete(Window::Seconds60));
    recent.expire(at(400));
    let b = recent.sample(pod("b"), Window::Seconds60, at(400));
    assert!(b.is_complete(Window::Seconds60));
    assert_eq!(recent.objects(), 0);
    assert!(added(&mut recent, &target("till", "b"), place));
}

#[test]
fn a_link_to_a_forgotten_object_is_not_followed() {
    let mut recent = Recent::default();
    let layout = Policy::default().layout();
    let edge = gateway("shop/edge");
    let mut cart = Subjects::default();
    let add = |recent: &mut Recent, second: u64, service: &str, subjects: &mut Subjects| {
        let place = Place::of(at(second), at(second + 5), at(second + 5)).unwrap();
        let target = target(service, service);
        assert!(recent.add(place, (&edge, &target), subjects, &layout, &[]));
    };
    add(&mut recent, 0, "cart", &mut cart);
    recent.expire(at(400));
    add(&mut recent, 400, "till", &mut Subjects::default());
    add(&mut recent, 400, "cart", &mut cart);
    assert_eq!(recent.objects(), 4);
    assert_eq!(recent.objects.len(), 4, "places are used again");
}

#[test]
fn where_the_clock_goes_back_windows_begin_anew() {
    let mut aggregate = aggregate();
    reporting(&mut aggregate, "shop/edge", 1, 505..600);
    let told = |seq, to| Told {
        gateway: "shop/edge",
        vm: 1,
        seq,
        from: at(to - 5),
        to: at(to),
        counts: &[],
    };
    let counted = [(target("cart", "a"), 9)];
    let busy = Told {
        counts: &counted,
        ..told(700, 600)
    };
    tell(&mut aggregate, &busy, at(600));
    // By less than a slot nothing is lost.
    tell(&mut aggregate, &told(701, 599), at(599));
    assert_eq!(requests(&aggregate, CART, Window::Seconds60, at(606)), 9);
    tell(&mut aggregate, &told(702, 300), at(300));
    assert_eq!(aggregate.recent().unwrap().objects(), 0);
    let edge = ["shop/edge"];
    let after = judged(&aggregate, Window::Seconds60, at(304), &edge);
    assert_eq!(after, Err(Unknown::Young));
}

#[test]
fn gateways_and_ports_are_told_apart_within_a_bound() {
    let mut recent = Recent::default();
    let layout = Policy::default().layout();
    let place = Place::of(at(0), at(5), at(5)).unwrap();
    let mut one = crate::counts::Counts::new(layout.clone());
    one.latency.record(Nanos::from_millis(7));
    let mut counts = Vec::new();
    crate::windows::keep(&one, &mut counts);
    let add = |recent: &mut Recent, n: usize| {
        let gateway = gateway(&format!("shop/g{n}"));
        let target = target("cart", "a");
        let mut subjects = Subjects::default();
        assert!(recent.add(place, (&gateway, &target), &mut subjects, &layout, &counts));
    };
    (0..VIAS).for_each(|n| add(&mut recent, n));
    add(&mut recent, 5);
    let sample = recent.sample(CART, Window::Seconds60, at(10));
    assert!(!sample.has_others());
    let of_five = sample.read_via(Window::Seconds60, &layout, |via| {
        via.gateway == gateway("shop/g5")
    });
    assert_eq!(of_five.counts().latency.count(), 2);
    add(&mut recent, VIAS);
    let sample = recent.sample(CART, Window::Seconds60, at(10));
    assert!(sample.has_others());
    let all = sample.read(Window::Seconds60, &layout);
    assert_eq!(all.counts().latency.count(), VIAS as u64 + 2);
}
