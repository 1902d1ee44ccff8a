//! What a worker VM is told, and when.

use gaugeway_index::{
    Hub, HubLimits, Index, Moment, RecordingPolicy, Refused, Reply, Services, Shown, Ticket,
    hub::{FORGET, HOLD, SPACING},
};
use gaugeway_wire::{Answer, Generation, MappingAnswer, MappingEpoch, MappingRequest, Nanos, VmId};

use crate::objects::*;

const KEY: &str = "10.0.0.1:80";

struct Rig {
    index: Index,
    hub: Hub,
    now: Moment,
    asked: u64,
}

/// An answer, decoded.
#[derive(Debug, PartialEq)]
struct Told {
    epoch: u64,
    generation: u64,
    answer: u64,
    more: bool,
    policy: bool,
    /// Key, candidates by [`brief`], age in ms, previous.
    entries: Vec<(String, Vec<String>, u64, Option<String>)>,
}

fn told(reply: &Reply) -> Told {
    let bytes = reply.answer.as_ref().unwrap();
    let answer = MappingAnswer::decode(bytes).unwrap();
    let name = |fingerprint| {
        let mut definitions = answer.targets();
        let found = definitions.find(|d| d.fingerprint == fingerprint);
        brief(found.unwrap().target)
    };
    let entries = answer.entries().map(|e| {
        let candidates = e.candidates().map(|c| name(c.target)).collect();
        (
            e.key.to_owned(),
            candidates,
            e.age.as_millis(),
            e.previous.map(name),
        )
    });
    Told {
        epoch: answer.mapping_epoch.0,
        generation: answer.generation.0,
        answer: answer.answer.0,
        more: answer.more,
        policy: answer.policy.is_some(),
        entries: entries.collect(),
    }
}

impl Rig {
    fn new() -> Self {
        Self::with_limits(HubLimits::default())
    }

    fn with_limits(limits: HubLimits) -> Self {
        let index = index(&[
            slice("shop", "a-1", "a", &["80"], &["10.0.0.1=a-0"]),
            route("shop", "web", EDGE, &[&["a", "b"]]),
        ]);
        Self {
            index,
            hub: Hub::new(MappingEpoch(100), limits),
            now: at(1000),
            asked: 0,
        }
    }

    fn ask(&mut self, request: &MappingRequest) -> Vec<Reply> {
        self.asked += 1;
        let ticket = Ticket(self.asked);
        let edge = gateway(EDGE);
        self.hub
            .on_request(&self.index, self.now, ticket, &edge, request);
        self.hub.advance(&self.index, self.now);
        self.hub.take_replies()
    }

    /// The answer to a call that must be answered at once.
    fn answered(&mut self, request: &MappingRequest) -> Told {
        let replies = self.ask(request);
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].ticket, Ticket(self.asked));
        told(&replies[0])
    }

    fn pass(&mut self, time: Nanos) -> Vec<Reply> {
        self.now = self.now.plus(time);
        self.hub.advance(&self.index, self.now);
        self.hub.take_replies()
    }

    fn own(&mut self, pod: &str) {
        let endpoint = format!("10.0.0.1={pod}");
        let slice = slice("shop", "a-1", "a", &["80"], &[&endpoint]);
        let changes = self.index.apply(&slice, self.now);
        self.hub.on_change(&self.index, &changes, self.now);
        self.hub.advance(&self.index, self.now);
    }
}

fn first(keys: &[&str]) -> MappingRequest {
    MappingRequest {
        subscribe: keys.iter().map(|k| (*k).to_owned()).collect(),
        ..MappingRequest::new(VmId([1; 16]))
    }
}

fn next(last: &Told) -> MappingRequest {
    MappingRequest {
        mapping_epoch: MappingEpoch(last.epoch),
        generation: Generation(last.generation),
        received: Answer(last.answer),
        ..first(&[])
    }
}

fn candidates(told: &Told) -> Vec<&str> {
    let entries = told.entries.iter().flat_map(|e| &e.1);
    entries.map(String::as_str).collect()
}

#[test]
fn the_first_call_is_answered_at_once_with_policy_and_targets() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY, "10.9.9.9:1"]));
    assert!(answer.policy && !answer.more);
    assert_eq!(answer.answer, 1);
    let expected = [
        (
            KEY.to_owned(),
            vec!["shop a-0 a 80".to_owned()],
            900_000,
            None,
        ),
        ("10.9.9.9:1".to_owned(), vec![], 900_000, None),
    ];
    assert_eq!(answer.entries, expected);
    let counts = rig.hub.counts();
    assert_eq!((counts.vms, counts.keys, counts.subscriptions), (1, 2, 2));
}

#[test]
fn a_call_with_nothing_to_say_is_held_and_ends_empty() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    assert!(rig.ask(&next(&answer)).is_empty());
    assert_eq!(rig.hub.counts().held, 1);
    assert_eq!(rig.hub.next_wake(), Some(rig.now.plus(HOLD)));
    let replies = rig.pass(HOLD);
    let empty = told(&replies[0]);
    assert_eq!(
        (empty.answer, empty.entries.len(), empty.policy),
        (0, 0, false)
    );
    assert_eq!(rig.hub.counts().held, 0);
    // What was confirmed stays confirmed.
    let received = MappingRequest {
        received: Answer(1),
        ..next(&empty)
    };
    assert!(rig.ask(&received).is_empty());
}

#[test]
fn a_change_answers_a_held_call_at_once() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    let _ = rig.pass(SPACING);
    assert!(rig.ask(&next(&answer)).is_empty());
    rig.own("a-1");
    let replies = rig.hub.take_replies();
    let change = told(&replies[0]);
    assert!(change.generation > answer.generation);
    assert_eq!(candidates(&change), ["shop a-1 a 80"]);
    assert_eq!(change.entries[0].3.as_deref(), Some("shop a-0 a 80"));
    assert_eq!(change.entries[0].2, 0);
    let _ = rig.pass(Nanos::from_millis(30));
    let _ = rig.ask(&next(&change));
    assert_eq!(rig.hub.take_lags(), [Nanos::from_millis(30)]);
}

#[test]
fn changes_are_told_apart_by_the_spacing() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    assert!(rig.ask(&next(&answer)).is_empty());
    let _ = rig.pass(Nanos::from_millis(50));
    rig.own("a-1");
    assert!(rig.hub.take_replies().is_empty());
    rig.own("a-2");
    assert!(rig.pass(Nanos::from_millis(149)).is_empty());
    let replies = rig.pass(Nanos::from_millis(1));
    assert_eq!(candidates(&told(&replies[0])), ["shop a-2 a 80"]);
}

#[test]
fn newly_seen_keys_are_not_spaced() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    let more = MappingRequest {
        subscribe: vec!["10.0.0.2:80".into()],
        ..next(&answer)
    };
    assert_eq!(rig.answered(&more).entries.len(), 1);
}

#[test]
fn a_change_that_the_gateway_cannot_see_wakes_nobody() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    let _ = rig.pass(SPACING);
    assert!(rig.ask(&next(&answer)).is_empty());
    let labels_only = pod("shop", "a-0", "ReplicaSet/a", &["x=y"]);
    let unrelated = slice(
        "shop",
        "c-1",
        "c",
        &["80"],
        &["10.0.0.1=c-0", "10.0.0.8=c-1"],
    );
    for object in [labels_only, unrelated] {
        let changes = rig.index.apply(&object, rig.now);
        rig.hub.on_change(&rig.index, &changes, rig.now);
        rig.hub.advance(&rig.index, rig.now);
    }
    assert!(rig.hub.take_replies().is_empty());
}

#[test]
fn an_answer_that_was_lost_is_said_again() {
    let mut rig = Rig::new();
    let lost = rig.answered(&first(&[KEY]));
    assert_eq!(rig.hub.counters().repeated, 0);
    // The VM never saw it: it asks as at first.
    let again = rig.answered(&first(&[KEY]));
    assert_eq!(again.entries, lost.entries);
    assert!(again.policy);

    let confirmed = next(&again);
    let _ = rig.pass(SPACING);
    assert!(rig.ask(&confirmed).is_empty());
    rig.own("a-1");
    let change = told(&rig.hub.take_replies()[0]);
    // The answer with the change was lost: the VM confirms the older one again.
    let repeated = rig.answered(&confirmed);
    assert_eq!(candidates(&repeated), candidates(&change));
    assert_eq!(repeated.answer, change.answer + 1);
    assert_eq!(rig.hub.counters().repeated, 1);
}

#[test]
fn a_newer_call_ends_the_older_one() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    assert!(rig.ask(&next(&answer)).is_empty());
    let older = Ticket(rig.asked);
    let replies = rig.ask(&next(&answer));
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].ticket, older);
    let empty = told(&replies[0]);
    assert_eq!((empty.answer, empty.generation), (0, answer.generation));
    assert_eq!(rig.hub.counts().held, 1);
}

#[test]
fn no_wait_is_never_held() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    let now = MappingRequest {
        no_wait: true,
        ..next(&answer)
    };
    assert_eq!(rig.answered(&now).answer, 0);
    rig.own("a-1");
    assert_eq!(candidates(&rig.answered(&now)), ["shop a-1 a 80"]);
}

#[test]
fn released_keys_are_not_told_any_more() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    let release = MappingRequest {
        release: vec![KEY.into(), "never:1".into()],
        ..next(&answer)
    };
    assert!(rig.ask(&release).is_empty());
    assert_eq!(rig.hub.counts().keys, 0);
    rig.own("a-1");
    let _ = rig.pass(SPACING);
    assert!(rig.hub.take_replies().is_empty());
}

#[test]
fn a_forgotten_vm_that_returns_finds_another_epoch() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    let _ = rig.pass(FORGET);
    rig.hub.forget_silent(rig.now);
    assert_eq!(rig.hub.counts(), gaugeway_index::HubCounts::default());
    let back = rig.answered(&next(&answer));
    assert!(back.policy);
    assert_ne!(back.epoch, answer.epoch);
    // It subscribes anew with all it holds.
    let anew = MappingRequest {
        subscribe: vec![KEY.into()],
        ..next(&back)
    };
    assert_eq!(candidates(&rig.answered(&anew)), ["shop a-0 a 80"]);
}

#[test]
fn a_vm_that_waits_is_not_forgotten() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    assert!(rig.ask(&next(&answer)).is_empty());
    rig.now = rig.now.plus(FORGET);
    rig.hub.forget_silent(rig.now);
    assert_eq!(rig.hub.counts().vms, 1);
}

#[test]
fn a_foreign_epoch_starts_the_subscription_anew() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY, "10.0.0.2:80"]));
    let foreign = MappingRequest {
        mapping_epoch: MappingEpoch(9),
        subscribe: vec![KEY.into()],
        ..next(&answer)
    };
    let again = rig.answered(&foreign);
    assert!(again.policy);
    assert_eq!(again.entries.len(), 1);
    assert_eq!(rig.hub.counts().subscriptions, 1);
    assert_eq!(again.epoch, answer.epoch);
}

#[test]
fn what_does_not_fit_follows() {
    let mut rig = Rig::new();
    let endpoints: Vec<_> = (0..2000)
        .map(|n| format!("10.1.{}.{}=p{n}", n / 250, n % 250))
        .collect();
    let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
    let _ = rig
        .index
        .apply(&slice("shop", "many", "a", &["80"], &endpoints), rig.now);
    let keys: Vec<_> = endpoints
        .iter()
        .map(|e| format!("{}:80", e.split_once('=').unwrap().0))
        .collect();
    let mut request = first(&[]);
    request.subscribe = keys;
    let mut entries = 0;
    let mut told = rig.answered(&request);
    let old = told.generation;
    let mut answers = 1;
    while told.more {
        entries += told.entries.len();
        assert_eq!(
            told.generation, old,
            "only the last answer has the new generation"
        );
        told = rig.answered(&next(&told));
        answers += 1;
    }
    entries += told.entries.len();
    assert!(told.generation > old);
    assert_eq!(entries, 2000);
    assert!(answers > 2);
}

#[test]
fn a_policy_of_its_own_reaches_a_gateways_vms_only() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    let _ = rig.pass(SPACING);
    assert!(rig.ask(&next(&answer)).is_empty());
    let policy = RecordingPolicy {
        services: Services::Every(Shown {
            dimensions: gaugeway_index::Dimensions::NONE,
            ..Shown::default()
        }),
        ..RecordingPolicy::default()
    };
    let (edge, other) = (gateway(EDGE), gateway("shop/inner"));
    assert!(rig.index.set_policy(&other, Some(policy.clone())));
    rig.hub.on_policy(&rig.index, &other, rig.now);
    rig.hub.advance(&rig.index, rig.now);
    assert!(rig.hub.take_replies().is_empty());
    assert!(rig.index.set_policy(&edge, Some(policy.clone())));
    assert!(!rig.index.set_policy(&edge, Some(policy)), "no change");
    rig.hub.on_policy(&rig.index, &edge, rig.now);
    rig.hub.advance(&rig.index, rig.now);
    let change = told(&rig.hub.take_replies()[0]);
    assert!(change.policy);
    assert_eq!(candidates(&change), ["shop a"]);
}

#[test]
fn everything_is_bounded() {
    let mut rig = Rig::with_limits(HubLimits {
        vms: 3,
        vms_per_gateway: 2,
        keys_per_vm: 3,
        keys_per_gateway: 4,
        keys: 100,
    });
    let vm = |n: u8, keys: &[&str]| MappingRequest {
        vm: VmId([n; 16]),
        ..first(keys)
    };
    let five = [
        "1.1.1.1:1",
        "1.1.1.2:1",
        "1.1.1.3:1",
        "1.1.1.4:1",
        "1.1.1.5:1",
    ];
    assert_eq!(rig.answered(&vm(1, &five)).entries.len(), 3);
    assert_eq!(
        rig.answered(&vm(2, &["1.1.1.4:1", "1.1.1.5:1"]))
            .entries
            .len(),
        1
    );
    assert_eq!(rig.hub.counters().refused_keys, 3);
    let replies = rig.ask(&vm(3, &[KEY]));
    assert_eq!(replies[0].answer, Err(Refused::TooManyVms));
    assert_eq!(rig.hub.counters().refused_vms, 1);
    // Another gateway still has room.
    let ticket = Ticket(99);
    rig.hub.on_request(
        &rig.index,
        rig.now,
        ticket,
        &gateway("shop/inner"),
        &vm(1, &[KEY]),
    );
    assert!(rig.hub.take_replies()[0].answer.is_ok());
}

#[test]
fn stopping_gives_every_held_call_back() {
    let mut rig = Rig::new();
    let answer = rig.answered(&first(&[KEY]));
    assert!(rig.ask(&next(&answer)).is_empty());
    assert_eq!(rig.hub.stop(), [Ticket(rig.asked)]);
    assert_eq!(rig.hub.next_wake(), None);
}

#[test]
fn a_service_that_leaves_the_reach_hands_over_to_the_one_that_stays() {
    let mut rig = Rig::new();
    let shared = slice("shop", "b-1", "b", &["80"], &["10.0.0.1=a-0"]);
    let _ = rig.index.apply(&shared, rig.now);
    let answer = rig.answered(&first(&[KEY]));
    assert_eq!(candidates(&answer), ["shop a-0 a 80", "shop a-0 b 80"]);
    let _ = rig.pass(SPACING);
    assert!(rig.ask(&next(&answer)).is_empty());
    let changes = rig
        .index
        .apply(&route("shop", "web", EDGE, &[&["b"]]), rig.now);
    rig.hub.on_change(&rig.index, &changes, rig.now);
    rig.hub.advance(&rig.index, rig.now);
    let change = told(&rig.hub.take_replies()[0]);
    assert_eq!(candidates(&change), ["shop a-0 b 80"]);
    assert_eq!(change.entries[0].3.as_deref(), Some("shop a-0 a 80"));
}
