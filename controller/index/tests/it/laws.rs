//! Laws: the order of events does not matter, duplicates do not matter, and whoever listens hears everything.

use std::collections::BTreeMap;

use gaugeway_index::{
    Hub, HubLimits, Index, Kind, Moment, Object, ObjectId, RecordingPolicy, Scope, Ticket,
};
use gaugeway_wire::{
    Answer, GatewayName, Generation, MappingAnswer, MappingEpoch, MappingRequest, Target, VmId,
};
use proptest::prelude::*;

use crate::objects::*;

/// One object of a small world, in one of a few states.
fn any_object() -> impl Strategy<Value = Object> {
    let name = || prop::sample::select(vec!["a", "b"]);
    let address = || {
        prop::sample::select(vec![
            "10.0.0.1=p",
            "10.0.0.1=q",
            "10.0.0.2=q",
            "10.0.0.3",
            "10.96.0.1",
        ])
    };
    let port = || prop::sample::select(vec!["http:80", "80", "admin:81"]);
    let ip = || prop::sample::select(vec!["10.96.0.1", "10.96.0.2", "None"]);
    let owner = || prop::sample::select(vec!["ReplicaSet/a-1", "StatefulSet/b", ""]);
    let gateway = || prop::sample::select(vec![EDGE, "shop/inner"]);
    let backend = || prop::sample::select(vec!["a", "a:80", "b", "b:81", "far/a"]);
    prop_oneof![
        (name(), ip(), prop::collection::vec(port(), 1..3)).prop_map(|(n, ip, ports)| service(
            "shop",
            n,
            &[ip],
            &ports
        )),
        (
            prop::sample::select(vec!["s", "t"]),
            name(),
            prop::collection::vec(port(), 1..3),
            prop::collection::vec(address(), 0..4),
            prop::sample::select(vec!["shop", "far"]),
        )
            .prop_map(|(s, n, ports, of, ns)| slice(ns, s, n, &ports, &of)),
        (prop::sample::select(vec!["p", "q"]), owner(), any::<bool>()).prop_map(|(p, o, l)| pod(
            "shop",
            p,
            o,
            if l {
                &["pod-template-hash=1", "version=v1"]
            } else {
                &[]
            }
        )),
        prop::sample::select(vec!["Deployment/a", ""]).prop_map(|o| replica_set("shop", "a-1", o)),
        (
            prop::sample::select(vec!["r", "q"]),
            gateway(),
            prop::collection::vec(prop::collection::vec(backend(), 0..3), 0..3),
        )
            .prop_map(|(r, g, rules)| {
                let rules: Vec<&[&str]> = rules.iter().map(Vec::as_slice).collect();
                route("shop", r, g, &rules)
            }),
        prop::option::of(name()).prop_map(|n| grant("far", "shop", n)),
        (
            prop::sample::select(vec!["shop", "far"]),
            prop::sample::select(vec!["kong", "nginx"]),
            prop::collection::vec(prop::sample::select(vec!["a:80", "a:http", "b:80"]), 0..3),
        )
            .prop_map(|(ns, class, backends)| ingress(ns, "i", class, &backends)),
    ]
}

#[derive(Clone, Debug)]
enum Event {
    Apply(Object),
    Delete(ObjectId),
    /// A watch that was lost: everything of a kind, or of one namespace, is listed again, partly changed.
    Relist(Scope),
    Pass(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any_object().prop_map(Event::Apply),
        2 => any_object().prop_map(|o| Event::Delete(o.id())),
        1 => (
            prop::sample::select(Kind::ALL.to_vec()),
            prop::sample::select(vec![None, Some("shop".to_owned()), Some("far".to_owned())]),
        )
            .prop_map(|(kind, namespace)| Event::Relist(Scope { kind, namespace })),
        1 => (1_u64..40).prop_map(Event::Pass),
    ]
}

/// Plays events; returns what exists at the end.
struct World {
    index: Index,
    objects: BTreeMap<ObjectId, Object>,
    now: Moment,
}

impl World {
    fn new() -> Self {
        Self::recording(RecordingPolicy::default())
    }

    fn recording(policy: RecordingPolicy) -> Self {
        Self {
            index: Index::new(policy),
            objects: BTreeMap::new(),
            now: at(1),
        }
    }

    fn play(&mut self, event: &Event) -> gaugeway_index::Changes {
        match event {
            Event::Apply(object) => {
                self.objects.insert(object.id(), object.clone());
                self.index.apply(object, self.now)
            }
            Event::Delete(id) => {
                self.objects.remove(id);
                self.index.delete(id, self.now)
            }
            Event::Relist(scope) => {
                let within = |id: &ObjectId| {
                    let namespace = scope.namespace.as_ref();
                    id.kind == scope.kind && namespace.is_none_or(|n| *n == id.namespace)
                };
                // A delete that was seen by nobody.
                let first = self.objects.keys().find(|id| within(id)).cloned();
                first.and_then(|id| self.objects.remove(&id));
                let mut changes = gaugeway_index::Changes::default();
                // A list that broke off, then another.
                self.index.begin_reset(scope.clone());
                self.index.begin_reset(scope.clone());
                for (_, object) in self.objects.iter().filter(|(id, _)| within(id)) {
                    changes.merge(self.index.apply(object, self.now));
                }
                changes.merge(self.index.end_reset(scope.clone(), self.now));
                changes
            }
            Event::Pass(seconds) => {
                self.now = Moment(self.now.0 + at(*seconds).0);
                self.index.advance(self.now)
            }
        }
    }

    /// So long after that nothing lingers.
    fn settle(&mut self) -> gaugeway_index::Changes {
        self.play(&Event::Pass(2 * 86_400))
    }
}

const KEYS: [&str; 17] = [
    "10.0.0.1:80",
    "10.0.0.1:81",
    "10.0.0.2:80",
    "10.0.0.3:80",
    "10.96.0.1:80",
    "10.96.0.1:81",
    "10.96.0.2:80",
    "cluster:shop/a",
    "cluster:shop/a/http",
    "cluster:far/a",
    "cluster:httproute/shop/r/rule/0",
    "cluster:httproute/shop/q/rule/1",
    "cluster:shop.a.http",
    "cluster:httproute.shop.r.0",
    "cluster:httproute.shop.svc.shop.a.80.1_shop.b.81.1",
    "cluster:far.a.80",
    "nonsense",
];

/// Candidates with hints, per gateway and key.
type Picture = BTreeMap<String, Vec<(String, Vec<String>)>>;

fn picture(index: &Index, now: Moment) -> Picture {
    let mut picture = Picture::new();
    for gateway_name in [EDGE, "shop/inner", "ingressclass:kong"] {
        for key in KEYS {
            let found = index.resolve_text(&gateway(gateway_name), &every_dimension(), key, now);
            let candidates = found.candidates.iter();
            let candidates = candidates.map(|c| (brief(&c.target.bytes), c.hints.clone()));
            picture.insert(format!("{gateway_name} {key}"), candidates.collect());
            for candidate in &found.candidates {
                let target = Target::decode(&candidate.target.bytes).unwrap();
                assert!(index.may_report(&gateway(gateway_name), &target));
                assert!(index.is_live(&target), "{}", brief(&candidate.target.bytes));
            }
        }
    }
    picture
}

/// A VM that believes what it is told.
#[derive(Default)]
struct Listener {
    held: BTreeMap<String, Vec<u64>>,
    targets: BTreeMap<u64, String>,
    epoch: u64,
    generation: u64,
    received: u64,
    asked: u64,
}

impl Listener {
    /// Asks until there is nothing more. `lose` drops an answer now and then.
    fn catch_up(
        &mut self,
        hub: &mut Hub,
        index: &Index,
        name: &GatewayName,
        now: Moment,
        lose: bool,
    ) {
        for round in 0_u64.. {
            assert!(round < 100, "never quiet");
            self.asked += 1;
            let request = MappingRequest {
                mapping_epoch: MappingEpoch(self.epoch),
                generation: Generation(self.generation),
                received: Answer(self.received),
                subscribe: if self.epoch == 0 {
                    KEYS.map(str::to_owned).to_vec()
                } else {
                    Vec::new()
                },
                no_wait: true,
                ..MappingRequest::new(VmId([1; 16]))
            };
            hub.on_request(index, now, Ticket(self.asked), name, &request);
            let bytes = hub.take_replies().pop().unwrap().answer.unwrap();
            if lose && round == 0 {
                continue;
            }
            if !self.take(&bytes) {
                return;
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        let answer = MappingAnswer::decode(bytes).unwrap();
        for definition in answer.targets() {
            self.targets
                .insert(definition.fingerprint.0, brief(definition.target));
        }
        for entry in answer.entries() {
            let targets = entry.candidates().map(|c| c.target.0);
            self.held.insert(entry.key.to_owned(), targets.collect());
        }
        self.epoch = answer.mapping_epoch.0;
        self.generation = answer.generation.0;
        if answer.answer.0 != 0 {
            self.received = answer.answer.0;
        }
        answer.answer.0 != 0
    }

    fn picture(&self) -> BTreeMap<String, Vec<String>> {
        let named = |targets: &Vec<u64>| targets.iter().map(|t| self.targets[t].clone()).collect();
        let entries = self.held.iter();
        entries.map(|(k, t)| (k.clone(), named(t))).collect()
    }
}

fn truth(index: &Index, name: &GatewayName, now: Moment) -> BTreeMap<String, Vec<String>> {
    let policy = RecordingPolicy::default();
    let of = |key: &str| {
        let found = index.resolve_text(name, &policy, key, now);
        let candidates = found.candidates.iter();
        candidates.map(|c| brief(&c.target.bytes)).collect()
    };
    KEYS.iter().map(|k| ((*k).to_owned(), of(k))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_order_of_events_ends_in_the_state_built_from_scratch(
        events in prop::collection::vec(any_event(), 0..40),
    ) {
        let mut world = World::recording(every_dimension());
        for event in &events {
            let _ = world.play(event);
        }
        let _ = world.settle();
        let objects: Vec<_> = world.objects.values().cloned().collect();
        let mut scratch = recording(every_dimension(), &objects);
        scratch.forget_changes();
        prop_assert_eq!(picture(&world.index, world.now), picture(&scratch, at(0)));
        let counts = |i: &Index| gaugeway_index::Counts { forgotten: 0, ..i.counts() };
        prop_assert_eq!(counts(&world.index), counts(&scratch));
    }

    #[test]
    fn duplicates_change_nothing(objects in prop::collection::vec(any_object(), 1..12)) {
        let mut world = World::new();
        for object in &objects {
            let _ = world.play(&Event::Apply(object.clone()));
            let again = world.play(&Event::Apply(object.clone()));
            prop_assert!(again.is_empty());
        }
        for kind in Kind::ALL {
            let again = world.index.reset(kind, world.objects.values(), world.now);
            prop_assert!(again.is_empty());
        }
    }

    #[test]
    fn whoever_listens_hears_everything(
        events in prop::collection::vec((any_event(), any::<bool>(), any::<bool>()), 1..30),
    ) {
        let name = gateway(EDGE);
        let mut hub = Hub::new(MappingEpoch(7), HubLimits::default());
        let mut world = World::new();
        let mut listener = Listener::default();
        listener.catch_up(&mut hub, &world.index, &name, world.now, false);
        for (event, listens, loses) in &events {
            let changes = world.play(event);
            hub.on_change(&world.index, &changes, world.now);
            if *listens {
                listener.catch_up(&mut hub, &world.index, &name, world.now, *loses);
                let truth = truth(&world.index, &name, world.now);
                prop_assert_eq!(listener.picture(), truth);
            }
        }
        prop_assert_eq!(hub.counts().subscriptions, KEYS.len());
    }
}
