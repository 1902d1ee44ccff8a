//! EndpointSlices: which addresses belong to which Service, and to which Pod.
//!
//! Invariants: `addresses` holds exactly the addresses of all records; an address is kept once per EndpointSlice that
//! has it. Readiness is kept for people only: an endpoint that is not ready or terminating may still serve, so it stays
//! attributable as long as it is listed.

mod record;

use std::ops::Range;

use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::{
    key::SocketKey,
    name::{NameRef, ObjectName},
};

pub use record::EndpointState;
pub(crate) use record::{Endpoint, RecordProblem, SliceRecord};

type SliceId = u32;

/// All EndpointSlices.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    records: Slab<SliceRecord>,
    names: HashMap<ObjectName, SliceId>,
    by_service: HashMap<ObjectName, SmallVec<[SliceId; 2]>>,
    addresses: HashMap<SocketKey, SmallVec<[SliceId; 2]>>,
    endpoints: usize,
}

impl Slices {
    pub(crate) fn get(&self, name: &ObjectName) -> Option<&SliceRecord> {
        self.record(*self.names.get(name)?)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.names.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Endpoints times their ports.
    pub(crate) fn endpoints(&self) -> usize {
        self.endpoints
    }

    /// Replaces a record, returning the old one.
    pub(crate) fn put(
        &mut self,
        name: &ObjectName,
        record: Option<SliceRecord>,
    ) -> Option<SliceRecord> {
        let old = self.remove(name);
        if let Some(record) = record {
            self.insert(name, record);
        }
        old
    }

    /// What the EndpointSlices say about an address.
    pub(crate) fn of_address(
        &self,
        key: &SocketKey,
    ) -> impl Iterator<Item = (&SliceRecord, &Endpoint)> {
        let ids = self.addresses.get(key).into_iter().flatten();
        let records = ids.filter_map(|id| self.record(*id));
        records.flat_map(|r| r.of_address(key).iter().map(move |e| (r, e)))
    }

    /// Every endpoint of a Service.
    pub(crate) fn of_service(
        &self,
        service: NameRef<'_>,
    ) -> impl Iterator<Item = (&SliceRecord, &Endpoint)> {
        let ids = self.by_service.get(&service).into_iter().flatten();
        let records = ids.filter_map(|id| self.record(*id));
        records.flat_map(|r| r.endpoints().iter().map(move |e| (r, e)))
    }

    fn record(&self, id: SliceId) -> Option<&SliceRecord> {
        self.records.get(id as usize)
    }

    fn insert(&mut self, name: &ObjectName, record: SliceRecord) {
        // A slab of u32::MAX records does not fit into memory.
        let Ok(id) = SliceId::try_from(self.records.vacant_key()) else {
            return;
        };
        for key in record.keys() {
            self.addresses.entry(key).or_default().push(id);
        }
        let of_service = self.by_service.entry(record.service().clone());
        of_service.or_default().push(id);
        self.endpoints += record.endpoints().len();
        self.names.insert(name.clone(), id);
        self.records.insert(record);
    }

    fn remove(&mut self, name: &ObjectName) -> Option<SliceRecord> {
        let id = self.names.remove(name)?;
        let record = self.records.try_remove(id as usize)?;
        for key in record.keys() {
            forget(&mut self.addresses, &key, id);
        }
        forget(&mut self.by_service, record.service(), id);
        self.endpoints -= record.endpoints().len();
        Some(record)
    }
}

fn forget<K: std::hash::Hash + Eq>(
    map: &mut HashMap<K, SmallVec<[SliceId; 2]>>,
    key: &K,
    id: SliceId,
) {
    if let Some(ids) = map.get_mut(key) {
        ids.retain(|i| *i != id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

/// Positions of the run of equal keys, in endpoints sorted by key.
fn run(endpoints: &[Endpoint], key: &SocketKey) -> Range<usize> {
    let from = endpoints.partition_point(|e| e.key < *key);
    let rest = endpoints.get(from..).unwrap_or_default();
    from..from + rest.partition_point(|e| e.key == *key)
}
