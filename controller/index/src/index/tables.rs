//! The objects that say who owns an address, and the answer.

use crate::{
    backend::{Backend, BackendPort, Backends},
    key::SocketKey,
    name::ObjectName,
    pods::Pods,
    services::Services,
    slices::{Endpoint, SliceRecord, Slices},
};

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) services: Services,
    pub(super) slices: Slices,
    pub(super) pods: Pods,
}

impl Tables {
    pub(super) fn put_slice(&mut self, name: &ObjectName, record: Option<SliceRecord>) {
        // Hold before release: a Pod that both states name must not be forgotten in between.
        for (record, pod) in record.iter().flat_map(|r| r.pods().map(move |p| (r, p))) {
            let service = &record.service().name;
            self.pods.hold(name.sibling(pod), service);
        }
        let old = self.slices.put(name, record);
        for (record, pod) in old.iter().flat_map(|r| r.pods().map(move |p| (r, p))) {
            let service = &record.service().name;
            self.pods.release(&name.sibling(pod), service);
        }
    }

    /// Who owns an address, sorted, each once.
    pub(super) fn backends(&self, key: &SocketKey) -> Backends {
        let mut backends = Backends::new();
        for (slice, endpoint) in self.slices.of_address(key) {
            backends.push(self.endpoint(slice, endpoint));
        }
        self.services.add_backends(key, &mut backends);
        if backends.len() > 1 {
            backends.sort_by(|a, b| a.order().cmp(&b.order()));
            backends.dedup_by(|a, b| a.same_owner(b));
        }
        backends
    }

    /// One endpoint with all that is known of it.
    pub(super) fn endpoint(&self, slice: &SliceRecord, endpoint: &Endpoint) -> Backend {
        let service = slice.service();
        let pod = endpoint.pod.as_ref().map(|pod| service.sibling(pod));
        let workload = pod.as_ref().and_then(|pod| self.pods.workload(pod));
        let pod_labels = pod.as_ref().and_then(|pod| self.pods.labels(pod));
        Backend {
            service: service.clone(),
            port: self.port(slice, endpoint),
            pod: endpoint.pod.clone(),
            node: endpoint.node.clone(),
            zone: endpoint.zone.clone(),
            workload,
            pod_labels: pod_labels.cloned(),
            service_labels: self.services.get(service).map(|r| r.labels.clone()),
        }
    }

    /// The Service's port that an endpoint's port stands for: the one of the same name.
    fn port(&self, slice: &SliceRecord, endpoint: &Endpoint) -> BackendPort {
        let name = slice.port_name(endpoint);
        let port = self.services.port(slice.service(), name.map(|n| &**n));
        port.unwrap_or_else(|| BackendPort {
            name: name.cloned(),
            number: None,
            endpoint: Some(endpoint.key.port),
        })
    }
}
