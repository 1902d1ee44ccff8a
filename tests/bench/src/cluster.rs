//! A large cluster's objects, as an API server has them: managed fields, annotations and owners included.
//!
//! Service `service-S` of namespace `tenant-T` has its endpoints in one EndpointSlice, a ReplicaSet, and a route from
//! `tenant-T/edge`. A change moves one endpoint to another Pod: the Pod comes, the EndpointSlice names it at an address
//! that was never used, the Pod that was there goes.

mod objects;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Namespaces, each with a Gateway.
pub(crate) const TENANTS: u32 = 100;
/// The endpoints' port.
const PORT: u16 = 8080;

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::Args)]
pub(crate) struct Shape {
    /// Services of the cluster.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) services: u32,
    /// Endpoints of each Service, with a Pod each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) endpoints: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Cluster {
    shape: Shape,
    /// How often each endpoint has moved.
    moves: Vec<u32>,
    changes: u64,
}

/// An endpoint as it is: who routes to it, its address, and its Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) gateway: String,
    pub(crate) namespace: String,
    pub(crate) slice: String,
    pub(crate) address: String,
    pub(crate) pod: String,
}

/// What is to be done at the API server.
#[derive(Debug)]
pub(crate) enum Write {
    /// Path and object.
    Put(String, Value),
    /// Path.
    Remove(String),
}

impl Shape {
    /// The gateways' names.
    pub(crate) fn gateways(self) -> impl Iterator<Item = String> {
        (0..TENANTS.min(self.services)).map(gateway)
    }

    /// Addresses that a gateway reaches, at the start.
    pub(crate) fn addresses(self, gateway: u32) -> impl Iterator<Item = String> {
        let services = (gateway..self.services).step_by(TENANTS as usize);
        services.flat_map(move |s| (0..self.endpoints).map(move |e| self.at(s, e).address(0)))
    }

    fn at(self, service: u32, endpoint: u32) -> Place {
        Place {
            shape: self,
            service,
            endpoint,
        }
    }
}

impl Cluster {
    pub(crate) fn new(shape: Shape) -> Self {
        let endpoints = shape.services as usize * shape.endpoints as usize;
        Self {
            shape,
            moves: vec![0; endpoints],
            changes: 0,
        }
    }

    /// All objects at the start.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Write> {
        let services = (0..self.shape.services).flat_map(|s| self.service(s));
        objects::definitions().into_iter().chain(services)
    }

    fn service(&self, service: u32) -> Vec<Write> {
        let (place, endpoints) = (self.shape.at(service, 0), 0..self.shape.endpoints);
        let pods = endpoints.map(|e| objects::pod(self.shape.at(service, e), 0));
        let rest = [
            objects::service(place),
            objects::replica_set(place),
            objects::route(place),
            self.slice(service),
        ];
        pods.chain(rest).collect()
    }

    fn slice(&self, service: u32) -> Write {
        let endpoints = (0..self.shape.endpoints).map(|e| {
            let place = self.shape.at(service, e);
            (place, self.moves.get(place.number()).copied().unwrap_or(0))
        });
        objects::slice(self.shape.at(service, 0), endpoints)
    }

    /// Moves the next endpoint. One follows on another far away.
    pub(crate) fn change(&mut self) -> (Placed, [Write; 3]) {
        let (services, endpoints) = (
            u64::from(self.shape.services),
            u64::from(self.shape.endpoints),
        );
        let number = self.changes * 7919 % (services * endpoints);
        self.changes += 1;
        let part = |n: u64| u32::try_from(n).unwrap_or_default();
        let place = self
            .shape
            .at(part(number % services), part(number / services));
        let before = self.moves.get(place.number()).copied().unwrap_or(0);
        if let Some(moves) = self.moves.get_mut(place.number()) {
            *moves += 1;
        }
        let writes = [
            objects::pod(place, before + 1),
            self.slice(place.service),
            Write::Remove(place.pod_path(before)),
        ];
        (place.placed(before + 1), writes)
    }
}

/// One endpoint of one Service.
#[derive(Clone, Copy, Debug)]
struct Place {
    shape: Shape,
    service: u32,
    endpoint: u32,
}

impl Place {
    fn number(self) -> usize {
        self.service as usize * self.shape.endpoints as usize + self.endpoint as usize
    }

    fn namespace(self) -> String {
        namespace(self.service % TENANTS)
    }

    fn app(self) -> String {
        format!("service-{}", self.service)
    }

    fn slice(self) -> String {
        format!("{}-x7k2p", self.app())
    }

    fn replica_set(self) -> String {
        format!("{}-7d9f8b6c5", self.app())
    }

    fn pod(self, moves: u32) -> String {
        format!("{}-{:02}m{moves}", self.replica_set(), self.endpoint)
    }

    fn pod_path(self, moves: u32) -> String {
        format!(
            "/api/v1/namespaces/{}/pods/{}",
            self.namespace(),
            self.pod(moves)
        )
    }

    fn node(self) -> String {
        format!("node-{}", self.number() % 1000)
    }

    fn ip(self, moves: u32) -> String {
        let all = self.shape.services * self.shape.endpoints;
        let number = u32::try_from(self.number()).unwrap_or_default();
        let [_, a, b, c] = number.wrapping_add(all.wrapping_mul(moves)).to_be_bytes();
        format!("10.{a}.{b}.{c}")
    }

    fn address(self, moves: u32) -> String {
        format!("{}:{PORT}", self.ip(moves))
    }

    fn placed(self, moves: u32) -> Placed {
        Placed {
            gateway: gateway(self.service % TENANTS),
            namespace: self.namespace(),
            slice: self.slice(),
            address: self.address(moves),
            pod: self.pod(moves),
        }
    }
}

fn namespace(tenant: u32) -> String {
    format!("tenant-{tenant}")
}

fn gateway(tenant: u32) -> String {
    format!("{}/edge", namespace(tenant))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SHAPE: Shape = Shape {
        services: 30,
        endpoints: 4,
    };

    fn put(write: Write) -> (String, Value) {
        match write {
            Write::Put(path, object) => (path, object),
            Write::Remove(path) => panic!("{path} is removed"),
        }
    }

    #[test]
    fn every_object_has_a_path_of_its_own() {
        let paths: Vec<_> = Cluster::new(SHAPE).objects().map(|w| put(w).0).collect();
        assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
        assert_eq!(paths.len(), 4 + 30 * (4 + 4));
        let addresses: BTreeSet<_> = (0..TENANTS).flat_map(|g| SHAPE.addresses(g)).collect();
        assert_eq!(addresses.len(), 120);
    }

    #[test]
    fn changes_move_every_endpoint_before_one_moves_again() {
        let mut cluster = Cluster::new(SHAPE);
        let mut removed = BTreeSet::new();
        for _ in 0..120 {
            let (placed, [pod, slice, gone]) = cluster.change();
            assert!(put(pod).0.ends_with(&placed.pod));
            let slice = put(slice).1.to_string();
            assert!(slice.contains(&placed.pod), "{slice}");
            let Write::Remove(gone) = gone else { panic!() };
            assert!(removed.insert(gone));
        }
        assert!(cluster.moves.iter().all(|moves| *moves == 1));
    }
}
