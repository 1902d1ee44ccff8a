//! What a policy may say. The CRD's CEL rules and our own checks agree.

use gaugeway_operator::Policy;
use gaugeway_wire::Nanos;
use serde_json::{Value, json};

use crate::make::{class, gateway, object};

/// Whether the CRD's rules take it, as an API server evaluates them.
fn rules(spec: &Value) -> Result<(), String> {
    kube_core::cel::validate_cel(&object("p", 1, spec)).map_err(|errors| errors.to_string())
}

fn with(members: &Value) -> Value {
    let mut spec = json!({"targetRefs": [gateway("edge")]});
    for (name, value) in members.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

#[test]
fn what_is_right_is_taken() {
    for spec in [
        with(&json!({})),
        json!({"targetRefs": [class("kong")]}),
        json!({"targetRefs": [gateway("a"), gateway("b")]}),
        with(&json!({"reportInterval": "1s"})),
        with(&json!({"reportInterval": "1h"})),
        with(&json!({"maxSeries": 1})),
        with(&json!({"maxSeries": 1_000_000})),
        with(&json!({"whenIdle": "Absent", "kongCompatible": true})),
        with(&json!({"deploy": {"enabled": true, "assumeWasm": true}})),
        with(&json!({"deploy": {"assumeWasm": false}})),
        with(&json!({"histogram": {"schema": 5, "classicBuckets": ["2500us", "40ms", "1m30s"]}})),
        with(
            &json!({"serviceSelector": {"matchNames": [{"name": "cart"}], "matchLabels": {"tier": "web"}}}),
        ),
    ] {
        assert_eq!(rules(&spec), Ok(()), "{spec}");
        Policy::check(&object("p", 1, &spec)).unwrap();
    }
}

#[test]
fn what_is_wrong_is_refused_by_the_rules_and_by_us() {
    for (spec, word) in [
        (
            json!({"targetRefs": [class("kong"), class("other")]}),
            "alone",
        ),
        (
            json!({"targetRefs": [class("kong"), gateway("a")]}),
            "alone",
        ),
        (
            json!({"targetRefs": [{"group": "", "kind": "Service", "name": "cart"}]}),
            "a target is",
        ),
        (
            with(&json!({"deploy": {"assumeWasm": true}})),
            "enabled: true",
        ),
        (
            with(&json!({"deploy": {"enabled": false, "assumeWasm": true}})),
            "enabled: true",
        ),
        (with(&json!({"reportInterval": "999ms"})), "1s to 1h"),
        (with(&json!({"reportInterval": "1h1s"})), "1s to 1h"),
        (
            with(&json!({"histogram": {"classicBuckets": ["1s", "40ms"]}})),
            "increasing",
        ),
        (
            with(&json!({"histogram": {"classicBuckets": ["0s"]}})),
            "classicBuckets",
        ),
    ] {
        assert!(rules(&spec).is_err(), "the rules take {spec}");
        let invalid = Policy::check(&object("p", 1, &spec)).unwrap_err();
        assert!(invalid.to_string().contains(word), "{spec}: {invalid}");
    }
}

#[test]
fn what_a_schema_alone_refuses_we_refuse_too() {
    let names: Vec<Value> = (0..257).map(|n| json!({"name": format!("s{n}")})).collect();
    let labels: Vec<String> = (0..17).map(|n| format!("l{n}")).collect();
    let targets: Vec<Value> = (0..17).map(|n| gateway(&format!("g{n}"))).collect();
    for (spec, word) in [
        (json!({"targetRefs": []}), "empty"),
        (json!({"targetRefs": targets}), "16 at most"),
        (json!({"targetRefs": [gateway("a"), gateway("a")]}), "twice"),
        (
            with(&json!({"serviceSelector": {"matchNames": names}})),
            "256 at most",
        ),
        (
            with(&json!({"serviceSelector": {"matchNames": []}})),
            "leave it out",
        ),
        (with(&json!({"labels": labels})), "16 at most"),
        (with(&json!({"histogram": {"schema": 6}})), "0 to 5"),
        (with(&json!({"maxSeries": 0})), "1 to 1000000"),
        (with(&json!({"maxSeries": 1_000_001})), "1 to 1000000"),
        (
            with(&json!({"histogram": {"classicBuckets": ["fast"]}})),
            "no time",
        ),
    ] {
        let invalid = Policy::check(&object("p", 1, &spec)).unwrap_err();
        assert!(invalid.to_string().contains(word), "{spec}: {invalid}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let spec = with(&json!({"reportInterval": "soon", "histogram": {"schema": 9}}));
    let invalid = Policy::check(&object("p", 1, &spec)).unwrap_err();
    assert_eq!(invalid.problems.len(), 2, "{invalid}");
}

#[test]
fn names_without_a_namespace_are_the_policys_own() {
    let selector = json!({"matchNames": [{"name": "cart"}, {"namespace": "data", "name": "db"}]});
    let spec = with(&json!({"serviceSelector": selector, "reportInterval": "90s"}));
    let policy = Policy::check(&object("p", 1, &spec)).unwrap();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let names: Vec<_> = policy.names.unwrap().into_iter().collect();
    assert_eq!(names, [pair("data", "db"), pair("shop", "cart")]);
    assert_eq!(
        policy.settings.report_interval,
        Some(Nanos::from_millis(90_000))
    );
}
