//! Laws over arbitrary histories of reports, definitions, duplicates and sweeps.

use std::sync::Arc;

use gaugeway_wire::{CodeClass, Nanos, Outcome, Report, RequestClass, Target, UnixNanos};
use proptest::prelude::*;

use super::rig::*;
use crate::{Aggregate, ChangeNumber, Config, Counts, journal, state::Loader, units::seconds};

const TARGETS: usize = 6;
const ROUTES: [&str; 3] = ["", "r1", "r2"];

/// What can happen.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The worker VM's next report.
    Report {
        vm: u8,
        lines: Vec<Line>,
    },
    /// Its last report again.
    Again {
        vm: u8,
    },
    Define {
        gateway: usize,
        target: usize,
    },
    Delivered {
        scraper: u8,
    },
    /// The index changes its mind.
    Reach(bool),
    /// A policy's bound is another.
    Bound {
        policy: usize,
        max: Option<usize>,
    },
    Sweep {
        seconds: u64,
        live: bool,
    },
}

fn targets() -> Vec<Target> {
    (0..TARGETS)
        .map(|n| pod(&format!("s{}", n % 2), &format!("p{n}")))
        .collect()
}

fn any_class() -> impl Strategy<Value = RequestClass> {
    (0..Outcome::ALL.len(), 0..CodeClass::ALL.len()).prop_map(|(outcome, code)| RequestClass {
        outcome: Outcome::ALL[outcome],
        code: CodeClass::ALL[code],
    })
}

fn any_line() -> impl Strategy<Value = Line> {
    let latency = prop_oneof![Just(0), 1..1_000_000_000_u64, Just(90_000_000_000)];
    (
        0..TARGETS,
        0..ROUTES.len(),
        any_class(),
        1..1000_u64,
        latency,
    )
        .prop_map(|(target, route, class, count, latency)| Line {
            target: targets()[target].clone(),
            route: ROUTES[route],
            class,
            count,
            latency: Nanos(latency),
        })
}

pub(super) fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4_u8, prop::collection::vec(any_line(), 0..6))
            .prop_map(|(vm, lines)| Event::Report { vm, lines }),
        2 => (0..4_u8).prop_map(|vm| Event::Again { vm }),
        4 => (0..2_usize, 0..TARGETS).prop_map(|(gateway, target)| Event::Define { gateway, target }),
        1 => (0..2_u8).prop_map(|scraper| Event::Delivered { scraper }),
        1 => any::<bool>().prop_map(Event::Reach),
        1 => (0..2_usize, prop::option::of(0..4_usize))
            .prop_map(|(policy, max)| Event::Bound { policy, max }),
        1 => (0..2000_u64, any::<bool>()).prop_map(|(seconds, live)| Event::Sweep { seconds, live }),
    ]
}

/// Reports and definitions only, with everything allowed.
fn any_calm_event() -> impl Strategy<Value = Event> {
    any_event().prop_filter("calm", |event| {
        matches!(
            event,
            Event::Report { .. } | Event::Again { .. } | Event::Define { .. }
        )
    })
}

/// Plays a history, and keeps what was written down.
pub(super) struct Player {
    pub(super) aggregate: Aggregate,
    index: Index,
    now: UnixNanos,
    /// Last sequence and report per VM.
    sent: [(u64, Vec<u8>); 4],
    journal: Vec<Vec<u8>>,
    reported: u64,
}

impl Player {
    pub(super) fn new(config: Config) -> Self {
        Self {
            aggregate: Aggregate::new(config, START),
            index: Index::default(),
            now: START,
            sent: Default::default(),
            journal: Vec::new(),
            reported: 0,
        }
    }

    /// VMs 0 and 1 belong to one gateway, 2 and 3 to another.
    fn gateway(n: usize) -> gaugeway_wire::GatewayName {
        gateway(["demo/one", "demo/two"][n])
    }

    pub(super) fn play(&mut self, event: &Event) {
        self.now = self.now.plus(seconds(1));
        match event {
            Event::Report { vm, lines } => {
                let (seq, bytes) = &mut self.sent[usize::from(*vm)];
                *seq += 1;
                *bytes = report(*vm, *seq, &self.aggregate.config().layout, lines);
                self.reported += lines.iter().map(|line| line.count).sum::<u64>();
                self.send(*vm, true);
            }
            Event::Again { vm } if self.sent[usize::from(*vm)].0 > 0 => self.send(*vm, false),
            Event::Again { .. } => {}
            Event::Define { gateway, target } => self.define(*gateway, &targets()[*target]),
            Event::Delivered { scraper } => {
                let (snapshot, _) = self.aggregate.scrape(&scraper.to_string(), self.now);
                self.aggregate
                    .delivered(&scraper.to_string(), snapshot.change, self.now);
                self.write(|out, now| {
                    journal::delivered(out, &scraper.to_string(), snapshot.change, now);
                });
            }
            Event::Reach(reaches) => {
                self.index.reaches.set(*reaches);
                self.index
                    .generation
                    .set(self.index.generation.get().map(|g| g + 1));
            }
            Event::Bound { policy, max } => {
                let mut bounds = self.index.bounds.get();
                bounds[*policy] = *max;
                self.index.bounds.set(bounds);
            }
            Event::Sweep {
                seconds: passed,
                live,
            } => {
                self.now = self.now.plus(seconds(*passed));
                self.index.live.set(*live);
                let swept = self.aggregate.sweep(Some(&self.index), self.now);
                if !swept.is_empty() {
                    self.write(|out, now| journal::sweep(out, &swept, now));
                }
            }
        }
    }

    fn send(&mut self, vm: u8, fresh: bool) {
        let gateway = Self::gateway(usize::from(vm) / 2);
        let bytes = self.sent[usize::from(vm)].1.clone();
        let applied = apply(&mut self.aggregate, &gateway, &bytes, &self.index, self.now).unwrap();
        assert_eq!(applied.fresh, fresh);
        if fresh {
            let (rejected, births) = (&applied.rejected, &applied.births);
            self.write(|out, now| {
                journal::report(out, &gateway, &bytes, rejected, births, now);
            });
        }
    }

    fn define(&mut self, gateway: usize, target: &Target) {
        let gateway = Self::gateway(gateway);
        let defined = define(&mut self.aggregate, &gateway, target, &self.index, self.now).unwrap();
        if defined.fresh {
            let (allowed, births) = (defined.allowed, &defined.births);
            self.write(|out, now| {
                journal::definition(out, &gateway, &target.encode(), allowed, births, now);
            });
        }
    }

    fn write(&mut self, record: impl FnOnce(&mut Vec<u8>, UnixNanos)) {
        let mut out = Vec::new();
        record(&mut out, self.now);
        self.journal.push(out);
    }

    /// Series of a policy.
    fn made(&mut self, policy: &str) -> usize {
        let snapshot = self.aggregate.snapshot(START);
        let of = |series: &&Arc<crate::Series>| series.maker.as_deref() == Some(policy);
        snapshot.series().filter(of).count()
    }

    pub(super) fn define_all(&mut self) {
        for gateway in 0..2 {
            for target in targets() {
                self.define(gateway, &target);
            }
        }
    }
}

fn load(records: &[Vec<u8>]) -> Aggregate {
    let mut loader = Loader::new();
    for record in records {
        loader.add(record).unwrap();
    }
    loader.finish().unwrap()
}

proptest! {
    #[test]
    fn totals_are_the_sum_of_the_reports_whatever_the_order(
        events in prop::collection::vec(any_calm_event(), 0..40),
    ) {
        let mut played = Player::new(config());
        events.iter().for_each(|event| played.play(event));
        played.define_all();
        let mut orderly = Player::new(config());
        orderly.define_all();
        for event in events.iter().filter(|event| matches!(event, Event::Report { .. })) {
            orderly.play(event);
        }
        let shown = text(&mut played.aggregate);
        prop_assert_eq!(requests(&shown), played.reported);
        // Series stand in the order in which they came.
        let orderly = text(&mut orderly.aggregate);
        prop_assert_eq!(sorted(&shown), sorted(&orderly));
    }

    #[test]
    fn past_the_series_cap_counts_go_to_one_series_and_none_is_lost(
        events in prop::collection::vec(any_calm_event(), 0..40),
        max_series in 0..5_usize,
    ) {
        let mut played = Player::new(Config { max_series, ..config() });
        events.iter().for_each(|event| played.play(event));
        played.define_all();
        prop_assert!(played.aggregate.series_len() <= max_series + 1);
        prop_assert_eq!(requests(&text(&mut played.aggregate)), played.reported);
    }

    #[test]
    fn no_policy_makes_more_series_than_it_may_and_no_count_is_lost(
        events in prop::collection::vec(any_calm_event(), 0..40),
        bounds in prop::array::uniform2(prop::option::of(0..4_usize)),
    ) {
        let mut played = Player::new(config());
        played.index.bounds.set(bounds);
        events.iter().for_each(|event| played.play(event));
        played.define_all();
        for (policy, max) in ["p0", "p1"].into_iter().zip(bounds) {
            prop_assert!(played.made(policy) <= max.unwrap_or(usize::MAX));
        }
        prop_assert_eq!(requests(&text(&mut played.aggregate)), played.reported);
    }

    #[test]
    fn a_bound_holds_over_restarts_and_expiry(
        before in prop::collection::vec(any_event(), 0..40),
        after in prop::collection::vec(any_event(), 0..40),
        max in 0..4_usize,
    ) {
        let bounded = |event: &&Event| !matches!(event, Event::Bound { .. });
        let mut played = Player::new(config());
        played.index.bounds.set([Some(max); 2]);
        before.iter().filter(bounded).for_each(|event| played.play(event));
        let records = records(&mut played.aggregate);
        played.aggregate = load(&records);
        after.iter().filter(bounded).for_each(|event| played.play(event));
        for policy in ["p0", "p1"] {
            prop_assert!(played.made(policy) <= max);
        }
    }

    #[test]
    fn a_replayed_journal_comes_to_the_same_state(
        events in prop::collection::vec(any_event(), 0..60),
        saved_after: prop::sample::Index,
    ) {
        let mut played = Player::new(config());
        let save_after = saved_after.index(events.len().max(1));
        let mut saved = None;
        for (n, event) in events.iter().enumerate() {
            played.play(event);
            if n == save_after {
                saved = Some((records(&mut played.aggregate), played.journal.len()));
            }
        }
        let mut replayed = Aggregate::new(config(), START);
        for record in &played.journal {
            replayed.replay(record).unwrap();
        }
        let whole = state(&mut played.aggregate);
        prop_assert_eq!(&state(&mut replayed), &whole);
        if let Some((records, from)) = saved {
            let mut loaded = load(&records);
            for record in &played.journal[from..] {
                loaded.replay(record).unwrap();
            }
            prop_assert_eq!(state(&mut loaded), whole);
        }
    }

    #[test]
    fn what_a_snapshot_shows_never_changes(
        before in prop::collection::vec(any_event(), 0..20),
        after in prop::collection::vec(any_event(), 0..20),
    ) {
        let mut played = Player::new(config());
        played.define_all();
        before.iter().for_each(|event| played.play(event));
        let snapshot = played.aggregate.snapshot(START);
        let all = |snapshot: &crate::Snapshot| -> Vec<_> {
            snapshot.series().map(|of| (of.key.text().to_owned(), of.counts.clone())).collect()
        };
        let shown = all(&snapshot);
        after.iter().for_each(|event| played.play(event));
        prop_assert_eq!(all(&snapshot), shown);
    }

    #[test]
    fn merge_is_associative_and_commutative(
        parts in prop::collection::vec(prop::collection::vec(any_line(), 1..5), 3),
    ) {
        let layout = config().layout;
        let parts: Vec<_> = parts.iter().map(|lines| added(lines)).collect();
        let merged = |order: [usize; 3]| {
            let mut sum = Counts::new(layout.clone());
            order.iter().for_each(|&n| sum.merge(&parts[n], ChangeNumber(1)));
            sum
        };
        prop_assert_eq!(merged([0, 1, 2]), merged([2, 1, 0]));
        let mut right = parts[1].clone();
        right.merge(&parts[2], ChangeNumber(1));
        let mut left = parts[0].clone();
        left.merge(&right, ChangeNumber(1));
        prop_assert_eq!(left, merged([0, 1, 2]));
    }

    #[test]
    fn merging_parts_equals_adding_all(
        one in prop::collection::vec(any_line(), 1..5),
        two in prop::collection::vec(any_line(), 1..5),
    ) {
        let mut merged = added(&one);
        merged.merge(&added(&two), ChangeNumber(1));
        prop_assert_eq!(merged, added(&[one, two].concat()));
    }

    #[test]
    fn damaged_records_are_refused_without_a_panic(
        events in prop::collection::vec(any_event(), 0..10),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut played = Player::new(config());
        events.iter().for_each(|event| played.play(event));
        let mut loader = Loader::new();
        for mut record in records(&mut played.aggregate) {
            let at = at.index(record.len().max(1));
            if let Some(place) = record.get_mut(at) {
                *place = byte;
            }
            let _ = loader.add(&record);
            let _ = played.aggregate.replay(&record);
        }
        let _ = loader.finish();
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn added(lines: &[Line]) -> Counts {
    let layout = config().layout;
    let mut counts = Counts::new(layout.clone());
    let bytes = report(1, 1, &layout, lines);
    for series in Report::decode(&bytes).unwrap().series() {
        counts.add(&layout, &series, ChangeNumber(1));
    }
    counts
}
