//! What a policy's status says, and that it changes only when something happened.

use std::collections::BTreeSet;

use gaugeway_operator::{
    Attachment, Policy, PolicyId, Target, Verdict,
    crd::{LatencyPolicyStatus, Summary},
    deploy::{Deployment, Reason},
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
    let mut reasons = BTreeSet::from(["Invalid"]);
    for (attachment, accepted, programmed, works) in cases {
        reasons.extend([accepted, programmed]);
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
    reasons.extend(Reason::ALL.map(Reason::as_str));
    let documented = documented();
    let documented: BTreeSet<_> = documented.iter().map(String::as_str).collect();
    assert_eq!(documented, reasons, "docs/policies.md has other reasons");
}

/// The reasons in the table of docs/policies.md.
fn documented() -> BTreeSet<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, table) = text.split_once("| condition | reason |").unwrap();
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let reason = |row: &str| {
        let cell = row.split('|').nth(2).unwrap();
        cell.trim().trim_matches('`').to_owned()
    };
    rows.map(reason).collect()
}

/// API servers show the first of several values of a column: the status says in one what is true of all targets.
#[test]
fn of_several_targets_the_worst_is_summed_up() {
    let object = object(
        "p",
        1,
        &json!({"targetRefs": [gateway("edge"), gateway("inner"), gateway("far")]}),
    );
    let at_target = |name: &str, attachment: Attachment| Attachment {
        target: Target::Gateway {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        },
        ..attachment
    };
    let summed = |of: [Attachment; 3]| {
        let [a, b, c] = of;
        let all = [
            at_target("edge", a),
            at_target("inner", b),
            at_target("far", c),
        ];
        let status = status(&object, &Verdict::Attached(all.into()), &at(1));
        let Summary {
            targets,
            accepted,
            programmed,
        } = status.summary;
        assert_eq!(targets, "edge, inner, far");
        format!("{accepted}, {programmed}")
    };
    let silent = Attachment {
        workers: 0,
        ..fine()
    };
    let partly = Attachment {
        kong_off: true,
        ..fine()
    };
    let gone = Attachment {
        found: false,
        won: 0,
        ..fine()
    };
    assert_eq!(summed([fine(), fine(), fine()]), "Accepted, Programmed");
    assert_eq!(
        summed([fine(), partly.clone(), fine()]),
        "Accepted, PartiallyProgrammed (1 of 3)"
    );
    assert_eq!(
        summed([partly, silent.clone(), silent]),
        "Accepted, NoWorkers (2 of 3)"
    );
    assert_eq!(
        summed([fine(), fine(), gone]),
        "TargetNotFound (1 of 3), NotAccepted (1 of 3)"
    );
}

/// A definition that is older keeps no summary: that is no reason to write a status again and again.
#[test]
fn a_summary_that_is_not_kept_is_no_news() {
    let said = of(fine());
    let kept = LatencyPolicyStatus {
        summary: Summary::default(),
        ..said.clone()
    };
    assert!(kept.says_the_same(&said));
    let silent = Attachment {
        workers: 0,
        ..fine()
    };
    assert!(!kept.says_the_same(&of(silent)));
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
