//! Which Services a policy selects, and what follows from that.

use gaugeway_index::{
    Dimension, Dimensions, Index, Kind, ObjectLabels, RecordingPolicy, Rule, Selection,
    ServiceSelector, Services, Shown, Terms, WhenIdle,
};
use gaugeway_wire::{Target, TargetKind};
use serde_json::json;

use crate::objects::*;

fn named(names: &[&str]) -> ServiceSelector {
    let pair = |n: &&str| ("shop".to_owned(), (*n).to_owned());
    ServiceSelector {
        names: Some(names.iter().map(pair).collect()),
        ..ServiceSelector::default()
    }
}

fn labelled(key: &str, value: &str) -> ServiceSelector {
    ServiceSelector {
        labels: [(key.to_owned(), value.to_owned())].into(),
        ..ServiceSelector::default()
    }
}

fn rule(services: ServiceSelector, dimensions: Dimensions) -> Rule {
    let object_labels = ObjectLabels::try_new::<&str>(&[]).unwrap().into();
    Rule {
        origin: "shop/policy".into(),
        services,
        shown: Shown {
            dimensions,
            object_labels,
        },
        terms: Terms::default(),
    }
}

fn recorded(rules: Vec<Rule>) -> RecordingPolicy {
    RecordingPolicy {
        services: Services::First(rules.into()),
        ..RecordingPolicy::default()
    }
}

/// Three Services; two share an address. Each has the label `team` with its own name.
fn shop() -> Index {
    index(&[
        service("shop", "cart", &[], &["80"]),
        service("shop", "pay", &[], &["80"]),
        service("shop", "stock", &[], &["80"]),
        slice("shop", "cart-1", "cart", &["8080"], &["10.0.0.1=c"]),
        slice("shop", "pay-1", "pay", &["8080"], &["10.0.0.2=p"]),
        slice("shop", "pay-2", "pay", &["8080"], &["10.0.0.3=s"]),
        slice("shop", "stock-1", "stock", &["8080"], &["10.0.0.3=s"]),
        route(
            "shop",
            "web",
            EDGE,
            &[&["cart:80"], &["pay:80"], &["stock:80"]],
        ),
    ])
}

fn owners_under(index: &Index, policy: &RecordingPolicy, key: &str) -> Vec<String> {
    let found = index.resolve_text(&gateway(EDGE), policy, key, at(0));
    found
        .candidates
        .iter()
        .map(|c| brief(&c.target.bytes))
        .collect()
}

#[test]
fn the_first_rule_that_selects_a_service_says_what_it_shows() {
    let pod = Dimensions::NONE.with(Dimension::Pod);
    let policy = recorded(vec![
        rule(labelled("team", "cart"), Dimensions::NONE),
        rule(named(&["cart", "pay"]), pod),
    ]);
    let index = shop();
    assert_eq!(
        owners_under(&index, &policy, "10.0.0.1:8080"),
        ["shop cart"]
    );
    assert_eq!(
        owners_under(&index, &policy, "10.0.0.2:8080"),
        ["shop p pay"]
    );
}

#[test]
fn a_service_that_no_rule_selects_is_unknown() {
    let policy = recorded(vec![rule(named(&["cart"]), Dimensions::NONE)]);
    let index = shop();
    for key in ["10.0.0.2:8080", "10.0.0.3:8080", "cluster:shop/pay"] {
        assert!(owners_under(&index, &policy, key).is_empty(), "{key}");
    }
}

#[test]
fn a_selected_service_does_not_get_the_requests_of_one_that_shares_its_address() {
    let policy = recorded(vec![rule(named(&["stock"]), Dimensions::NONE)]);
    let found = shop().resolve_text(&gateway(EDGE), &policy, "10.0.0.3:8080", at(0));
    let [pay, stock] = found.candidates.as_slice() else {
        panic!("{found:?}");
    };
    let kind = |bytes| Target::decode(bytes).unwrap().kind();
    assert_eq!(kind(&pay.target.bytes), TargetKind::Unknown);
    assert_eq!(brief(&stock.target.bytes), "shop stock");
    assert!(pay.hints.contains(&"shop/pay/80".to_owned()));
    assert!(stock.hints.contains(&"shop/stock/80".to_owned()));
}

#[test]
fn names_namespace_and_labels_must_all_fit() {
    let selector = |namespace: Option<&str>| ServiceSelector {
        namespace: namespace.map(str::to_owned),
        names: named(&["cart", "pay"]).names,
        labels: labelled("team", "pay").labels,
    };
    let rules = [
        rule(selector(None), Dimensions::NONE),
        rule(selector(Some("shop")), Dimensions::NONE),
        rule(selector(Some("bank")), Dimensions::NONE),
        rule(ServiceSelector::default(), Dimensions::NONE),
    ];
    let selection = |name: &str, rules: &[usize]| Selection {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        rules: rules.to_vec(),
        is_scraped: false,
    };
    let index = shop();
    assert_eq!(
        index.selections(&gateway(EDGE), &rules),
        [
            selection("cart", &[3]),
            selection("pay", &[0, 1, 3]),
            selection("stock", &[3])
        ]
    );
    assert!(index.selections(&gateway("shop/inner"), &rules).is_empty());
}

#[test]
fn what_no_gateway_makes_any_more_is_not_live() {
    let mut index = shop();
    let before = index.resolve_text(
        &gateway(EDGE),
        &RecordingPolicy::default(),
        "10.0.0.1:8080",
        at(0),
    );
    let target = Target::decode(&before.candidates[0].target.bytes).unwrap();
    assert!(index.is_live(&target));
    let coarser = recorded(vec![rule(named(&["cart"]), Dimensions::NONE)]);
    assert!(index.set_policy(&gateway(EDGE), Some(coarser)));
    assert!(!index.is_live(&target), "its Pod is no longer shown");
    let other = recorded(vec![rule(named(&["pay"]), Dimensions::default())]);
    assert!(index.set_policy(&gateway(EDGE), Some(other)));
    assert!(!index.is_live(&target), "its Service is no longer selected");
    assert!(index.set_policy(&gateway(EDGE), None));
    assert!(index.is_live(&target));
    assert_eq!(index.gateways_with_policies().count(), 0);
}

#[test]
fn what_holds_for_a_service_is_what_the_rule_in_force_says() {
    let with = |names: &[&str], terms: Terms| Rule {
        terms,
        ..rule(named(names), Dimensions::NONE)
    };
    let absent = Terms {
        when_idle: WhenIdle::Absent,
        kong_compatible: Some(true),
        max_series: Some(7),
    };
    let silent = Terms {
        kong_compatible: Some(false),
        ..Terms::default()
    };
    let mut index = shop();
    let policy = recorded(vec![
        with(&["cart"], absent),
        with(&["cart", "pay"], silent),
    ]);
    index.set_policy(&gateway(EDGE), Some(policy));
    let idle = |name| index.observed("shop", name).unwrap().seen.when_idle;
    let kong = |name| index.kong_compatible(&gateway(EDGE), "shop", name);
    assert_eq!((idle("cart"), kong("cart")), (WhenIdle::Absent, Some(true)));
    assert_eq!((idle("pay"), kong("pay")), (WhenIdle::Zero, Some(false)));
    assert_eq!((idle("stock"), kong("stock")), (WhenIdle::Zero, None));
    let elsewhere = index.kong_compatible(&gateway("shop/other"), "shop", "cart");
    assert_eq!(elsewhere, None);
}

#[test]
fn a_service_that_kongs_operator_scrapes_is_not_shown_twice() {
    let mut index = shop();
    let scraped = |index: &mut Index, plugins: &str| {
        let service = object(
            Kind::Service,
            &json!({
                "metadata": {"namespace": "shop", "name": "cart", "annotations": {"konghq.com/plugins": plugins}},
                "spec": {"ports": [{"port": 80}]},
            }),
        );
        let _ = index.apply(&service, at(1));
        let told = index.kong_compatible(&gateway(EDGE), "shop", "cart");
        let rules = [rule(ServiceSelector::default(), Dimensions::NONE)];
        let selections = index.selections(&gateway(EDGE), &rules);
        let says = index.is_scraped_by_kong("shop", "cart");
        let cart = selections.iter().find(|s| s.name == "cart").unwrap();
        assert_eq!(cart.is_scraped, says);
        assert_eq!(says, told == Some(false));
        says
    };
    let wants = Terms {
        kong_compatible: Some(true),
        ..Terms::default()
    };
    let policy = recorded(vec![Rule {
        terms: wants,
        ..rule(ServiceSelector::default(), Dimensions::NONE)
    }]);
    index.set_policy(&gateway(EDGE), Some(policy));
    assert!(scraped(&mut index, "cart-metrics-prometheus"));
    assert!(scraped(&mut index, "auth, cart-metrics-prometheus"));
    for other in [
        "",
        "auth",
        "pay-metrics-prometheus",
        "cart-metrics-prometheus-2",
    ] {
        assert!(!scraped(&mut index, other), "{other}");
    }
    assert!(!index.is_scraped_by_kong("shop", "none"));
}
