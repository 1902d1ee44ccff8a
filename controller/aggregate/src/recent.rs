//! The windows of every Service, Pod and workload, and which gateways told of the whole of them.
//!
//! **Invariants**
//! - Bounded by [`RECENT_OBJECTS`] and [`RECENT_PARTS`]; what does not fit is counted by the caller and makes the windows
//!   that it belongs to incomplete, so that nobody reads too low a sum.
//! - A Pod's requests count for its workload at one place only: at the workload where targets do not tell Pods, else at
//!   the Pod, whose windows are joined by whoever asks for the workload.
//! - Counts that came before their target's definition enter no window. Filters send both in one call.

mod coverage;
mod feed;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use foldhash::fast::RandomState;
use gaugeway_wire::{GatewayName, Layout, Target, TargetKind, UnixNanos, VmId, target::names};

pub use coverage::{Known, Silence, Standing, Standings, Unknown};
pub(crate) use feed::Feed;

use crate::{
    counts::Counts,
    limits::{RECENT_OBJECTS, RECENT_PARTS},
    windows::{Place, Sample, Unfit, Window, Windows},
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
    objects: HashMap<Box<str>, Windows, RandomState>,
    parts: usize,
    /// When an object had no room.
    refused: Windows,
    coverage: Coverage,
    /// The key being looked up.
    text: String,
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
    /// What a window has of an object.
    #[must_use]
    pub fn sample(&self, subject: Subject<'_>, window: Window, now: UnixNanos) -> Sample {
        let mut text = String::new();
        subject.put(&mut text);
        match self.objects.get(text.as_str()) {
            Some(windows) => windows.sample(window, now),
            None => Sample::empty(window, self.refused.sample(window, now).is_complete()),
        }
    }

    /// How the gateways stand to a window.
    #[must_use]
    pub fn standings(&self, window: Window, now: UnixNanos) -> Standings {
        self.coverage.standings(window, now)
    }

    /// Parts held, of at most [`RECENT_PARTS`].
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Objects held, of at most [`RECENT_OBJECTS`].
    #[must_use]
    pub fn objects(&self) -> usize {
        self.objects.len()
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
        self.coverage.note(vm, gateway, span, place, now);
    }

    /// Adds counts to the windows of all that a target names; false when some had no room.
    pub(crate) fn add(
        &mut self,
        place: Place,
        target: &Target,
        layout: &Layout,
        add_to: impl Fn(&mut Counts),
    ) -> bool {
        let mut text = std::mem::take(&mut self.text);
        let mut all = true;
        for subject in Subject::of(target) {
            subject.put(&mut text);
            match self.part(&text, place, layout) {
                Some(counts) => add_to(counts),
                None => all = false,
            }
        }
        self.text = text;
        all
    }

    fn part(&mut self, text: &str, place: Place, layout: &Layout) -> Option<&mut Counts> {
        if !self.objects.contains_key(text) {
            if self.objects.len() >= RECENT_OBJECTS {
                self.refused.lose(place);
                return None;
            }
            self.objects.insert(text.into(), Windows::default());
        }
        let windows = self.objects.get_mut(text)?;
        if !windows.has(place) {
            if self.parts >= RECENT_PARTS {
                windows.lose(place);
                return None;
            }
            self.parts += 1;
        }
        Some(windows.part(place, layout))
    }

    /// Forgets what is in no window any more.
    pub fn expire(&mut self, now: UnixNanos) {
        let mut gone = 0;
        self.objects.retain(|_, windows| {
            gone += windows.expire(now);
            !windows.is_empty()
        });
        self.parts = self.parts.saturating_sub(gone);
        self.refused.expire(now);
        self.coverage.forget(now);
    }
}
