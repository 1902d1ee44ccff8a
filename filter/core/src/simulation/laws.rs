//! The law: whatever happens on the way, every request is applied exactly once.

use proptest::prelude::*;

use super::{
    host::Facts,
    network::Fate,
    world::{TICK, World, ok},
};
use crate::Limits;

#[derive(Clone, Debug)]
enum Event {
    /// A request to one of a few addresses, in milliseconds, and how it went.
    Request(u8, u64, u8),
    /// Begins now, ends later.
    Slow(u8),
    EndSlow,
    Ticks(u8),
    Fate(Fate),
    Own(u8, u8),
    Share(u8),
    Disown(u8),
    Restart,
    ForgetNames,
    Layout(u32),
    NewRoot,
    EndRoot,
    RefuseCalls(bool),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Delivered),
        Just(Fate::AnswerLost),
        Just(Fate::AnswerVanished),
        Just(Fate::Refused(503)),
        Just(Fate::Refused(429)),
        Just(Fate::Vanished),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0..12u8, 0..2000u64, 0..6u8).prop_map(|(a, ms, how)| Event::Request(a, ms, how)),
        2 => (0..12u8).prop_map(Event::Slow),
        2 => Just(Event::EndSlow),
        8 => (1..60u8).prop_map(Event::Ticks),
        4 => fate().prop_map(Event::Fate),
        3 => (0..12u8, 0..5u8).prop_map(|(a, s)| Event::Own(a, s)),
        1 => (0..12u8).prop_map(Event::Share),
        1 => (0..12u8).prop_map(Event::Disown),
        1 => Just(Event::Restart),
        1 => Just(Event::ForgetNames),
        1 => (0..6u32).prop_map(Event::Layout),
        1 => Just(Event::NewRoot),
        1 => Just(Event::EndRoot),
        1 => any::<bool>().prop_map(Event::RefuseCalls),
    ]
}

fn address(n: u8) -> String {
    format!("10.0.0.{n}:80")
}

fn facts(n: u8, how: u8) -> Facts {
    let address = ok(&address(n));
    match how {
        0..=2 => address,
        3 => Facts {
            code: Some(504),
            flags: 1 << 2,
            ..address
        },
        4 => Facts {
            attempts: 3,
            ..address
        },
        _ => Facts {
            address: None,
            code: Some(503),
            flags: 1 << 7,
            attempts: 0,
            ..address
        },
    }
}

#[derive(Default)]
struct Expected {
    requests: u64,
    retries: u64,
    aborted: u64,
}

fn act(
    world: &mut World,
    slow: &mut Vec<(crate::ContextId, u8)>,
    expected: &mut Expected,
    event: &Event,
) {
    let now = world.host.now;
    match *event {
        Event::Request(n, ms, how) => {
            let context = world.start();
            world.host.now += ms * 1_000_000;
            world.headers(context, facts(n, how), false);
            world.end(context, facts(n, how));
            expected.requests += 1;
            expected.retries += if how == 4 { 2 } else { 0 };
        }
        Event::Slow(n) => {
            let context = world.start();
            world.headers(context, facts(n, 0), false);
            expected.requests += 1;
            slow.push((context, n));
        }
        Event::EndSlow => {
            if let Some((context, n)) = slow.pop() {
                world.end(
                    context,
                    Facts {
                        flags: 1 << 14,
                        ..facts(n, 0)
                    },
                );
                expected.aborted += 1;
            }
        }
        Event::Ticks(n) => world.run(u64::from(n) * TICK),
        Event::Fate(fate) => world.network.fates.push_back(fate),
        Event::Own(n, service) => world
            .controller
            .own(&address(n), &[&format!("s{service}")], now),
        Event::Share(n) => world.controller.own(&address(n), &["s0", "s1"], now),
        Event::Disown(n) => world.controller.own(&address(n), &[], now),
        Event::Restart => world.controller.restart(),
        Event::ForgetNames => world.controller.forget_names(),
        Event::Layout(schema) => {
            let schema = gaugeway_wire::Schema::try_new(schema).unwrap();
            let policy = gaugeway_wire::Policy {
                schema,
                ..gaugeway_wire::Policy::default()
            };
            world.controller.set_policy(policy);
        }
        Event::NewRoot => {
            world.add_root(r#"{"gateway":"g","cluster":"c"}"#);
        }
        Event::EndRoot => {
            if world.roots.len() > 1 {
                world.end_root();
            }
        }
        Event::RefuseCalls(refuse) => world.host.refuse_calls = refuse,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_applied_exactly_once(
        events in prop::collection::vec(event(), 1..120),
        keys in prop_oneof![Just(4u32), Just(4096)],
        series in prop_oneof![Just(3u32), Just(8704)],
    ) {
        let limits = Limits { keys, series, ..Limits::DEFAULT };
        let mut world = World::with(limits, r#"{"gateway":"g","cluster":"c"}"#);
        let mut slow = Vec::new();
        let mut expected = Expected::default();
        for event in &events {
            act(&mut world, &mut slow, &mut expected, event);
        }
        world.host.refuse_calls = false;
        world.network.fates.clear();
        while !slow.is_empty() {
            act(&mut world, &mut slow, &mut expected, &Event::EndSlow);
        }
        world.run_seconds(120);
        let totals = &world.controller.totals;
        prop_assert_eq!(world.controller.requests(), expected.requests);
        prop_assert_eq!(totals.values().map(|total| total.retries).sum::<u64>(), expected.retries);
        prop_assert_eq!(totals.values().map(|total| total.aborted).sum::<u64>(), expected.aborted);
        prop_assert_eq!(world.controller.counter("unrecorded"), 0);
        prop_assert_eq!(world.controller.counter("dropped_requests"), 0);
        prop_assert!(world.host.log.len() <= 2 * events.len(), "the log is quiet");
        if expected.requests > 0 {
            prop_assert_eq!(world.controller.sequences.len(), 1);
        }
    }
}
