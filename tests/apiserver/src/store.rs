//! The objects, and what happened to them.
//!
//! One counter numbers every change of every object, as in etcd. A table keeps its changes until [`Store::expire`], or the
//! last ones that it was told to keep: a watch from before what is kept gets 410.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::{
    merge::merge,
    outcome::{Outcome, Refusal},
    request::Place,
    resource::{CRD_GROUP, CRD_PLURAL, Resource, built_in},
};

/// Group and plural.
pub(crate) type TableKey = (String, String);

/// Namespace (empty where there is none) and name.
pub(crate) type ObjectKey = (String, String);

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    /// `None` when it was created.
    pub(crate) before: Option<Arc<Value>>,
    /// `None` when it was deleted.
    pub(crate) after: Option<Arc<Value>>,
}

/// All objects of a kind.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) resource: Resource,
    pub(crate) objects: BTreeMap<ObjectKey, Arc<Value>>,
    pub(crate) changes: Vec<Change>,
    /// States before this one are forgotten: nobody can start from them.
    pub(crate) forgotten: u64,
    /// The last change that is forgotten: who has not seen it has missed something.
    pub(crate) lost: u64,
}

/// What a write does to an object.
pub(crate) enum Write<'a> {
    Create(Value),
    Replace(Value),
    /// Creates where there is nothing if so asked: an apply.
    Merge {
        patch: &'a Value,
        create: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) tables: BTreeMap<TableKey, Table>,
    pub(crate) version: u64,
    /// Changes of a table that are kept, at least; twice as many at most.
    pub(crate) kept: usize,
    uids: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        let mut store = Self {
            tables: BTreeMap::new(),
            version: 1,
            kept: usize::MAX,
            uids: 0,
        };
        for resource in built_in() {
            store.serve(resource);
        }
        store
    }

    /// The table that a place names, in a version that is served.
    pub(crate) fn table(&self, place: &Place) -> Outcome<&Table> {
        let key = (place.group.clone(), place.resource.clone());
        let table = self.tables.get(&key);
        let served = table.filter(|t| t.resource.versions.contains(&place.version));
        served.ok_or_else(Refusal::not_served)
    }

    pub(crate) fn get(&self, place: &Place) -> Outcome<Arc<Value>> {
        let table = self.table(place)?;
        let found = table.objects.get(&place.key()).cloned();
        found.ok_or_else(|| Refusal::not_found(&place.described()))
    }

    /// Creates or changes an object. With `dry_run` nothing is kept.
    pub(crate) fn write(
        &mut self,
        place: &Place,
        write: Write<'_>,
        dry_run: bool,
    ) -> Outcome<Arc<Value>> {
        let table = self.table(place)?;
        let resource = table.resource.clone();
        let mut place = place.clone();
        let creates = matches!(write, Write::Create(_));
        if let Write::Create(object) = &write {
            place.name = object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
        }
        if place.name.is_empty() {
            return Err(Refusal::new(422, "metadata.name: Required value"));
        }
        let held = table.objects.get(&place.key()).cloned();
        if creates && held.is_some() {
            return Err(Refusal::exists(&place.described()));
        }
        let (asked, held) = match (write, held) {
            (Write::Create(object), held) => (object, held),
            (
                Write::Merge {
                    patch,
                    create: true,
                },
                None,
            ) => (patch.clone(), None),
            (_, None) => return Err(Refusal::not_found(&place.described())),
            (Write::Replace(object), held) => (object, held),
            (Write::Merge { patch, .. }, Some(held)) => {
                precondition(patch, &held)?;
                let mut merged = (*held).clone();
                merge(&mut merged, patch);
                // A merge without a precondition is one onto what is there now.
                merged["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"].clone();
                (merged, Some(held))
            }
        };
        if let Some(held) = &held {
            precondition(&asked, held)?;
        } else if asked["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|v| !v.is_empty())
        {
            let text = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::new(400, text));
        }
        if resource.kind == "Lease" {
            check_lease(&asked)?;
        }
        let mut object = self.prepared(&place, &resource, asked, held.as_deref());
        if held.as_deref().is_some_and(|held| unchanged(held, &object)) || dry_run {
            return Ok(if dry_run {
                Arc::new(object)
            } else {
                held.unwrap_or_default()
            });
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let gone = !object["metadata"]["deletionTimestamp"].is_null() && finalizers(&object) == 0;
        let object = Arc::new(object);
        self.record(&place, held, (!gone).then_some(&object), &object);
        Ok(object)
    }

    /// Deletes, or marks for deletion what has finalizers.
    pub(crate) fn delete(
        &mut self,
        place: &Place,
        options: &Value,
        dry_run: bool,
    ) -> Outcome<Arc<Value>> {
        let held = self.get(place)?;
        for key in ["resourceVersion", "uid"] {
            let wanted = &options["preconditions"][key];
            if !wanted.is_null() && *wanted != held["metadata"][key] {
                return Err(Refusal::conflict(format!(
                    "the {key} in the precondition differs"
                )));
            }
        }
        if dry_run {
            return Ok(held);
        }
        let mut object = (*held).clone();
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let stays = finalizers(&object) > 0;
        if stays && object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(NOW);
        }
        let object = Arc::new(object);
        self.record(place, Some(held), stays.then_some(&object), &object);
        Ok(object)
    }

    /// Forgets all changes: watches from before now get 410.
    pub(crate) fn expire(&mut self) {
        for table in self.tables.values_mut() {
            table.forget(table.changes.len());
            table.forgotten = self.version;
        }
    }

    fn serve(&mut self, resource: Resource) {
        let key = (resource.group.clone(), resource.plural.clone());
        let table = Table {
            resource,
            objects: BTreeMap::new(),
            changes: Vec::new(),
            forgotten: self.version,
            lost: self.version,
        };
        self.tables.insert(key, table);
    }

    /// What the server adds and keeps.
    fn prepared(
        &mut self,
        place: &Place,
        resource: &Resource,
        asked: Value,
        held: Option<&Value>,
    ) -> Value {
        let mut object = asked;
        if place.subresource == "status"
            && let Some(held) = held
        {
            let status = object["status"].take();
            object = held.clone();
            object["status"] = status;
        } else if resource.status {
            object["status"] = held.map_or(Value::Null, |h| h["status"].clone());
            if object["status"].is_null()
                && let Some(members) = object.as_object_mut()
            {
                members.remove("status");
            }
        }
        if resource.kind == "Secret" {
            take_string_data(&mut object);
        }
        object["kind"] = json!(resource.kind);
        object["apiVersion"] = json!(resource.api_version(&place.version));
        let meta = &mut object["metadata"];
        meta["name"] = json!(place.name);
        if resource.namespaced {
            meta["namespace"] = json!(place.namespace);
        }
        match held {
            None => {
                self.uids += 1;
                meta["uid"] = json!(format!("00000000-0000-4000-8000-{:012}", self.uids));
                meta["creationTimestamp"] = meta
                    .get("creationTimestamp")
                    .filter(|t| !t.is_null())
                    .cloned()
                    .unwrap_or(json!(NOW));
                meta["generation"] = json!(1);
            }
            Some(held) => {
                for kept in [
                    "uid",
                    "creationTimestamp",
                    "deletionTimestamp",
                    "generation",
                ] {
                    match held["metadata"].get(kept) {
                        Some(value) => meta[kept] = value.clone(),
                        None => _ = meta.as_object_mut().and_then(|m| m.remove(kept)),
                    }
                }
                if object["spec"] != held["spec"] {
                    let generation = held["metadata"]["generation"].as_u64().unwrap_or(1);
                    object["metadata"]["generation"] = json!(generation + 1);
                }
            }
        }
        object
    }

    fn record(
        &mut self,
        place: &Place,
        before: Option<Arc<Value>>,
        after: Option<&Arc<Value>>,
        object: &Arc<Value>,
    ) {
        let (version, kept) = (self.version, self.kept);
        let key = (place.group.clone(), place.resource.clone());
        if let Some(table) = self.tables.get_mut(&key) {
            match after {
                Some(object) => table.objects.insert(place.key(), Arc::clone(object)),
                None => table.objects.remove(&place.key()),
            };
            // A deletion carries the last state under a version of its own.
            let before = before.map(|b| {
                if after.is_none() {
                    Arc::clone(object)
                } else {
                    b
                }
            });
            table.changes.push(Change {
                version,
                before,
                after: after.cloned(),
            });
            if table.changes.len() > kept.saturating_mul(2) {
                table.forget(table.changes.len() - kept);
            }
        }
        if key == (CRD_GROUP.to_owned(), CRD_PLURAL.to_owned())
            && let Some(resource) = Resource::of_crd(object)
        {
            let brought = (resource.group.clone(), resource.plural.clone());
            match after {
                None => _ = self.tables.remove(&brought),
                Some(_) if self.tables.contains_key(&brought) => {}
                Some(_) => self.serve(resource),
            }
        }
    }
}

impl Table {
    /// Forgets the oldest changes.
    fn forget(&mut self, changes: usize) {
        let last = self.changes.drain(..changes).next_back();
        self.lost = last.map_or(self.lost, |c| c.version);
        self.forgotten = self.forgotten.max(self.lost);
    }
}

/// No clock: every object here is as old as this.
const NOW: &str = "2026-01-01T00:00:00Z";

impl Place {
    pub(crate) fn key(&self) -> ObjectKey {
        (self.namespace.clone(), self.name.clone())
    }

    fn described(&self) -> String {
        format!("{} {:?}", self.resource, self.name)
    }
}

/// A resource version in what is sent must be the one held.
fn precondition(sent: &Value, held: &Value) -> Outcome<()> {
    let wanted = &sent["metadata"]["resourceVersion"];
    let uid = &sent["metadata"]["uid"];
    let differs = |wanted: &Value, key: &str| {
        !wanted.is_null() && *wanted != json!("") && *wanted != held["metadata"][key]
    };
    if differs(wanted, "resourceVersion") || differs(uid, "uid") {
        let text = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Refusal::conflict(text));
    }
    Ok(())
}

/// What a real server checks of a Lease.
fn check_lease(lease: &Value) -> Outcome<()> {
    let spec = &lease["spec"];
    let least = [("leaseDurationSeconds", 1), ("leaseTransitions", 0)];
    for (name, least) in least {
        let value = &spec[name];
        if !value.is_null() && value.as_i64().is_none_or(|value| value < least) {
            return Err(Refusal::new(
                422,
                format!("spec.{name}: Invalid value: {value}"),
            ));
        }
    }
    for name in ["acquireTime", "renewTime"] {
        // RFC 3339 with microseconds and no offset but Z, as the type is written.
        let is_time = |t: &str| t.len() == 27 && t.ends_with('Z') && t.as_bytes()[19] == b'.';
        if spec[name].as_str().is_some_and(|t| !is_time(t)) {
            return Err(Refusal::new(
                400,
                format!("spec.{name}: not a MicroTime: {}", spec[name]),
            ));
        }
    }
    Ok(())
}

/// A Secret's `stringData` is written only: it goes into `data`, encoded.
fn take_string_data(secret: &mut Value) {
    let taken = secret.as_object_mut().and_then(|s| s.remove("stringData"));
    for (name, text) in taken.iter().filter_map(Value::as_object).flatten() {
        let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
        secret["data"][name] = json!(bytes);
    }
}

fn unchanged(held: &Value, object: &Value) -> bool {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"].clone();
    object == *held
}

fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"]
        .as_array()
        .map_or(0, Vec::len)
}
