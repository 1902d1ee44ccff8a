//! Keys that VMs subscribe to, one per gateway and text, with their resolution and what it depends on.

use std::sync::Arc;

use gaugeway_wire::GatewayName;
use hashbrown::{Equivalent, HashMap};
use slab::Slab;
use smallvec::SmallVec;

use super::{HubLimits, VmIndex};
use crate::{
    changes::{Changes, Subject},
    index::Resolution,
    key::Key,
    moment::Moment,
};

/// Place of a key. Reused after the key's last subscriber went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KeyId(u32);

type Subscribers = SmallVec<[VmIndex; 4]>;

#[derive(Debug)]
pub(super) struct KeyState {
    gateway: GatewayName,
    pub(super) text: Arc<str>,
    key: Key,
    pub(super) resolution: Resolution,
    subjects: Vec<Subject>,
    subscribers: Subscribers,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    gateway: GatewayName,
    text: Arc<str>,
}

#[derive(Hash)]
struct NameRef<'a> {
    gateway: &'a GatewayName,
    text: &'a str,
}

impl Equivalent<Name> for NameRef<'_> {
    fn equivalent(&self, other: &Name) -> bool {
        *self.text == *other.text && *self.gateway == other.gateway
    }
}

impl KeyId {
    /// `None` past what [`HubLimits::keys`] can sensibly be.
    fn new(place: usize) -> Option<Self> {
        u32::try_from(place).ok().map(Self)
    }

    const fn place(self) -> usize {
        self.0 as usize
    }
}

/// All keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    states: Slab<KeyState>,
    ids: HashMap<Name, KeyId>,
    per_gateway: HashMap<GatewayName, usize>,
    subjects: HashMap<Subject, SmallVec<[KeyId; 1]>>,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&KeyState> {
        self.states.get(id.place())
    }

    pub(super) fn find(&self, gateway: &GatewayName, text: &str) -> Option<KeyId> {
        self.ids.get(&NameRef { gateway, text }).copied()
    }

    /// Keys whose resolution may have changed, each once.
    pub(super) fn touched(&self, changes: &Changes) -> Vec<KeyId> {
        let ids = changes.subjects().filter_map(|s| self.subjects.get(&s));
        let mut ids: Vec<_> = ids.flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub(super) fn of_gateways(&self, concerned: impl Fn(&GatewayName) -> bool) -> Vec<KeyId> {
        let all = self.states.iter();
        let concerned = all.filter(|(_, state)| concerned(&state.gateway));
        concerned.filter_map(|(at, _)| KeyId::new(at)).collect()
    }

    /// Adds a subscriber, and the key if it is new. `None` when a bound is reached.
    pub(super) fn add(
        &mut self,
        gateway: &GatewayName,
        text: &str,
        vm: VmIndex,
        limits: &HubLimits,
        resolve: impl FnOnce(&GatewayName, &Key) -> (Resolution, Vec<Subject>),
    ) -> Option<KeyId> {
        if let Some(id) = self.find(gateway, text) {
            self.states.get_mut(id.place())?.subscribers.push(vm);
            return Some(id);
        }
        let of_gateway = self.per_gateway.get(gateway).copied().unwrap_or(0);
        if self.states.len() >= limits.keys || of_gateway >= limits.keys_per_gateway {
            return None;
        }
        let key = Key::parse(text);
        let (resolution, subjects) = resolve(gateway, &key);
        let text: Arc<str> = text.into();
        let id = KeyId::new(self.states.vacant_key())?;
        self.depend(id, &subjects);
        self.states.insert(KeyState {
            gateway: gateway.clone(),
            text: text.clone(),
            key,
            resolution,
            subjects,
            subscribers: SmallVec::from_iter([vm]),
        });
        *self.per_gateway.entry(gateway.clone()).or_default() += 1;
        let name = Name {
            gateway: gateway.clone(),
            text,
        };
        self.ids.insert(name, id);
        Some(id)
    }

    /// Removes a subscriber, and with the last one the key.
    pub(super) fn release(&mut self, id: KeyId, vm: VmIndex) {
        let Some(state) = self.states.get_mut(id.place()) else {
            return;
        };
        if let Some(at) = state.subscribers.iter().position(|s| *s == vm) {
            state.subscribers.swap_remove(at);
        }
        if state.subscribers.is_empty() {
            self.remove(id);
        }
    }

    /// Resolves again. The subscribers, if that changed something that they should know.
    pub(super) fn refresh(
        &mut self,
        id: KeyId,
        now: Moment,
        resolve: impl FnOnce(&GatewayName, &Key) -> (Resolution, Vec<Subject>),
    ) -> Option<Subscribers> {
        let state = self.states.get_mut(id.place())?;
        let (new, subjects) = resolve(&state.gateway, &state.key);
        let changed = new.candidates != state.resolution.candidates;
        if changed {
            succeed(&mut state.resolution, new, now);
        }
        let subscribers = changed.then(|| state.subscribers.clone());
        if subjects != state.subjects {
            let old = std::mem::replace(&mut state.subjects, subjects.clone());
            self.undepend(id, &old);
            self.depend(id, &subjects);
        }
        subscribers
    }

    fn remove(&mut self, id: KeyId) {
        let Some(state) = self.states.try_remove(id.place()) else {
            return;
        };
        self.undepend(id, &state.subjects);
        let (gateway, text) = (&state.gateway, &*state.text);
        self.ids.remove(&NameRef { gateway, text });
        if let Some(count) = self.per_gateway.get_mut(gateway) {
            *count -= 1;
            if *count == 0 {
                self.per_gateway.remove(gateway);
            }
        }
    }

    fn depend(&mut self, id: KeyId, subjects: &[Subject]) {
        for subject in subjects {
            let ids = self.subjects.entry(*subject).or_default();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }

    fn undepend(&mut self, id: KeyId, subjects: &[Subject]) {
        for subject in subjects {
            if let Some(ids) = self.subjects.get_mut(subject) {
                ids.retain(|i| *i != id);
                if ids.is_empty() {
                    self.subjects.remove(subject);
                }
            }
        }
    }
}

/// What a gateway was told before is what its requests under way began under, so the hub's own memory goes before the
/// index's: it also knows changes of reach and policy.
fn succeed(held: &mut Resolution, new: Resolution, now: Moment) {
    let first = |r: &Resolution| r.candidates.first().map(|c| c.target.clone());
    let (before, after) = (first(held), first(&new));
    let (since, previous) = match before {
        _ if before == after => (held.since, held.previous.take()),
        Some(before) => (Some(now), Some(before)),
        None => (new.since.or(Some(now)), new.previous),
    };
    *held = Resolution {
        candidates: new.candidates,
        since,
        previous,
    };
}
