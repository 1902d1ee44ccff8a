//! Of several policies that select a Service the oldest wins, whatever the order in which they became known.

use proptest::{prelude::*, sample::subsequence};
use serde_json::json;

use super::rig::{Shop, class_ref, gateway, policy};
use crate::{Known, Policy, Target, layouts, resolve, told};

fn names(policies: &[Policy], order: &[usize]) -> Vec<String> {
    order
        .iter()
        .map(|at| policies[*at].id.name.clone())
        .collect()
}

#[test]
fn the_oldest_is_the_strongest_then_the_first_by_name() {
    let policies = [
        policy("young", 30, &json!({})),
        policy("b", 20, &json!({})),
        policy("a", 20, &json!({})),
    ];
    let resolved = resolve(&policies, &Shop::default().known);
    assert_eq!(
        names(&policies, &resolved[&gateway("shop/edge")]),
        ["a", "b", "young"]
    );
}

#[test]
fn what_is_not_there_has_no_policies() {
    let policies = [policy(
        "p",
        1,
        &json!({"targetRefs": [super::rig::gateway_ref("gone")]}),
    )];
    assert!(resolve(&policies, &Shop::default().known).is_empty());
}

#[test]
fn a_class_speaks_for_its_own_namespace_unless_the_policy_is_the_operators() {
    let policy = policy("p", 1, &json!({"targetRefs": [class_ref("kong")]}));
    let target = Target::IngressClass {
        name: "kong".to_owned(),
    };
    let mut known = Known::default();
    assert_eq!(known.confined(&policy, &target).as_deref(), Some("shop"));
    known.own_namespace = Some("shop".to_owned());
    assert_eq!(known.confined(&policy, &target), None);
    let gateway = Target::Gateway {
        namespace: "shop".to_owned(),
        name: "edge".to_owned(),
    };
    assert_eq!(Known::default().confined(&policy, &gateway), None);
}

#[test]
fn bounds_of_all_are_joined_until_they_find_no_room() {
    let default = gaugeway_wire::Policy::default();
    let many: Vec<_> = (1..=60).map(|n| format!("{n}us")).collect();
    let policies = [
        policy(
            "old",
            1,
            &json!({"histogram": {"classicBuckets": ["3ms", "7ms"], "schema": 5}}),
        ),
        policy("young", 2, &json!({"histogram": {"classicBuckets": many}})),
    ];
    let attached = resolve(&policies, &Shop::default().known);
    let joined = layouts(&default.layout(), &policies, &attached);
    assert_eq!(joined.refused.into_iter().collect::<Vec<_>>(), [1]);
    assert_eq!(joined.common.schema.get(), 5);
    let bounds = joined.common.bounds.as_slice();
    assert_eq!(bounds.len(), default.classic_bounds.as_slice().len() + 2);
    assert!(bounds.is_sorted());
    let told = told(&default, Some(&policies[1].settings), &joined.common);
    assert_eq!(
        told.layout().bounds,
        joined.common.bounds,
        "the same everywhere"
    );
    assert_eq!(told.schema, default.schema, "the policy says nothing");
}

proptest! {
    /// Policies are a set: the order in which they are given changes nothing but the order of the answers.
    #[test]
    fn order_does_not_matter(
        ages in prop::collection::vec((0_i64..3, subsequence(vec!["cart", "pay", "ship"], 1..=3)), 1..6),
        turn in 0_usize..6,
    ) {
        let policies: Vec<_> = ages
            .iter()
            .enumerate()
            .map(|(at, (age, services))| {
                let selected: Vec<_> = services.iter().map(|s| json!({"name": s})).collect();
                policy(&format!("p{at}"), *age, &json!({"serviceSelector": {"matchNames": selected}}))
            })
            .collect();
        let shop = Shop { services: vec!["cart", "pay", "ship"], ..Shop::default() };
        let mut expected = shop.verdicts(&policies);
        let turn = turn % policies.len();
        let mut turned = policies;
        turned.rotate_left(turn);
        expected.rotate_left(turn);
        prop_assert_eq!(shop.verdicts(&turned), expected);
    }

    /// Each Service that any policy selects is decided by exactly one.
    #[test]
    fn every_selected_service_has_one_winner(
        ages in prop::collection::vec((0_i64..3, subsequence(vec!["cart", "pay", "ship"], 1..=3)), 1..6),
    ) {
        let policies: Vec<_> = ages
            .iter()
            .enumerate()
            .map(|(at, (age, services))| {
                let selected: Vec<_> = services.iter().map(|s| json!({"name": s})).collect();
                policy(&format!("p{at}"), *age, &json!({"serviceSelector": {"matchNames": selected}}))
            })
            .collect();
        let shop = Shop { services: vec!["cart", "pay", "ship"], ..Shop::default() };
        let won: usize = shop
            .verdicts(&policies)
            .iter()
            .map(|v| match v {
                crate::Verdict::Attached(at) => at.iter().map(|a| a.won).sum(),
                crate::Verdict::Invalid { .. } => 0,
            })
            .sum();
        let selected: std::collections::BTreeSet<_> = ages.iter().flat_map(|(_, s)| s).collect();
        prop_assert_eq!(won, selected.len());
    }
}
