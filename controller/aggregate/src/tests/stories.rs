//! Stories of expiry, bounds, reach and names.

use gaugeway_wire::{ClassicBounds, Fingerprint, Layout, Nanos, Schema, Seq, TargetKind};

use super::rig::*;
use crate::{
    Aggregate, Config, DefineError, Refused, View,
    limits::{GATEWAYS, REACH_MEMORY, TARGET_IDLE, UNNAMED_AGE, UNNAMED_PER_GATEWAY, VERDICT_AGE},
    units::seconds,
};

fn edge() -> gaugeway_wire::GatewayName {
    gateway("demo/edge")
}

/// With one defined target and `count` requests to it.
fn with_one(count: u64) -> (Aggregate, Index) {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    define(&mut aggregate, &edge(), &pod("cart", "a"), &index, START).unwrap();
    let bytes = report(
        1,
        1,
        &config().layout,
        &[Line::new(pod("cart", "a"), count)],
    );
    apply(&mut aggregate, &edge(), &bytes, &index, START).unwrap();
    (aggregate, index)
}

#[test]
fn a_series_goes_when_its_target_is_gone_and_everybody_saw_it_twice() {
    let (mut aggregate, index) = with_one(3);
    let late = START.plus(seconds(300));
    index.live.set(false);
    assert!(
        aggregate.sweep(Some(&index), late).is_empty(),
        "nobody saw it"
    );
    for _ in 0..2 {
        assert!(aggregate.sweep(Some(&index), late).is_empty());
        let (snapshot, _) = aggregate.scrape("prometheus", late);
        aggregate.delivered("prometheus", snapshot.change, late);
    }
    let early = START.plus(seconds(299));
    assert!(aggregate.sweep(Some(&index), early).is_empty(), "too early");
    index.live.set(true);
    assert!(aggregate.sweep(Some(&index), late).is_empty(), "it lives");
    index.live.set(false);
    assert!(
        aggregate.sweep(None, late).is_empty(),
        "not synced: who knows"
    );
    let swept = aggregate.sweep(Some(&index), late);
    assert_eq!((swept.series.len(), swept.services.len()), (1, 1));
    assert_eq!(text(&mut aggregate), "");
}

#[test]
fn unseen_by_anybody_a_dead_series_goes_after_ten_times_the_expiry() {
    let (mut aggregate, index) = with_one(3);
    index.live.set(false);
    let at = |seconds_after| START.plus(seconds(seconds_after));
    assert!(aggregate.sweep(Some(&index), at(2999)).series.is_empty());
    assert_eq!(aggregate.sweep(Some(&index), at(3000)).series.len(), 1);
}

#[test]
fn a_series_that_comes_back_counts_from_zero_under_a_key_of_its_own() {
    let (mut aggregate, index) = with_one(3);
    index.live.set(false);
    let late = START.plus(seconds(3000));
    aggregate.sweep(Some(&index), late);
    index.live.set(true);
    // The slot is taken by another before the first one comes back.
    define(&mut aggregate, &edge(), &pod("cart", "b"), &index, late).unwrap();
    let lines = [
        Line::new(pod("cart", "b"), 5),
        Line::new(pod("cart", "a"), 7),
    ];
    let bytes = report(1, 2, &config().layout, &lines);
    apply(&mut aggregate, &edge(), &bytes, &index, late).unwrap();
    let shown = text(&mut aggregate);
    assert!(shown.contains(
        r#"kubernetes_pod="a",kubernetes_service="cart",code_class="2xx",outcome="response"} 7"#
    ));
    assert!(shown.contains(
        r#"kubernetes_pod="b",kubernetes_service="cart",code_class="2xx",outcome="response"} 5"#
    ));
}

#[test]
fn unknown_and_overflow_never_expire() {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    let unknown = target(TargetKind::Unknown, &[]);
    define(&mut aggregate, &edge(), &unknown, &index, START).unwrap();
    let bytes = report(1, 1, &config().layout, &[Line::new(unknown, 3)]);
    index.reaches.set(false);
    index.live.set(false);
    let applied = apply(&mut aggregate, &edge(), &bytes, &index, START).unwrap();
    assert_eq!(
        applied.rejected_series, 0,
        "the filter's own targets need no reach"
    );
    let late = START.plus(seconds(6 * 86_400));
    assert!(aggregate.sweep(Some(&index), late).series.is_empty());
    assert_eq!(requests(&text(&mut aggregate)), 3);
}

#[test]
fn what_is_born_between_two_scrapes_is_shown_at_zero_once() {
    let (mut aggregate, index) = with_one(3);
    let (snapshot, first) = aggregate.scrape("p", START);
    assert_eq!(first, View::default(), "never seen: real values");
    aggregate.delivered("p", snapshot.change, START);
    let mut failed = Line::new(pod("cart", "a"), 9);
    failed.class.code = gaugeway_wire::CodeClass::ServerError;
    let lines = [
        Line::new(pod("cart", "a"), 1),
        failed,
        Line::new(pod("cart", "b"), 5),
    ];
    define(&mut aggregate, &edge(), &pod("cart", "b"), &index, START).unwrap();
    let bytes = report(1, 2, &config().layout, &lines);
    apply(&mut aggregate, &edge(), &bytes, &index, START).unwrap();
    let (snapshot, view) = aggregate.scrape("p", START);
    let shown = text_as(&mut aggregate, view);
    for expected in [
        r#"kubernetes_pod="a",kubernetes_service="cart",code_class="2xx",outcome="response"} 4"#,
        r#"kubernetes_pod="a",kubernetes_service="cart",code_class="5xx",outcome="response"} 0"#,
        r#"kubernetes_pod="b",kubernetes_service="cart",code_class="2xx",outcome="response"} 0"#,
        r#"gaugeway_upstream_latency_seconds_count{kubernetes_namespace="shop",kubernetes_pod="b",kubernetes_service="cart"} 0"#,
        r#"gaugeway_upstream_latency_seconds_sum{kubernetes_namespace="shop",kubernetes_pod="b",kubernetes_service="cart"} 0"#,
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let (_, again) = aggregate.scrape("p", START);
    assert_eq!(
        again, view,
        "a scrape that did not arrive shows nothing to anybody"
    );
    aggregate.delivered("p", snapshot.change, START);
    let (_, view) = aggregate.scrape("p", START);
    assert_eq!(text_as(&mut aggregate, view), text(&mut aggregate));
}

#[test]
fn a_gateway_is_heard_only_about_what_it_reaches() {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    let layout = config().layout;
    let lines = [Line::new(pod("cart", "a"), 3)];
    apply(
        &mut aggregate,
        &edge(),
        &report(1, 1, &layout, &lines),
        &index,
        START,
    )
    .unwrap();
    index.reaches.set(false);
    let defined = define(&mut aggregate, &edge(), &pod("cart", "a"), &index, START).unwrap();
    assert_eq!((defined.allowed, defined.requests), (false, 3));
    let applied = apply(
        &mut aggregate,
        &edge(),
        &report(1, 2, &layout, &lines),
        &index,
        START,
    )
    .unwrap();
    assert_eq!(applied.rejected, [pod("cart", "a").fingerprint()]);
    assert!(applied.undefined.is_empty());
    assert_eq!(requests(&text(&mut aggregate)), 0);
    index.reaches.set(true);
    let kept = apply(
        &mut aggregate,
        &edge(),
        &report(1, 3, &layout, &lines),
        &index,
        START,
    )
    .unwrap();
    assert_eq!(
        kept.rejected_series, 1,
        "the verdict holds until the index changes"
    );
    index.generation.set(Some(2));
    let applied = apply(
        &mut aggregate,
        &edge(),
        &report(1, 4, &layout, &lines),
        &index,
        START,
    )
    .unwrap();
    assert_eq!(applied.rejected_series, 0);
    index.reaches.set(false);
    let later = START.plus(seconds(61));
    let applied = apply(
        &mut aggregate,
        &edge(),
        &report(1, 5, &layout, &lines),
        &index,
        later,
    )
    .unwrap();
    assert_eq!(applied.rejected_series, 1, "or for a minute");
}

/// Found by the soak: a Service went, and the controller was killed before all of its counts had come; the index of the
/// next life knew nothing of it.
#[test]
fn what_was_reported_for_before_this_life_may_still_come_for_a_day() {
    let (mut before, index) = with_one(3);
    index.reaches.set(false);
    define(&mut before, &edge(), &pod("cart", "b"), &index, START).unwrap();
    let mut loader = crate::state::Loader::new();
    for record in records(&mut before) {
        loader.add(&record).unwrap();
    }
    let mut aggregate = loader.finish().unwrap();
    aggregate.begin();
    let late = Nanos(REACH_MEMORY.0 - 1);
    let too_late = Nanos(REACH_MEMORY.0 + VERDICT_AGE.0);
    for (seq, pods, after, rejected) in
        [(2, "a", late, 0), (3, "b", late, 1), (4, "a", too_late, 1)]
    {
        let lines = [Line::new(pod("cart", pods), 4)];
        let bytes = report(1, seq, &config().layout, &lines);
        let applied = apply(&mut aggregate, &edge(), &bytes, &index, START.plus(after)).unwrap();
        assert_eq!(applied.rejected_series, rejected, "{seq}");
    }
    assert_eq!(requests(&text(&mut aggregate)), 7);
}

#[test]
fn definitions_are_checked() {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    let foreign = target(
        TargetKind::Kubernetes,
        &[
            ("kubernetes_namespace", "shop"),
            ("kubernetes_service", "cart"),
            ("gateway", "other/edge"),
        ],
    );
    let refused = define(&mut aggregate, &edge(), &foreign, &index, START);
    assert_eq!(refused, Err(DefineError::Labels));
    let lie = gaugeway_wire::TargetDefinition {
        fingerprint: Fingerprint(1),
        target: &pod("cart", "a").encode(),
    };
    let refused = aggregate.define(&edge(), &lie, &index, START);
    assert!(matches!(refused, Err(DefineError::Undecodable(_))));
    index.generation.set(None);
    let refused = define(&mut aggregate, &edge(), &pod("cart", "a"), &index, START);
    assert_eq!(refused, Err(DefineError::NotSynced));
    let bytes = report(1, 1, &config().layout, &[]);
    let refused = apply(&mut aggregate, &edge(), &bytes, &index, START);
    assert_eq!(refused, Err(Refused::NotSynced));
}

#[test]
fn one_gateways_definition_names_nothing_for_another() {
    let (mut aggregate, index) = with_one(3);
    let bytes = report(2, 1, &config().layout, &[Line::new(pod("cart", "a"), 4)]);
    let applied = apply(
        &mut aggregate,
        &gateway("other/edge"),
        &bytes,
        &index,
        START,
    )
    .unwrap();
    assert_eq!(applied.undefined, [pod("cart", "a").fingerprint()]);
    assert_eq!(requests(&text(&mut aggregate)), 3);
}

#[test]
fn counts_whose_name_never_comes_end_in_overflow() {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    let bytes = report(1, 1, &config().layout, &[Line::new(pod("cart", "a"), 3)]);
    apply(&mut aggregate, &edge(), &bytes, &index, START).unwrap();
    assert!(
        aggregate
            .sweep(Some(&index), START.plus(UNNAMED_AGE))
            .is_empty()
    );
    let swept = aggregate.sweep(Some(&index), START.plus(UNNAMED_AGE).plus(seconds(1)));
    assert_eq!(swept.overflow_requests, 3);
    assert!(text(&mut aggregate).contains(
        r#"{kubernetes_namespace="",kubernetes_service="overflow",code_class="2xx",outcome="response"} 3"#
    ));
}

#[test]
fn a_policys_bound_refuses_what_would_be_new_until_there_is_room() {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    index.bounds.set([Some(2), None]);
    for name in ["a", "b", "c"] {
        define(&mut aggregate, &edge(), &pod("s0", name), &index, START).unwrap();
    }
    let mut seq = 0;
    let mut send = |aggregate: &mut Aggregate, name: &str, now| {
        seq += 1;
        let bytes = report(1, seq, &config().layout, &[Line::new(pod("s0", name), 5)]);
        let applied = apply(aggregate, &edge(), &bytes, &index, now).unwrap();
        (applied.refused_requests, applied.overflow_requests)
    };
    assert_eq!(send(&mut aggregate, "a", START), (0, 0));
    assert_eq!(send(&mut aggregate, "b", START), (0, 0));
    assert_eq!(send(&mut aggregate, "c", START), (5, 0));
    let told = aggregate.take_refusing().unwrap();
    assert!(told.iter().map(|name| &**name).eq(["p0"]));
    // A lower bound takes nothing away; a higher one lets in what comes next.
    index.bounds.set([Some(1), None]);
    assert_eq!(send(&mut aggregate, "b", START), (0, 0));
    index.bounds.set([Some(3), None]);
    assert_eq!(send(&mut aggregate, "c", START), (0, 0));
    index.bounds.set([Some(2), None]);
    // Series that expire make room.
    index.live.set(false);
    let later = START.plus(seconds(3001));
    assert_eq!(aggregate.sweep(Some(&index), later).series.len(), 3);
    assert_eq!(aggregate.take_refusing().unwrap().len(), 0);
    assert_eq!(send(&mut aggregate, "c", later), (0, 0));
    assert_eq!(requests(&text(&mut aggregate)), 10);
}

#[test]
fn waiting_counts_are_bounded_per_gateway() {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    let lines = |from: usize, n: usize| -> Vec<Line> {
        (from..from + n)
            .map(|n| Line::new(pod("cart", &n.to_string()), 1))
            .collect()
    };
    let mut seq = 0;
    let mut overflow = 0;
    let mut send = |lines: &[Line], aggregate: &mut Aggregate| {
        seq += 1;
        let bytes = report(1, seq, &config().layout, lines);
        let applied = apply(aggregate, &edge(), &bytes, &index, START).unwrap();
        assert_eq!(applied.seq, Seq(seq));
        overflow += applied.overflow_requests;
        overflow
    };
    for from in (0..UNNAMED_PER_GATEWAY).step_by(256) {
        assert_eq!(send(&lines(from, 256), &mut aggregate), 0);
    }
    assert_eq!(send(&lines(UNNAMED_PER_GATEWAY, 10), &mut aggregate), 10);
    assert_eq!(
        send(&lines(0, 10), &mut aggregate),
        10,
        "those that wait go on waiting"
    );
    assert_eq!(requests(&text(&mut aggregate)), 10);
}

#[test]
fn gateways_are_bounded() {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    for n in 0..GATEWAYS {
        let bytes = report(u8::try_from(n % 250 + 1).unwrap(), 1, &config().layout, &[]);
        let mut bytes = bytes;
        // Another VM for each gateway.
        let at = bytes
            .windows(16)
            .position(|w| w.iter().all(|b| *b == w[0]))
            .unwrap();
        bytes[at + 1..at + 3].copy_from_slice(&u16::try_from(n).unwrap().to_le_bytes());
        apply(
            &mut aggregate,
            &gateway(&format!("g/{n}")),
            &bytes,
            &index,
            START,
        )
        .unwrap();
    }
    let bytes = report(255, 1, &config().layout, &[]);
    let one_more = apply(&mut aggregate, &gateway("g/more"), &bytes, &index, START);
    assert_eq!(one_more, Err(Refused::TooManyGateways));
    assert_eq!(aggregate.worker_vms(START).len(), GATEWAYS);
    let late = START.plus(seconds(8 * 86_400));
    let swept = aggregate.sweep(Some(&index), late);
    assert_eq!((swept.vms, swept.others), (GATEWAYS as u64, GATEWAYS));
    apply(&mut aggregate, &gateway("g/more"), &bytes, &index, late).unwrap();
}

#[test]
fn definitions_that_nobody_uses_are_forgotten_and_asked_for_again() {
    let (mut aggregate, index) = with_one(3);
    index.live.set(false);
    let late = START.plus(TARGET_IDLE).plus(seconds(1));
    let forgot = aggregate.sweep(Some(&index), late);
    assert_eq!((forgot.others, forgot.series.len()), (1, 1));
    let bytes = report(1, 2, &config().layout, &[Line::new(pod("cart", "a"), 4)]);
    let applied = apply(&mut aggregate, &edge(), &bytes, &index, late).unwrap();
    assert_eq!(applied.undefined.len(), 1);
}

/// Found by `a_replayed_journal_comes_to_the_same_state`: a definition was kept while a link to a live series was held,
/// and links are not part of the saved state.
#[test]
fn a_loaded_state_forgets_what_the_live_one_forgets() {
    let (mut aggregate, index) = with_one(3);
    let mut loader = crate::state::Loader::new();
    for record in records(&mut aggregate) {
        loader.add(&record).unwrap();
    }
    let mut loaded = loader.finish().unwrap();
    let late = START.plus(TARGET_IDLE).plus(seconds(1));
    for of in [&mut aggregate, &mut loaded] {
        assert_eq!(of.sweep(Some(&index), late).others, 1);
    }
    assert_eq!(state(&mut aggregate), state(&mut loaded));
}

#[test]
fn another_layout_is_converted_and_counted() {
    let (mut aggregate, index) = with_one(3);
    let other = Layout {
        schema: Schema::try_new(1).unwrap(),
        bounds: ClassicBounds::try_new(vec![Nanos::from_millis(10), Nanos::from_millis(99)])
            .unwrap(),
    };
    let bytes = report(1, 2, &other, &[Line::new(pod("cart", "a"), 4)]);
    let applied = apply(&mut aggregate, &edge(), &bytes, &index, START).unwrap();
    assert_eq!(applied.rebucketed_samples, 4);
    let shown = text(&mut aggregate);
    assert!(
        shown.contains(r#"kubernetes_service="cart",le="0.01"} 7"#),
        "{shown}"
    );
    aggregate.configure(Config {
        layout: other,
        by_service: false,
        ..config()
    });
    let shown = text(&mut aggregate);
    assert!(
        shown.contains(r#"kubernetes_service="cart",le="0.099"} 7"#),
        "{shown}"
    );
    assert!(!shown.contains("kong"));
}

#[test]
fn an_hours_backlog_enters_the_totals_and_says_its_span() {
    let (mut aggregate, index) = with_one(3);
    let from = gaugeway_wire::UnixNanos(START.0 - 3_600_000_000_000);
    let vm = gaugeway_wire::VmId([9; 16]);
    let writer =
        gaugeway_wire::report::ReportWriter::new(Vec::new(), vm, Seq(1), from, &config().layout);
    let applied = apply(
        &mut aggregate,
        &edge(),
        &writer.finish(START),
        &index,
        START,
    )
    .unwrap();
    assert_eq!(applied.span, seconds(3600));
    assert!(applied.fresh);
}
