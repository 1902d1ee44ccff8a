//! What statuses say, as a table, and when they change.

use serde_json::{Value, json};

use super::rig::{Shop, brief, gateway_ref, object, time};
use crate::{Policy, Verdict, status};

fn names(services: &[&str]) -> Value {
    let names: Vec<_> = services.iter().map(|s| json!({"name": s})).collect();
    json!({"serviceSelector": {"matchNames": names}})
}

#[test]
fn each_end_has_its_reason() {
    let all = json!({});
    // (an older policy's spec, this one's, workers, what is said)
    let table = [
        (
            None,
            all.clone(),
            1,
            "Accepted/Accepted Programmed/Programmed",
        ),
        (
            None,
            all.clone(),
            0,
            "Accepted/Accepted !Programmed/NoWorkers",
        ),
        (
            None,
            names(&["gone"]),
            1,
            "Accepted/Accepted !Programmed/NoServices",
        ),
        (
            None,
            json!({"targetRefs": [gateway_ref("gone")]}),
            1,
            "!Accepted/TargetNotFound !Programmed/NotAccepted",
        ),
        (
            Some(all.clone()),
            all.clone(),
            1,
            "!Accepted/Conflicted !Programmed/Overridden",
        ),
        (
            Some(names(&["cart"])),
            all,
            1,
            "Accepted/Accepted Programmed/PartiallyProgrammed",
        ),
        (
            Some(names(&["cart"])),
            names(&["pay"]),
            1,
            "Accepted/Accepted Programmed/Programmed",
        ),
        (
            Some(names(&["cart"])),
            json!({"serviceSelector": {"matchNames": [{"name": "pay"}]}, "reportInterval": "7s"}),
            1,
            "Accepted/Accepted Programmed/PartiallyProgrammed",
        ),
    ];
    for (older, spec, workers, said) in table {
        let mut objects = vec![object("ours", 20, &spec)];
        objects.extend(older.map(|older| object("older", 10, &older)));
        let shop = Shop {
            workers,
            ..Shop::default()
        };
        let status = shop.statuses(&objects, 100).remove(0);
        assert_eq!(brief(&status), said, "{spec}");
    }
}

#[test]
fn a_policy_that_was_refused_a_series_is_partly_programmed() {
    let shop = Shop {
        full: [0].into(),
        ..Shop::default()
    };
    let status = shop.statuses(&[object("p", 1, &json!({"maxSeries": 3}))], 100);
    let condition = &status[0].ancestors[0].conditions[1];
    assert_eq!(condition.reason, "PartiallyProgrammed");
    assert!(condition.message.contains("maxSeries is reached"));
}

#[test]
fn a_policy_that_cannot_be_used_says_everything_that_is_wrong() {
    let bad = object(
        "bad",
        1,
        &json!({"reportInterval": "2h", "histogram": {"schema": 9}}),
    );
    let why = Policy::check(&bad).unwrap_err();
    let status = status(&bad, &Verdict::invalid(&bad, &why), &time(5));
    assert_eq!(brief(&status), "!Accepted/Invalid !Programmed/NotAccepted");
    let message = &status.ancestors[0].conditions[0].message;
    assert!(
        message.contains("reportInterval") && message.contains("schema"),
        "{message}"
    );
}

#[test]
fn nothing_new_is_the_same_status_and_times_of_transitions_stay() {
    let shop = Shop::default();
    let mut policy = object("p", 1, &json!({}));
    let first = shop.statuses(std::slice::from_ref(&policy), 100).remove(0);
    assert_eq!((first.selected_services, first.workers), (2, 2));
    policy.status = Some(first.clone());
    let again = shop.statuses(std::slice::from_ref(&policy), 200).remove(0);
    assert_eq!(again, first);
    let idle = Shop {
        workers: 0,
        ..Shop::default()
    };
    let changed = idle.statuses(std::slice::from_ref(&policy), 300).remove(0);
    let conditions = &changed.ancestors[0].conditions;
    assert_eq!(
        conditions[0].last_transition_time,
        time(100),
        "Accepted is as it was"
    );
    assert_eq!(conditions[1].last_transition_time, time(300));
}

#[test]
fn what_other_controllers_say_stays() {
    let shop = Shop::default();
    let mut policy = object("p", 1, &json!({}));
    let mut foreign = shop.statuses(std::slice::from_ref(&policy), 1).remove(0);
    foreign.ancestors[0].controller_name = "example.com/other".to_owned();
    policy.status = Some(foreign.clone());
    let status = shop.statuses(std::slice::from_ref(&policy), 2).remove(0);
    assert_eq!(status.ancestors.len(), 2);
    assert!(status.ancestors.contains(&foreign.ancestors[0]));
}
