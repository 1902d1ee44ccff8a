//! The windows of every Service, Pod and workload, and which gateways told of the whole of them.
//!
//! **Invariants**
//! - Bounded by [`RECENT_OBJECTS`] and [`RECENT_BYTES`]; what does not fit is counted by the caller and makes the windows
//!   that it belongs to incomplete, so that nobody reads too low a sum.
//! - Adding looks nothing up: each target knows its objects (`Subjects`), which say whether they are still the same.
//! - Where the clock goes back by more than a slot, everything begins anew, as after a restart: then nobody covers a window
//!   until the gateways have reported for as long.
//! - A Pod's requests count for its workload at one place only: at the workload where targets do not tell Pods, else at
//!   the Pod, whose windows are joined by whoever asks for the workload.
//! - Counts that came before their target's definition enter no window. Filters send both in one call.

mod coverage;
mod feed;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use gaugeway_wire::{GatewayName, Layout, Target, TargetKind, UnixNanos, VmId, target::names};

pub use coverage::{Known, LastReport, Silence, Standing, Standings, Unknown};
pub(crate) use feed::Feed;

use crate::{
    limits::{RECENT_BYTES, RECENT_OBJECTS, VIAS},
    windows::{Log, Origin, Place, Sample, Scratch, Slot, Unfit, Via, Window},
};
use coverage::Coverage;

/// What windows are kept of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "Kubernetes's own names")]
pub enum Subject<'a> {
    /// A Service.
    Service { namespace: &'a str, name: &'a str },
    /// A Pod, over all Services through which it was reached.
    Pod { namespace: &'a str, name: &'a str },
    /// What made Pods, where targets tell it but not the Pods.
    Workload {
        namespace: &'a str,
        kind: &'a str,
        name: &'a str,
    },
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Recent {
    objects: Vec<Object>,
    free: Vec<u32>,
    by_name: HashMap<Box<str>, u32, RandomState>,
    /// Bytes that the logs hold.
    bytes: usize,
    /// When an object had no room.
    refused: Option<Slot>,
    /// The latest slot that ran.
    seen: Slot,
    coverage: Coverage,
    /// The key being looked up.
    text: String,
    scratch: Scratch,
}

/// A Service, Pod or workload, or the place of one that was forgotten.
#[derive(Debug, Default)]
struct Object {
    /// Grows when the place gets another object.
    generation: u32,
    log: Log,
    vias: Arc<[Via]>,
}

/// The windows of what a target names: of its Service, and of its Pod or workload. A link may be stale: the object is
/// asked whether it is still the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subjects([Link; 2]);

#[derive(Clone, Copy, Debug, Default)]
enum Link {
    /// Not looked for yet, or without room when it was.
    #[default]
    Unknown,
    /// The target names no such object.
    Nothing,
    To {
        index: u32,
        generation: u32,
        origin: Origin,
    },
}

impl Subject<'_> {
    /// A key of the table. No name of Kubernetes has a zero byte, and labels of targets that have one only meet each
    /// other.
    fn put(self, out: &mut String) {
        out.clear();
        let (kind, parts) = match self {
            Self::Service { namespace, name } => ('s', [namespace, name, ""]),
            Self::Pod { namespace, name } => ('p', [namespace, name, ""]),
            Self::Workload {
                namespace,
                kind,
                name,
            } => ('w', [namespace, kind, name]),
        };
        out.push(kind);
        for part in parts {
            out.push_str(part);
            out.push('\0');
        }
    }

    /// What a target's requests count for.
    fn of(target: &Target) -> impl Iterator<Item = Subject<'_>> {
        let label = |name| target.label(name).filter(|value| !value.is_empty());
        let known = target.kind() == TargetKind::Kubernetes;
        let namespace = label(names::NAMESPACE).filter(|_| known);
        let service = namespace.zip(label(names::SERVICE));
        let service = service.map(|(namespace, name)| Subject::Service { namespace, name });
        let pod = namespace.zip(label(names::POD));
        let pod = pod.map(|(namespace, name)| Subject::Pod { namespace, name });
        let workload = namespace
            .zip(label(names::WORKLOAD_KIND).zip(label(names::WORKLOAD)))
            .map(|(namespace, (kind, name))| Subject::Workload {
                namespace,
                kind,
                name,
            });
        service.into_iter().chain(pod.or(workload))
    }
}

impl Recent {
    /// What windows up to a longest one have of an object.
    #[must_use]
    pub fn sample(&self, subject: Subject<'_>, longest: Window, now: UnixNanos) -> Sample {
        let mut text = String::new();
        subject.put(&mut text);
        let index = self.by_name.get(text.as_str());
        match index.and_then(|index| self.objects.get(*index as usize)) {
            Some(object) => Sample::of(&object.log, longest, now, &object.vias),
            None => Sample::refused(now, self.refused),
        }
    }

    /// How the gateways stand to a window.
    #[must_use]
    pub fn standings(&self, window: Window, now: UnixNanos) -> Standings {
        self.coverage.standings(window, now)
    }

    /// The last that was heard of each gateway that reported lately.
    #[must_use]
    pub fn last_reports(&self) -> BTreeMap<GatewayName, LastReport> {
        self.coverage.last_reports()
    }

    /// Bytes held, of at most [`RECENT_BYTES`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Objects held, of at most [`RECENT_OBJECTS`].
    #[must_use]
    pub fn objects(&self) -> usize {
        self.by_name.len()
    }

    /// Lets time pass; see the invariants.
    fn pass(&mut self, now: UnixNanos) -> Slot {
        let running = Slot::of(now);
        if running.next() < self.seen {
            *self = Self::default();
        }
        self.seen = self.seen.max(running);
        self.seen
    }

    /// Notes that a VM told of a span.
    pub(crate) fn cover(
        &mut self,
        vm: VmId,
        gateway: &GatewayName,
        span: (UnixNanos, UnixNanos),
        place: Result<Place, Unfit>,
        now: UnixNanos,
    ) {
        self.pass(now);
        self.coverage.note(vm, gateway, span, place, now);
    }

    /// Adds counts, encoded in this layout, to the windows of all that a target names; false when some had no room.
    pub(crate) fn add(
        &mut self,
        place: Place,
        (gateway, target): (&GatewayName, &Target),
        subjects: &mut Subjects,
        layout: &Layout,
        counts: &[u8],
    ) -> bool {
        let mut all = true;
        for (at, link) in subjects.0.iter_mut().enumerate() {
            if !self.holds(*link) {
                *link = self.look_up(place, gateway, target, at);
            }
            all &= match *link {
                Link::To { index, origin, .. } => self.append(index, place, origin, layout, counts),
                Link::Nothing => true,
                Link::Unknown => false,
            };
        }
        all
    }

    /// Whether a link leads to what it once led to.
    fn holds(&self, link: Link) -> bool {
        match link {
            Link::Unknown => false,
            Link::Nothing => true,
            Link::To {
                index, generation, ..
            } => {
                let object = self.objects.get(index as usize);
                object.is_some_and(|object| object.generation == generation)
            }
        }
    }

    /// Finds or makes the object that a target names at this position.
    #[cold]
    fn look_up(&mut self, place: Place, gateway: &GatewayName, target: &Target, at: usize) -> Link {
        let Some(subject) = Subject::of(target).nth(at) else {
            return Link::Nothing;
        };
        let mut text = std::mem::take(&mut self.text);
        subject.put(&mut text);
        let found = self.by_name.get(text.as_str()).copied();
        let found = found.or_else(|| self.insert(&text));
        self.text = text;
        let Some(index) = found else {
            self.refused = self.refused.max(Some(place.slot()));
            return Link::Unknown;
        };
        let Some(object) = self.objects.get_mut(index as usize) else {
            return Link::Unknown;
        };
        let origin = match subject {
            Subject::Service { .. } => object.origin(gateway, target),
            _ => Origin(0),
        };
        Link::To {
            index,
            generation: object.generation,
            origin,
        }
    }

    fn insert(&mut self, text: &str) -> Option<u32> {
        if self.by_name.len() >= RECENT_OBJECTS {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.objects.push(Object::default());
                u32::try_from(self.objects.len() - 1).ok()?
            }
        };
        self.by_name.insert(text.into(), index);
        Some(index)
    }

    fn append(
        &mut self,
        index: u32,
        place: Place,
        origin: Origin,
        layout: &Layout,
        counts: &[u8],
    ) -> bool {
        let Some(object) = self.objects.get_mut(index as usize) else {
            return false;
        };
        let (bytes, scratch, running) = (&mut self.bytes, &mut self.scratch, self.seen);
        object.log.add(place, origin, counts, |log, more| {
            log.sum_up(running, layout, scratch);
            let others = *bytes - log.held();
            if others + log.held().max(log.wanted(more)) > RECENT_BYTES {
                return false;
            }
            log.resize(more);
            *bytes = others + log.held();
            true
        })
    }

    /// Cuts all buckets anew.
    pub(crate) fn rebucket(&mut self, from: &Layout, to: &Layout) {
        for object in &mut self.objects {
            self.bytes -= object.log.held();
            object.log.rebucket(from, to);
            self.bytes += object.log.held();
        }
    }

    /// Forgets what is in no window any more.
    pub fn expire(&mut self, now: UnixNanos) {
        let running = self.pass(now);
        self.by_name.retain(|_, index| {
            let Some(object) = self.objects.get_mut(*index as usize) else {
                return false;
            };
            let over = object.log.is_over(running);
            if over {
                self.bytes -= object.log.held();
                *object = Object {
                    generation: object.generation.wrapping_add(1),
                    ..Object::default()
                };
                self.free.push(*index);
            }
            !over
        });
        let first = Window::Minutes5.first(running);
        self.refused = self.refused.filter(|slot| *slot >= first);
        self.coverage.forget(now);
    }
}

impl Object {
    /// The number of a gateway and port; further ones share the last.
    fn origin(&mut self, gateway: &GatewayName, target: &Target) -> Origin {
        let port = target.label(names::SERVICE_PORT).unwrap_or_default();
        let known = self
            .vias
            .iter()
            .position(|via| via.gateway == *gateway && *via.port == *port);
        let at = known.unwrap_or_else(|| {
            let next = self.vias.len();
            if next < VIAS {
                let new = Via {
                    gateway: gateway.clone(),
                    port: port.into(),
                };
                self.vias = self.vias.iter().cloned().chain([new]).collect();
            }
            next
        });
        Origin(u8::try_from(at.min(VIAS)).unwrap_or(u8::MAX))
    }
}
