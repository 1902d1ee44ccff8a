//! A backend's labels under a policy.

use std::sync::Arc;

use gaugeway_wire::{GatewayName, Label, Target, TargetKind, limits, target::names};

use super::EncodedTarget;
use crate::{
    backend::Backend,
    policy::{Dimension, RecordingPolicy, Shown},
};

/// A target must fit its bounds. Where the labels do not, the object labels go first, then all but namespace and Service,
/// which always fit: a series is worth more than its colours.
///
/// A Service that the policy does not select is unknown, as the contract has it.
pub(super) fn encode(
    gateway: &GatewayName,
    policy: &RecordingPolicy,
    backend: &Backend,
) -> Option<Arc<EncodedTarget>> {
    let Some(shown) = policy.shown(&backend.service, backend.service_labels.as_ref()) else {
        return encode_labels(TargetKind::Unknown, Vec::new());
    };
    let fixed = fixed_labels(gateway, shown, backend);
    let mut all = fixed.clone();
    all.extend(object_labels(shown, backend));
    let least = || fixed.iter().take(2).cloned().collect();
    let encode = |labels| encode_labels(TargetKind::Kubernetes, labels);
    encode(all)
        .or_else(|| encode(fixed.clone()))
        .or_else(|| encode(least()))
}

fn encode_labels(kind: TargetKind, labels: Vec<Label>) -> Option<Arc<EncodedTarget>> {
    let target = Target::try_new(kind, labels).ok()?;
    let encoded = EncodedTarget {
        fingerprint: target.fingerprint(),
        bytes: target.encode().into(),
        is_unknown: kind == TargetKind::Unknown,
    };
    Some(Arc::new(encoded))
}

fn fixed_labels(gateway: &GatewayName, shown: &Shown, backend: &Backend) -> Vec<Label> {
    let mut labels = Vec::with_capacity(8);
    let mut add = |name: &'static str, value: &str| {
        labels.push(Label {
            name: name.into(),
            value: value.into(),
        });
    };
    let has = |dimension| shown.dimensions.has(dimension);
    add(names::NAMESPACE, &backend.service.namespace);
    add(names::SERVICE, &backend.service.name);
    if has(Dimension::Port)
        && let Some(port) = backend.port.label()
    {
        add(names::SERVICE_PORT, &port);
    }
    if has(Dimension::Workload)
        && let Some(workload) = &backend.workload
    {
        add(names::WORKLOAD_KIND, &workload.kind);
        add(names::WORKLOAD, &workload.name);
    }
    let optional = [
        (Dimension::Pod, names::POD, &backend.pod),
        (Dimension::Node, names::NODE, &backend.node),
        (Dimension::Zone, names::ZONE, &backend.zone),
    ];
    for (dimension, name, value) in optional {
        if let Some(value) = value
            && has(dimension)
        {
            add(name, value);
        }
    }
    if has(Dimension::Gateway) {
        add(names::GATEWAY, gateway.as_str());
    }
    labels
}

fn object_labels(shown: &Shown, backend: &Backend) -> Vec<Label> {
    let chosen = shown.object_labels.as_slice().iter();
    chosen
        .filter_map(|label| {
            let value = backend.object_label(&label.key)?;
            let shown = !value.is_empty() && value.len() <= limits::LABEL_VALUE_BYTES;
            shown.then(|| Label {
                name: label.name.clone().into(),
                value: value.to_string(),
            })
        })
        .collect()
}
