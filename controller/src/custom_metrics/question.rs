//! What is asked: of which objects, which metric, over which window.

use gaugeway_aggregate::Window;

use super::{
    metric::Metric,
    selector::{Is, Selector, SelectorError},
    status::Status,
};

/// What objects there are values of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Services,
    Pods,
    Deployments,
    StatefulSets,
}

/// A checked question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) resource: Resource,
    pub(crate) namespace: String,
    pub(crate) which: Which,
    pub(crate) metric: Metric,
    pub(crate) window: Window,
    /// Whether the window was asked for by label: the answer then repeats it.
    pub(crate) by_label: bool,
}

/// Which objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one of this name.
    One(String),
    /// Those whose labels match.
    All(Selector),
}

impl Resource {
    pub(crate) const ALL: [Self; 4] = [
        Self::Services,
        Self::Pods,
        Self::Deployments,
        Self::StatefulSets,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Pods => "pods",
            Self::Deployments => "deployments.apps",
            Self::StatefulSets => "statefulsets.apps",
        }
    }

    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Services => "Service",
            Self::Pods => "Pod",
            Self::Deployments => "Deployment",
            Self::StatefulSets => "StatefulSet",
        }
    }

    pub(crate) const fn api_version(self) -> &'static str {
        match self {
            Self::Services | Self::Pods => "v1",
            Self::Deployments | Self::StatefulSets => "apps/v1",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

const FORM: &str =
    "values are of objects in a namespace: namespaces/NAMESPACE/RESOURCE/NAME/METRIC";

impl Question {
    /// `path` are the decoded segments after the version; `query` the decoded pairs, of which unknown ones say nothing.
    pub(crate) fn parse<'q>(
        path: &[&str],
        query: impl Iterator<Item = (&'q str, &'q str)>,
    ) -> Result<Self, Status> {
        let ["namespaces", namespace, resource, name, metric] = *path else {
            return Err(Status::not_found(FORM));
        };
        // Who decides about rights takes an empty name for all of them.
        if namespace.is_empty() || name.is_empty() {
            return Err(Status::not_found(FORM));
        }
        let unknown = |what: &str, name: &str, all: &[&str]| {
            let name: String = name.chars().take(128).collect();
            Status::not_found(format!(
                "there is no {what} {name:?}; there are {}",
                all.join(", ")
            ))
        };
        let resource = Resource::parse(resource)
            .ok_or_else(|| unknown("resource", resource, &Resource::ALL.map(Resource::as_str)))?;
        let metric = Metric::parse(metric)
            .ok_or_else(|| unknown("metric", metric, &Metric::ALL.map(Metric::name)))?;
        let (mut labels, mut metric_labels) = (Selector::default(), Selector::default());
        for (key, value) in query {
            let into = match key {
                "labelSelector" => &mut labels,
                "metricLabelSelector" => &mut metric_labels,
                _ => continue,
            };
            *into = Selector::parse(value).map_err(|error| refused(key, &error))?;
        }
        let asked = window(&metric_labels)?;
        let window = match (asked, metric.fixed_window()) {
            (Some(asked), Some(fixed)) if asked != fixed => {
                return Err(Status::bad(format!(
                    "{} is over {} by its name",
                    metric.name(),
                    fixed.as_str()
                )));
            }
            (asked, fixed) => asked.or(fixed).unwrap_or(Window::Seconds60),
        };
        let which = match name {
            "*" => Which::All(labels),
            name => Which::One(name.to_owned()),
        };
        if resource_has_no_labels(resource) && which.selects() {
            return Err(Status::bad(format!(
                "{} cannot be selected by label: ask for one by its name, or for all",
                resource.as_str()
            )));
        }
        Ok(Self {
            resource,
            namespace: namespace.to_owned(),
            which,
            metric,
            window,
            by_label: asked.is_some(),
        })
    }
}

impl Which {
    fn selects(&self) -> bool {
        matches!(self, Self::All(selector) if !selector.terms().is_empty())
    }
}

/// Of workloads only their Pods are watched.
const fn resource_has_no_labels(resource: Resource) -> bool {
    matches!(resource, Resource::Deployments | Resource::StatefulSets)
}

fn refused(key: &str, error: &SelectorError) -> Status {
    Status::bad(format!("{key}: {error}"))
}

/// A metric has one label, `window`.
fn window(labels: &Selector) -> Result<Option<Window>, Status> {
    let mut asked = None;
    for term in labels.terms() {
        let window = match &term.is {
            Is::In(values) if term.key == "window" && values.len() == 1 => {
                values.first().and_then(|value| Window::parse(value))
            }
            _ => None,
        };
        let Some(window) = window.filter(|w| asked.is_none_or(|other| other == *w)) else {
            return Err(Status::bad(
                "metricLabelSelector: a metric has one label, window, which is 15s, 30s, 60s or 5m: window=30s",
            ));
        };
        asked = Some(window);
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::{super::status::StatusReason, *};

    fn parse(path: &str, query: &[(&str, &str)]) -> Result<Question, Status> {
        let path: Vec<_> = path.split('/').collect();
        Question::parse(&path, query.iter().copied())
    }

    const RATE: &str = "gaugeway_upstream_requests_per_second";

    #[test]
    fn a_question_names_objects_a_metric_and_perhaps_a_window() {
        let one = parse(&format!("namespaces/shop/services/cart/{RATE}"), &[]).unwrap();
        assert_eq!(one.which, Which::One("cart".to_owned()));
        assert_eq!((one.window, one.by_label), (Window::Seconds60, false));
        let query = [
            ("labelSelector", "app=cart"),
            ("metricLabelSelector", "window=30s"),
            ("timeout", "5s"),
        ];
        let all = parse(&format!("namespaces/shop/pods/*/{RATE}"), &query).unwrap();
        assert!(all.which.selects());
        assert_eq!((all.window, all.by_label), (Window::Seconds30, true));
        let all = parse(&format!("namespaces/shop/deployments.apps/*/{RATE}"), &[]).unwrap();
        assert_eq!(all.resource, Resource::Deployments);
    }

    #[test]
    fn what_there_is_not_is_said() {
        for path in [
            "namespaces/shop/metrics/m".to_owned(),
            // Broke the law of `fuzz question`: granted as a list, served as one object without a name.
            format!("namespaces/shop/services//{RATE}"),
            format!("namespaces//services/cart/{RATE}"),
            format!("nodes/n/{RATE}"),
            format!("namespaces/shop/daemonsets.apps/x/{RATE}"),
            "namespaces/shop/services/cart/nonsense".to_owned(),
        ] {
            let status = parse(&path, &[]).unwrap_err();
            assert_eq!(status.reason, StatusReason::NotFound, "{status:?}");
        }
    }

    #[test]
    fn unknown_labels_of_a_metric_are_refused() {
        let path = format!("namespaces/shop/services/cart/{RATE}");
        for selector in [
            "window=10s",
            "window in (15s,30s)",
            "window!=15s",
            "color=red",
            "window=15s,color=red",
            "window=15s,window=30s",
            "window",
            "(",
        ] {
            let status = parse(&path, &[("metricLabelSelector", selector)]).unwrap_err();
            assert_eq!(status.reason, StatusReason::BadRequest, "{selector}");
        }
        let path = "namespaces/shop/services/cart/kong_upstream_latency_ms_60s_average";
        assert!(parse(path, &[("metricLabelSelector", "window=60s")]).is_ok());
        assert!(parse(path, &[("metricLabelSelector", "window=15s")]).is_err());
    }

    #[test]
    fn workloads_are_not_selected_by_label() {
        let path = format!("namespaces/shop/deployments.apps/*/{RATE}");
        let status = parse(&path, &[("labelSelector", "app=cart")]).unwrap_err();
        assert_eq!(status.reason, StatusReason::BadRequest);
    }
}
