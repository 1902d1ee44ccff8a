//! Laws of who wins: the oldest, whatever the order in which objects came.

use gaugeway_operator::{Known, Policy, layouts, resolve};
use gaugeway_wire::{ClassicBounds, Layout, Nanos, Schema};
use proptest::prelude::*;
use serde_json::json;

use crate::make::{class, gateway, object, policy};

fn known(gateways: &[&str]) -> Known {
    let pair = |name: &&str| ("shop".to_owned(), (*name).to_owned());
    Known {
        gateways: gateways.iter().map(pair).collect(),
        ..Known::default()
    }
}

/// Names of the policies of each gateway, in force first.
fn names(policies: &[Policy], known: &Known) -> Vec<(String, Vec<String>)> {
    resolve(policies, known)
        .into_iter()
        .map(|(gateway, at)| {
            let name = |at: &usize| policies[*at].id.name.clone();
            (gateway.as_str().to_owned(), at.iter().map(name).collect())
        })
        .collect()
}

#[test]
fn the_oldest_comes_first_then_the_first_by_name() {
    let policies = [
        policy("b", 2, &["edge"]),
        policy("young", 9, &["edge", "side"]),
        policy("a", 2, &["edge"]),
    ];
    let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        names(&policies, &known(&["edge", "side"])),
        [
            ("shop/edge".to_owned(), own(&["a", "b", "young"])),
            ("shop/side".to_owned(), own(&["young"])),
        ]
    );
}

#[test]
fn a_target_that_is_not_there_has_no_policies() {
    assert!(names(&[policy("p", 1, &["edge"])], &known(&[])).is_empty());
}

#[test]
fn at_an_ingress_class_others_are_confined_to_their_namespace() {
    let spec = json!({"targetRefs": [class("kong")]});
    let policy = Policy::check(&object("p", 1, &spec)).unwrap();
    let target = &policy.targets[0];
    let mut known = known(&[]);
    assert_eq!(known.confined(&policy, target).as_deref(), Some("shop"));
    known.own_namespace = Some("shop".to_owned());
    assert_eq!(known.confined(&policy, target), None);
    known.ingress_classes = Some(["other".to_owned()].into());
    assert!(!known.has(target));
}

#[test]
fn bounds_of_all_policies_are_joined_and_too_many_are_refused_to_the_youngest() {
    let with = |name: &str, created: i64, bounds: Vec<String>| {
        let spec = json!({"targetRefs": [gateway("edge")], "histogram": {"classicBuckets": bounds, "schema": 4}});
        Policy::check(&object(name, created, &spec)).unwrap()
    };
    let ms = |range: std::ops::Range<u32>| range.map(|n| format!("{n}ms")).collect();
    let policies = [with("young", 9, ms(100..160)), with("old", 1, ms(1..31))];
    let known = known(&["edge"]);
    let default = Layout {
        schema: Schema::DEFAULT,
        bounds: ClassicBounds::default(),
    };
    let joined = layouts(&default, &policies, &resolve(&policies, &known));
    assert_eq!(joined.refused, [0].into());
    assert_eq!(joined.common.schema.get(), 4);
    let bounds = joined.common.bounds.as_slice();
    assert!(bounds.contains(&Nanos::from_millis(7)));
    assert!(!bounds.contains(&Nanos::from_millis(137)));
    for bound in default.bounds.as_slice() {
        assert!(bounds.contains(bound), "the default's stay");
    }
}

proptest! {
    #[test]
    fn the_order_of_the_objects_does_not_matter(
        made in proptest::collection::vec((0_i64..4, 0_usize..3), 1..12),
        seed in any::<u64>(),
    ) {
        let gateways = ["a", "b", "c"];
        let policies: Vec<Policy> = made
            .iter()
            .enumerate()
            .map(|(n, (created, at))| policy(&format!("p{n}"), *created, &[gateways[*at]]))
            .collect();
        let known = known(&gateways);
        let mut shuffled = policies.clone();
        let length = shuffled.len();
        shuffled.rotate_left(usize::try_from(seed % length as u64).unwrap());
        if seed & 1 == 1 {
            shuffled.reverse();
        }
        prop_assert_eq!(names(&policies, &known), names(&shuffled, &known));
    }
}
