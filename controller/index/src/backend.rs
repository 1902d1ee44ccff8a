//! What owns an address, with everything that a target's labels may be made of.

use std::borrow::Cow;

use gaugeway_wire::{Label, target::names};
use smallvec::SmallVec;

use crate::{
    name::ObjectName,
    policy::shown_name,
    text::{LabelSet, Text},
};

/// Owners of one address, sorted; almost always one.
pub(crate) type Backends = SmallVec<[Backend; 1]>;

/// One owner of an address: a Service's port, and the endpoint behind it where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) service: ObjectName,
    pub(crate) port: BackendPort,
    pub(crate) pod: Option<Text>,
    pub(crate) node: Option<Text>,
    pub(crate) zone: Option<Text>,
    pub(crate) workload: Option<Workload>,
    pub(crate) pod_labels: Option<LabelSet>,
    pub(crate) service_labels: Option<LabelSet>,
}

/// A Service's port: name and number, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BackendPort {
    pub(crate) name: Option<Text>,
    pub(crate) number: Option<u16>,
    /// Shown when neither is known: the endpoint's own port.
    pub(crate) endpoint: Option<u16>,
}

impl BackendPort {
    /// Name, else number.
    pub(crate) fn label(&self) -> Option<Cow<'_, str>> {
        let number = self.number.or(self.endpoint);
        match &self.name {
            Some(name) => Some(Cow::Borrowed(name)),
            None => number.map(|n| Cow::Owned(n.to_string())),
        }
    }
}

/// What made a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) kind: Text,
    pub(crate) name: Text,
}

impl Backend {
    /// A Service as such.
    pub(crate) fn of_service(
        service: ObjectName,
        port: BackendPort,
        labels: Option<LabelSet>,
    ) -> Self {
        Self {
            service,
            port,
            pod: None,
            node: None,
            zone: None,
            workload: None,
            pod_labels: None,
            service_labels: labels,
        }
    }

    /// Order of candidates.
    pub(crate) fn order(&self) -> impl Ord {
        (&self.service, &self.port, &self.pod)
    }

    /// Whether both are the same owner; labels, node and workload may have become known meanwhile.
    pub(crate) fn same_owner(&self, other: &Self) -> bool {
        self.service == other.service && self.port == other.port && self.pod == other.pod
    }

    /// Value of an object's label: the Pod's, else the Service's.
    pub(crate) fn object_label(&self, key: &str) -> Option<&Text> {
        let sets = [&self.pod_labels, &self.service_labels];
        sets.into_iter().flatten().find_map(|set| set.get(key))
    }

    /// Whether a target with this label may be this backend's. `gateway` fits every backend.
    pub(crate) fn fits(&self, label: &Label) -> bool {
        let is = |text: &Option<Text>| text.as_deref() == Some(label.value.as_str());
        match &*label.name {
            names::NAMESPACE => *self.service.namespace == *label.value,
            names::SERVICE => *self.service.name == *label.value,
            names::SERVICE_PORT => self.port.label().as_deref() == Some(&label.value),
            names::POD => is(&self.pod),
            names::NODE => is(&self.node),
            names::ZONE => is(&self.zone),
            names::WORKLOAD => self
                .workload
                .as_ref()
                .is_some_and(|w| *w.name == *label.value),
            names::WORKLOAD_KIND => self
                .workload
                .as_ref()
                .is_some_and(|w| *w.kind == *label.value),
            names::GATEWAY => true,
            shown => self.has_shown_label(shown, &label.value),
        }
    }

    fn has_shown_label(&self, shown: &str, value: &str) -> bool {
        let sets = [&self.pod_labels, &self.service_labels];
        let mut pairs = sets.into_iter().flatten().flat_map(LabelSet::iter);
        pairs.any(|(k, v)| **v == *value && shown_name(k) == shown)
    }
}

/// Whether two lists of owners are the same owners.
pub(crate) fn same_owners(a: &[Backend], b: &[Backend]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_owner(b))
}
