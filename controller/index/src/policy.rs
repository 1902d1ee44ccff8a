//! What is recorded for a gateway: which labels its targets have, and what its filters are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gaugeway_wire::{Label, limits, target::names};
use hashbrown::HashMap;

use crate::{
    name::ObjectName,
    text::{LabelSet, Text},
};

/// A group of labels that a target can have, beside namespace and Service, which it always has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// `kubernetes_service_port`.
    Port,
    /// `kubernetes_pod`.
    Pod,
    /// `kubernetes_workload_kind`, `kubernetes_workload`.
    Workload,
    /// `kubernetes_node`.
    Node,
    /// `topology_zone`.
    Zone,
    /// `gateway`.
    Gateway,
}

/// A set of [`Dimension`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dimensions(u8);

impl Dimensions {
    /// None: one target per Service.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn with(self, dimension: Dimension) -> Self {
        Self(self.0 | 1 << dimension as u8)
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn has(self, dimension: Dimension) -> bool {
        self.0 & 1 << dimension as u8 != 0
    }
}

impl Default for Dimensions {
    /// Port and Pod.
    fn default() -> Self {
        Self::NONE.with(Dimension::Port).with(Dimension::Pod)
    }
}

impl FromIterator<Dimension> for Dimensions {
    fn from_iter<I: IntoIterator<Item = Dimension>>(dimensions: I) -> Self {
        dimensions.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Labels of Pods and Services to show, each as `label_<name>` with every character outside `[a-zA-Z0-9_]` as `_`.
/// At most [`ObjectLabels::MAX`]; no two have the same name then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectLabels(Vec<ObjectLabel>);

/// One label to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectLabel {
    /// Its key on the object, such as `app.kubernetes.io/version`.
    pub key: String,
    /// Its name on the target, such as `label_app_kubernetes_io_version`.
    pub name: String,
}

/// Why labels cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectLabelsError {
    /// More than [`ObjectLabels::MAX`].
    #[error("at most {max} object labels can be shown; leave out {over}", max = ObjectLabels::MAX)]
    TooMany {
        /// How many are too many.
        over: usize,
    },
    /// Empty, or too long as a target's label.
    #[error("object label {0:?} is empty or too long to be shown")]
    Length(String),
    /// Two keys with the same name.
    #[error("object labels {0:?} and {1:?} would both be shown as {2}; leave one out")]
    Clash(String, String, String),
}

impl ObjectLabels {
    /// Bound.
    pub const MAX: usize = 16;

    /// Checks. The same key twice counts once.
    ///
    /// # Errors
    /// [`ObjectLabelsError`].
    pub fn try_new<S: AsRef<str>>(keys: &[S]) -> Result<Self, ObjectLabelsError> {
        let mut labels: Vec<ObjectLabel> = Vec::new();
        for key in keys.iter().map(AsRef::as_ref) {
            let name = shown_name(key);
            if key.is_empty() || name.len() > limits::LABEL_NAME_BYTES {
                return Err(ObjectLabelsError::Length(key.into()));
            }
            match labels.iter().find(|l| l.name == name) {
                Some(l) if l.key == key => {}
                Some(l) => {
                    return Err(ObjectLabelsError::Clash(l.key.clone(), key.into(), name));
                }
                None => labels.push(ObjectLabel {
                    key: key.into(),
                    name,
                }),
            }
        }
        match labels.len().checked_sub(Self::MAX) {
            Some(over) if over > 0 => Err(ObjectLabelsError::TooMany { over }),
            _ => Ok(Self(labels)),
        }
    }

    /// The labels.
    #[must_use]
    pub fn as_slice(&self) -> &[ObjectLabel] {
        &self.0
    }
}

pub(crate) fn shown_name(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name = String::from(names::OBJECT_LABEL_PREFIX);
    name.extend(key.chars().map(plain));
    name
}

/// What targets show beside namespace and Service. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Shown {
    /// Groups of labels.
    pub dimensions: Dimensions,
    /// Labels of Pods and Services; the Pod's wins where both have it.
    pub object_labels: Arc<ObjectLabels>,
}

/// What is recorded for a gateway. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RecordingPolicy {
    /// Which Services, and what their targets show.
    pub services: Services,
    /// What its filters are told.
    pub wire: gaugeway_wire::Policy,
}

/// Which Services are recorded for a gateway, of those that it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Services {
    /// Every one.
    Every(Shown),
    /// What the first rule that selects it says; one that none selects is unknown.
    First(Arc<[Rule]>),
}

impl Default for Services {
    fn default() -> Self {
        Self::Every(Shown::default())
    }
}

/// Some Services, and what their targets show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What says so, for people.
    pub origin: Arc<str>,
    /// Which.
    pub services: ServiceSelector,
    /// What is shown.
    pub shown: Shown,
    /// What else holds for them.
    pub terms: Terms,
}

/// What holds for some Services, beside what their targets show. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Terms {
    /// The latency of one without requests.
    pub when_idle: WhenIdle,
    /// Whether `kong_upstream_latency_ms` is shown; `None` leaves the default.
    pub kong_compatible: Option<bool>,
    /// Series that its rule makes at most, over all gateways; `None` leaves it without a bound of its own.
    pub max_series: Option<usize>,
}

/// The latency of an object that is known to have had no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenIdle {
    /// 0.
    #[default]
    Zero,
    /// None.
    Absent,
}

impl WhenIdle {
    /// Of something that both hold for: no number where one says so.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Zero, Self::Zero) => Self::Zero,
            _ => Self::Absent,
        }
    }
}

/// Selects Services by what it has; every part must fit, absent ones fit everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ServiceSelector {
    /// In this namespace.
    pub namespace: Option<String>,
    /// One of these: namespace and name.
    pub names: Option<BTreeSet<(String, String)>>,
    /// With all of these labels. A Service that is not known has none.
    pub labels: BTreeMap<String, String>,
}

impl ServiceSelector {
    pub(crate) fn selects(&self, service: &ObjectName, labels: Option<&LabelSet>) -> bool {
        let namespace = self.namespace.as_deref();
        let pair = || (service.namespace.to_string(), service.name.to_string());
        let has = |(key, value): (&String, &String)| {
            let found = labels.and_then(|l| l.get(key));
            found.is_some_and(|found| **found == **value)
        };
        namespace.is_none_or(|n| n == &*service.namespace)
            && self
                .names
                .as_ref()
                .is_none_or(|names| names.contains(&pair()))
            && self.labels.iter().all(has)
    }
}

impl Shown {
    /// Whether targets that show this can have such a label.
    fn allows(&self, name: &str) -> bool {
        let has = |dimension| self.dimensions.has(dimension);
        match name {
            // The gateway is a label of every total per gateway.
            names::NAMESPACE | names::SERVICE | names::GATEWAY => true,
            names::SERVICE_PORT => has(Dimension::Port),
            names::POD => has(Dimension::Pod),
            names::WORKLOAD | names::WORKLOAD_KIND => has(Dimension::Workload),
            names::NODE => has(Dimension::Node),
            names::ZONE => has(Dimension::Zone),
            other => self
                .object_labels
                .as_slice()
                .iter()
                .any(|l| l.name == other),
        }
    }
}

impl RecordingPolicy {
    /// What the targets of a Service show; `None` where it is not recorded.
    pub(crate) fn shown(&self, service: &ObjectName, labels: Option<&LabelSet>) -> Option<&Shown> {
        match &self.services {
            Services::Every(shown) => Some(shown),
            Services::First(_) => self.rule(service, labels).map(|rule| &rule.shown),
        }
    }

    /// What else holds for a Service; the default where it is not recorded.
    pub(crate) fn terms(&self, service: &ObjectName, labels: Option<&LabelSet>) -> Terms {
        let rule = self.rule(service, labels);
        rule.map(|rule| rule.terms.clone()).unwrap_or_default()
    }

    /// What decides for a Service, where that is a rule.
    pub(crate) fn rule(&self, service: &ObjectName, labels: Option<&LabelSet>) -> Option<&Rule> {
        match &self.services {
            Services::Every(_) => None,
            Services::First(rules) => rules.iter().find(|r| r.services.selects(service, labels)),
        }
    }

    /// Whether it can make a target of that Service with these labels.
    pub(crate) fn makes(
        &self,
        service: &ObjectName,
        of_service: Option<&LabelSet>,
        labels: &[Label],
    ) -> bool {
        let shown = self.shown(service, of_service);
        shown.is_some_and(|shown| labels.iter().all(|l| shown.allows(&l.name)))
    }
}

/// The policy of each gateway.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    default: RecordingPolicy,
    own: HashMap<Text, RecordingPolicy>,
}

impl Policies {
    pub(crate) fn new(default: RecordingPolicy) -> Self {
        Self {
            default,
            own: HashMap::new(),
        }
    }

    pub(crate) fn of(&self, gateway: &str) -> &RecordingPolicy {
        self.own.get(gateway).unwrap_or(&self.default)
    }

    /// True if that changes anything.
    pub(crate) fn set_default(&mut self, policy: RecordingPolicy) -> bool {
        let changed = self.default != policy;
        self.default = policy;
        changed
    }

    /// True if that changes anything.
    pub(crate) fn set(&mut self, gateway: &str, policy: Option<RecordingPolicy>) -> bool {
        if self.own.get(gateway) == policy.as_ref() {
            return false;
        }
        match policy {
            Some(policy) => self.own.insert(gateway.into(), policy),
            None => self.own.remove(gateway),
        };
        true
    }

    pub(crate) fn gateways(&self) -> impl Iterator<Item = &str> {
        self.own.keys().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_object_labels_are_legal_label_names() {
        let l = ObjectLabels::try_new(&["app.kubernetes.io/version", "tier", "tier"]).unwrap();
        let shown: Vec<_> = l.as_slice().iter().map(|l| l.name.as_str()).collect();
        assert_eq!(shown, ["label_app_kubernetes_io_version", "label_tier"]);
    }

    #[test]
    fn clashing_and_oversized_object_labels_are_refused() {
        assert!(matches!(
            ObjectLabels::try_new(&["a.b", "a-b"]),
            Err(ObjectLabelsError::Clash(..))
        ));
        assert!(matches!(
            ObjectLabels::try_new(&["x".repeat(200)]),
            Err(ObjectLabelsError::Length(_))
        ));
        let many: Vec<_> = (0..20).map(|i| format!("l{i}")).collect();
        assert_eq!(
            ObjectLabels::try_new(&many),
            Err(ObjectLabelsError::TooMany { over: 4 })
        );
    }

    #[test]
    fn dimensions_are_a_set() {
        let d: Dimensions = [Dimension::Zone, Dimension::Zone, Dimension::Pod]
            .into_iter()
            .collect();
        assert!(d.has(Dimension::Zone) && d.has(Dimension::Pod) && !d.has(Dimension::Port));
        assert_eq!(
            Dimensions::default(),
            [Dimension::Port, Dimension::Pod].into_iter().collect()
        );
    }
}
