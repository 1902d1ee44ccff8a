//! What a policy's status says, and that it changes only when something happened.

use gaugeway_operator::{
    Attachment, Policy, PolicyId, Target, Verdict, crd::LatencyPolicyStatus, deploy::Deployment,
    status,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde_json::json;

use crate::make::{gateway, object};

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn edge() -> Target {
    Target::Gateway {
        namespace: "shop".to_owned(),
        name: "edge".to_owned(),
    }
}

fn fine() -> Attachment {
    Attachment {
        target: edge(),
        found: true,
        won: 3,
        lost: 0,
        older: None,
        settings_of: None,
        bounds_refused: false,
        series_refused: false,
        kong_off: false,
        workers: 4,
        deployment: Deployment::Unmanaged,
    }
}

fn older() -> PolicyId {
    PolicyId {
        namespace: "shop".to_owned(),
        name: "older".to_owned(),
    }
}

fn of(attachment: Attachment) -> LatencyPolicyStatus {
    let object = object("p", 1, &json!({"targetRefs": [gateway("edge")]}));
    status(&object, &Verdict::Attached(vec![attachment]), &at(100))
}

fn condition<'a>(status: &'a LatencyPolicyStatus, kind: &str) -> &'a Condition {
    let conditions = &status.ancestors[0].conditions;
    conditions.iter().find(|c| c.type_ == kind).unwrap()
}

#[test]
fn each_case_has_its_reasons() {
    let cases = [
        (fine(), "Accepted", "Programmed", true),
        (
            Attachment {
                found: false,
                won: 0,
                workers: 0,
                ..fine()
            },
            "TargetNotFound",
            "NotAccepted",
            false,
        ),
        (
            Attachment {
                won: 0,
                lost: 3,
                older: Some(older()),
                ..fine()
            },
            "Conflicted",
            "Overridden",
            false,
        ),
        (
            Attachment {
                lost: 1,
                older: Some(older()),
                ..fine()
            },
            "Accepted",
            "PartiallyProgrammed",
            true,
        ),
        (
            Attachment {
                settings_of: Some(older()),
                ..fine()
            },
            "Accepted",
            "PartiallyProgrammed",
            true,
        ),
        (
            Attachment {
                bounds_refused: true,
                ..fine()
            },
            "Accepted",
            "PartiallyProgrammed",
            true,
        ),
        (
            Attachment {
                series_refused: true,
                ..fine()
            },
            "Accepted",
            "PartiallyProgrammed",
            true,
        ),
        (
            Attachment {
                kong_off: true,
                ..fine()
            },
            "Accepted",
            "PartiallyProgrammed",
            true,
        ),
        (
            Attachment { won: 0, ..fine() },
            "Accepted",
            "NoServices",
            false,
        ),
        (
            Attachment {
                workers: 0,
                ..fine()
            },
            "Accepted",
            "NoWorkers",
            false,
        ),
    ];
    for (attachment, accepted, programmed, works) in cases {
        let status = of(attachment.clone());
        assert_eq!(
            condition(&status, "Accepted").reason,
            accepted,
            "{attachment:?}"
        );
        let condition = condition(&status, "Programmed");
        assert_eq!(condition.reason, programmed, "{attachment:?}");
        assert_eq!(condition.status, if works { "True" } else { "False" });
        assert_eq!(condition.observed_generation, Some(3));
        assert!(!condition.message.is_empty());
        assert!(!condition.message.contains(char::is_numeric) || condition.message.contains("64"));
    }
}

#[test]
fn an_invalid_policy_says_everything_that_is_wrong() {
    let object = object(
        "p",
        1,
        &json!({"targetRefs": [gateway("edge")], "reportInterval": "soon"}),
    );
    let why = Policy::check(&object).unwrap_err();
    let status = status(&object, &Verdict::invalid(&object, &why), &at(1));
    assert_eq!(condition(&status, "Accepted").reason, "Invalid");
    assert!(condition(&status, "Accepted").message.contains("soon"));
    assert_eq!(condition(&status, "Programmed").reason, "NotAccepted");
}

#[test]
fn the_time_of_a_transition_is_that_of_the_transition() {
    let mut object = object("p", 1, &json!({"targetRefs": [gateway("edge")]}));
    let verdict = |a: Attachment| Verdict::Attached(vec![a]);
    let first = status(&object, &verdict(fine()), &at(100));
    object.status = Some(first.clone());
    assert_eq!(
        status(&object, &verdict(fine()), &at(200)),
        first,
        "nothing happened"
    );
    let silent = Attachment {
        workers: 0,
        ..fine()
    };
    let second = status(&object, &verdict(silent), &at(300));
    assert_eq!(condition(&second, "Accepted").last_transition_time, at(100));
    assert_eq!(
        condition(&second, "Programmed").last_transition_time,
        at(300)
    );
}

#[test]
fn what_other_controllers_say_stays() {
    let mut object = object("p", 1, &json!({"targetRefs": [gateway("edge")]}));
    let mut theirs = of(fine());
    theirs.ancestors[0].controller_name = "example.com/other".to_owned();
    object.status = Some(theirs.clone());
    let both = status(&object, &Verdict::Attached(vec![fine()]), &at(5));
    assert_eq!(both.ancestors.len(), 2);
    assert_eq!(both.ancestors[1], theirs.ancestors[0]);
}
