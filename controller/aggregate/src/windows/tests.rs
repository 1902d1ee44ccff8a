//! Windows against a model that keeps every report and looks at each; and the stories of clocks.

use gaugeway_wire::{
    CodeClass, Histogram, Layout, Nanos, Outcome, Policy, RequestClass, UnixNanos,
};
use proptest::prelude::*;

use super::*;
use crate::{ClassCount, counts::Counts, units::ChangeNumber};

const START: UnixNanos = UnixNanos(1_700_000_002_000_000_000);

fn layout() -> Layout {
    Policy::default().layout()
}

fn counts(outcome: Outcome, code: CodeClass, latencies: &[u64]) -> Counts {
    let mut counts = Counts::new(layout());
    for millis in latencies {
        counts.latency.record(Nanos::from_millis(*millis));
    }
    counts.requests.push(ClassCount {
        class: RequestClass { outcome, code },
        count: latencies.len() as u64,
        born: ChangeNumber::default(),
    });
    counts
}

fn ok(latencies: &[u64]) -> Counts {
    counts(Outcome::Response, CodeClass::Success, latencies)
}

fn at(second: u64) -> UnixNanos {
    START.plus(seconds(second))
}

fn add(
    windows: &mut Log,
    from: UnixNanos,
    to: UnixNanos,
    counts: &Counts,
    now: UnixNanos,
) -> Result<(), Unfit> {
    let place = Place::of(from, to, now)?;
    let mut encoded = Vec::new();
    keep(counts, &mut encoded);
    let running = Slot::of(now);
    assert!(windows.add(place, Origin(0), &encoded, |log, more| {
        log.sum_up(running, &layout(), &mut Scratch::default());
        log.resize(more);
        true
    }));
    Ok(())
}

fn sample(windows: &Log, now: UnixNanos) -> Sample {
    Sample::of(windows, Window::Minutes5, now, &std::sync::Arc::default())
}

fn read(windows: &Log, window: Window, now: UnixNanos) -> Reading {
    sample(windows, now).read(window, &layout())
}

/// A report as it arrives: time since the one before, how old its end is then, how long it spans.
#[derive(Clone, Debug)]
struct Arrival {
    pause_ms: u64,
    age_ms: u64,
    span_ms: u64,
    latencies: Vec<u64>,
}

fn any_arrival() -> impl Strategy<Value = Arrival> {
    let span = prop_oneof![
        4 => Just(5_000_u64),
        2 => Just(15_000),
        2 => 0_u64..70_000,
        1 => 250_000_u64..400_000,
    ];
    let age = prop_oneof![4 => 0_u64..3_000, 1 => 0_u64..400_000];
    let latencies = prop::collection::vec(0_u64..3_000, 1..4);
    (0_u64..12_000, age, span, latencies).prop_map(|(pause_ms, age_ms, span_ms, latencies)| {
        Arrival {
            pause_ms,
            age_ms,
            span_ms,
            latencies,
        }
    })
}

proptest! {
    #[test]
    fn windows_are_what_the_model_says(
        arrivals in prop::collection::vec(any_arrival(), 0..80),
        later_ms in 0_u64..70_000,
    ) {
        let mut windows = Log::default();
        let mut kept: Vec<(u64, u64, Vec<u64>)> = Vec::new();
        let mut now = START;
        for arrival in arrivals {
            now = now.plus(Nanos::from_millis(arrival.pause_ms));
            let to = now.minus(Nanos::from_millis(arrival.age_ms));
            let from = to.minus(Nanos::from_millis(arrival.span_ms));
            let _ = add(&mut windows, from, to, &ok(&arrival.latencies), now);
            // What is summed up has at most one entry per slot or half minute, and fit.
            windows.sum_up(Slot::of(now), &layout(), &mut Scratch::default());
            prop_assert!(log::entries(windows.bytes()).count() <= (20 + 11) * 4);
            kept.push((to.0, arrival.span_ms, arrival.latencies));
        }
        now = now.plus(Nanos::from_millis(later_ms));
        for (window, length) in Window::ALL.into_iter().zip([15_u64, 30, 60, 300]) {
            let end = now.0 / 5_000_000_000 * 5_000_000_000;
            let begin = end - length * 1_000_000_000;
            let begin = if length == 300 { begin / 30_000_000_000 * 30_000_000_000 } else { begin };
            let inside = begin..end;
            let mut latency = Histogram::new(layout());
            for (_, _, latencies) in kept
                .iter()
                .filter(|(to, span, _)| inside.contains(to) && *span <= length * 1000)
            {
                for millis in latencies {
                    latency.record(Nanos::from_millis(*millis));
                }
            }
            let reading = read(&windows, window, now);
            prop_assert_eq!(&reading.counts().latency, &latency);
            prop_assert_eq!(reading.counts().requests_total(), latency.count());
            prop_assert_eq!(reading.length(), Nanos(end - begin));
        }
    }
}

#[test]
fn signals_of_a_window() {
    let mut windows = Log::default();
    add(&mut windows, at(0), at(5), &ok(&[100, 300]), at(5)).unwrap();
    let failed = counts(Outcome::Timeout, CodeClass::ServerError, &[2_600]);
    add(&mut windows, at(0), at(5), &failed, at(5)).unwrap();
    let reading = read(&windows, Window::Seconds15, at(10));
    assert!((reading.requests_per_second() - 0.2).abs() < 1e-9);
    assert!((reading.average_seconds().unwrap() - 1.0).abs() < 1e-9);
    assert!((reading.concurrency() - 0.2).abs() < 1e-9);
    assert!((reading.error_ratio().unwrap() - 1.0 / 3.0).abs() < 1e-9);
    let worst = reading.quantile_seconds(1.0).unwrap();
    assert!((2.6..2.6 * 1.0906).contains(&worst), "{worst}");
}

#[test]
fn an_empty_window_has_no_latency() {
    let reading = read(&Log::default(), Window::Seconds60, START);
    assert_eq!(reading.average_seconds(), None);
    assert_eq!(reading.quantile_seconds(0.5), None);
    assert_eq!(reading.error_ratio(), None);
    assert_eq!(reading.counts().requests_total(), 0);
}

#[test]
fn unfit_reports_enter_no_window() {
    let mut windows = Log::default();
    let now = at(1000);
    let one = ok(&[1]);
    assert_eq!(add(&mut windows, at(699), now, &one, now), Err(Unfit::Long));
    assert_eq!(
        add(&mut windows, at(680), at(685), &one, now),
        Err(Unfit::Old)
    );
    assert_eq!(
        add(&mut windows, at(999), at(998), &one, now),
        Err(Unfit::Clock)
    );
    assert!(windows.is_over(Slot::of(at(400))));
}

#[test]
fn an_end_in_the_future_counts_as_now() {
    let mut windows = Log::default();
    add(&mut windows, at(95), at(100), &ok(&[1]), at(10)).unwrap();
    let reading = read(&windows, Window::Seconds15, at(15));
    assert_eq!(reading.counts().requests_total(), 1);
}

#[test]
fn cutting_buckets_anew_keeps_all_samples() {
    let mut windows = Log::default();
    add(&mut windows, at(0), at(5), &ok(&[100, 300]), at(5)).unwrap();
    let coarse = Layout {
        schema: gaugeway_wire::Schema::try_new(1).unwrap(),
        ..layout()
    };
    windows.rebucket(&layout(), &coarse);
    let reading = sample(&windows, at(10)).read(Window::Seconds15, &coarse);
    assert_eq!(reading.counts().latency.count(), 2);
    assert_eq!(reading.counts().latency.sum_ns(), 400_000_000);
}

#[test]
fn what_was_left_out_makes_its_windows_incomplete() {
    let mut windows = Log::default();
    windows.lose(Place::of(at(0), at(5), at(5)).unwrap().slot());
    assert!(!sample(&windows, at(10)).is_complete(Window::Seconds15));
    assert!(sample(&windows, at(30)).is_complete(Window::Seconds15));
    assert!(!sample(&windows, at(30)).is_complete(Window::Seconds60));
    assert!(windows.is_over(Slot::of(at(400))));
}
