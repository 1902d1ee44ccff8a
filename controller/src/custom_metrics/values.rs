//! The answer: values of objects, in the shape of either version.

use gaugeway_aggregate::Unknown;
use gaugeway_wire::UnixNanos;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::{Value, json};

use super::{
    discovery::Version,
    quantity::Quantity,
    question::{Question, Resource, Which},
    status::Status,
};
use crate::live::{ReadingOf, Readings};

/// A `MetricValueList`.
///
/// # Errors
/// `NotFound` when nothing is known of any object that was asked for, with a reason: then nobody scales.
pub(crate) fn list(
    question: &Question,
    version: Version,
    readings: &Readings,
) -> Result<Value, Status> {
    let mut items = Vec::new();
    let mut unknown = None;
    for of in &readings.objects {
        match value(question, of) {
            Ok(quantity) => items.push(item(question, version, of, quantity, readings.taken)),
            Err(why) if is_a_hole(question, of) => return Err(no_value(question, of, &why)),
            Err(why) => unknown = unknown.or(Some((of, why))),
        }
    }
    match unknown {
        Some((of, why)) if items.is_empty() => Err(no_value(question, of, &why)),
        None if items.is_empty() && matches!(question.which, Which::One(_)) => {
            Err(Status::not_found("there is no such object"))
        }
        // No object matches, or some are known: others may be left out.
        _ => Ok(json!({
            "kind": "MetricValueList", "apiVersion": version.group_version(), "metadata": {}, "items": items,
        })),
    }
}

/// Whether an object must not be left out of its list: an HPA takes a Pod without a value for one that is at its target,
/// so that the others could take a busy workload down. A Pod that nobody is to measure tells nothing ever.
fn is_a_hole(question: &Question, of: &ReadingOf) -> bool {
    let silent = |unknown: &Unknown| matches!(unknown, Unknown::NotRouted | Unknown::NotSelected);
    question.resource == Resource::Pods
        && of.reading.as_ref().is_err_and(|unknown| !silent(unknown))
}

fn no_value(question: &Question, of: &ReadingOf, why: &str) -> Status {
    Status::not_found(format!(
        "{} of {} {}/{} is unknown: {why}",
        question.metric.name(),
        question.resource.kind(),
        of.namespace,
        of.name
    ))
}

fn value(question: &Question, of: &ReadingOf) -> Result<Quantity, String> {
    let reading = of.reading.as_ref().map_err(ToString::to_string)?;
    let value = question.metric.value(reading, of.when_idle);
    value.ok_or_else(|| {
        if reading.counts().requests_total() == 0 {
            "it is idle, and its policy says whenIdle: Absent".to_owned()
        } else {
            "none of its requests had a latency".to_owned()
        }
    })
}

fn item(
    question: &Question,
    version: Version,
    of: &ReadingOf,
    value: Quantity,
    taken: UnixNanos,
) -> Value {
    let resource = question.resource;
    let described = json!({
        "kind": resource.kind(), "namespace": of.namespace, "name": of.name, "apiVersion": resource.api_version(),
    });
    let window = question.window.span().0 / 1_000_000_000;
    let name = question.metric.name();
    let selector = question
        .by_label
        .then(|| json!({"matchLabels": {"window": question.window.as_str()}}));
    match version {
        Version::V1beta1 => json!({
            "describedObject": described, "metricName": name, "timestamp": timestamp(taken), "window": window,
            "value": value, "selector": selector,
        }),
        Version::V1beta2 => json!({
            "describedObject": described, "metric": {"name": name, "selector": selector},
            "timestamp": timestamp(taken), "windowSeconds": window, "value": value,
        }),
    }
}

/// In whole seconds, as Kubernetes' times are.
fn timestamp(taken: UnixNanos) -> Time {
    let seconds = i64::try_from(taken.0 / 1_000_000_000).unwrap_or(i64::MAX);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use gaugeway_aggregate::{Sample, Window};
    use gaugeway_index::WhenIdle;
    use gaugeway_wire::Policy;

    use super::{
        super::{Metric, status::StatusReason},
        *,
    };

    const NOW: UnixNanos = UnixNanos(1_700_000_000_500_000_000);

    fn question(which: Which, metric: Metric) -> Question {
        Question {
            resource: Resource::Services,
            namespace: "shop".to_owned(),
            which,
            metric,
            window: Window::Seconds30,
            by_label: true,
        }
    }

    fn of(name: &str, known: bool) -> ReadingOf {
        let idle = Sample::empty(NOW).read(Window::Seconds30, &Policy::default().layout());
        ReadingOf {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            reading: if known {
                Ok(idle)
            } else {
                Err(Unknown::NoGateway)
            },
            when_idle: WhenIdle::Absent,
        }
    }

    fn readings(objects: Vec<ReadingOf>) -> Readings {
        Readings {
            taken: NOW,
            objects,
        }
    }

    #[test]
    fn both_versions_have_their_shape() {
        let question = question(Which::One("cart".to_owned()), Metric::RequestsPerSecond);
        let known = readings(vec![of("cart", true)]);
        let described =
            json!({"kind": "Service", "namespace": "shop", "name": "cart", "apiVersion": "v1"});
        let selector = json!({"matchLabels": {"window": "30s"}});
        let expected = json!({
            "kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {}, "items": [{
                "describedObject": described,
                "metric": {"name": "gaugeway_upstream_requests_per_second", "selector": selector},
                "timestamp": "2023-11-14T22:13:20Z", "windowSeconds": 30, "value": "0",
            }],
        });
        assert_eq!(list(&question, Version::V1beta2, &known), Ok(expected));
        let expected = json!({
            "kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta1", "metadata": {}, "items": [{
                "describedObject": described, "metricName": "gaugeway_upstream_requests_per_second",
                "selector": selector, "timestamp": "2023-11-14T22:13:20Z", "window": 30, "value": "0",
            }],
        });
        assert_eq!(list(&question, Version::V1beta1, &known), Ok(expected));
    }

    #[test]
    fn unknown_is_not_found_with_its_reason() {
        let one = question(Which::One("cart".to_owned()), Metric::Concurrency);
        for objects in [vec![of("cart", false)], vec![]] {
            let status = list(&one, Version::V1beta2, &readings(objects)).unwrap_err();
            assert_eq!(status.reason, StatusReason::NotFound, "{status:?}");
        }
        let absent = question(Which::One("cart".to_owned()), Metric::Average);
        let status =
            list(&absent, Version::V1beta2, &readings(vec![of("cart", true)])).unwrap_err();
        assert!(status.message.contains("whenIdle: Absent"), "{status:?}");
    }

    #[test]
    fn of_many_those_that_are_known_are_listed() {
        let all = question(Which::All(Default::default()), Metric::Concurrency);
        let both = readings(vec![of("cart", true), of("pay", false)]);
        let known = list(&all, Version::V1beta2, &both).unwrap();
        assert_eq!(known["items"].as_array().unwrap().len(), 1);
        let none = list(&all, Version::V1beta2, &readings(vec![of("pay", false)]));
        assert_eq!(none.unwrap_err().reason, StatusReason::NotFound);
        let empty = list(&all, Version::V1beta2, &readings(vec![])).unwrap();
        assert_eq!(empty["items"], json!([]));
    }

    #[test]
    fn of_pods_one_that_should_be_known_holds_the_list() {
        let pods = Question {
            resource: Resource::Pods,
            ..question(Which::All(Default::default()), Metric::Concurrency)
        };
        let with = |unknown| {
            let missing = ReadingOf {
                reading: Err(unknown),
                ..of("busy", false)
            };
            list(
                &pods,
                Version::V1beta2,
                &readings(vec![of("idle", true), missing]),
            )
        };
        for unknown in [Unknown::NotRouted, Unknown::NotSelected] {
            assert_eq!(with(unknown).unwrap()["items"].as_array().unwrap().len(), 1);
        }
        for unknown in [Unknown::NoGateway, Unknown::Full] {
            let status = with(unknown).unwrap_err();
            assert_eq!(status.reason, StatusReason::NotFound);
            assert!(status.message.contains("Pod shop/busy"), "{status:?}");
        }
    }
}
