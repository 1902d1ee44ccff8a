//! Counting finished requests under the target that owns their upstream address.
//!
//! A request is counted exactly once, in one series: of its target, of its key while the target is not known (those
//! gather and move when it is), or of one of two catch-alls, `unknown` and `overflow`. Whatever a bound or the host's
//! memory refuses goes to `overflow`; what even that cannot take is counted as unrecorded.

mod attribution;
mod buckets;
mod entries;
mod freeze;
mod interned;
mod series;
mod tally;
mod targets;

use std::rc::Rc;

use gaugeway_wire::{
    FilterCounter, Layout, Nanos, Outcome, Policy, RequestClass, Target, TargetDefinition,
    TargetKind, UnixNanos,
    limits::{KEY_BYTES, ROUTE_BYTES},
};

pub(crate) use self::interned::Interned;
use self::{
    entries::Current,
    series::{Owner, SeriesId, SeriesTable},
    tally::Counted,
};
pub use self::{entries::Key, interned::NameId, tally::Latency};
pub(crate) use self::{
    entries::{Entries, EntryId},
    freeze::{Chunk, Filled, Report},
    targets::{TargetId, Targets},
};
use crate::{backoff::Jitter, counters::Counters, host::Names, time::Instant};

/// Bounds of a recorder's tables.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Keys: upstream addresses and clusters.
    pub keys: u32,
    /// Series.
    pub series: u32,
    /// Targets, in use or kept for a while.
    pub targets: u32,
    /// Names of routes.
    pub routes: u32,
    /// Names of clusters that requests went to whose owners are not known yet.
    pub clusters: u32,
    /// Memory of all native buckets.
    pub bucket_bytes: usize,
    /// Memory of all definitions of targets.
    pub definition_bytes: usize,
    /// Memory of all hints.
    pub hint_bytes: usize,
}

impl Limits {
    /// Within 12 MiB of a VM's memory at 4,096 live addresses and schema 3, also while each has an old and a new owner:
    /// one series and one target for both, until the old one is reported.
    pub const DEFAULT: Self = Self {
        keys: 4096,
        series: 8704,
        targets: 8704,
        routes: 1024,
        clusters: 1024,
        bucket_bytes: 4 << 20,
        definition_bytes: 3 << 20,
        hint_bytes: 256 << 10,
    };
}

/// What a gateway itself carries about who owns an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// Metadata of endpoints, each of which is a read: asked for only while the controller was never reached.
    Metadata,
    /// Names of the form `namespace/service`, from its configuration: asked for wherever no mapping tells.
    Names,
}

/// Retries of one request; a host that tells of more tells nonsense, which must not spoil the sum.
const RETRIES: u64 = 1_000;

/// A finished request.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When the gateway handed it over for proxying.
    pub start: UnixNanos,
    /// How long until its outcome was known.
    pub time: Time,
    /// Its outcome and the class of its code.
    pub class: RequestClass,
    /// Attempts beyond the first.
    pub retries: u64,
}

/// How long a request took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// From the sample's start until then.
    Until(UnixNanos),
    /// The host has measured it.
    Told(Nanos),
    /// It cannot be told.
    Untold,
}

/// Where a request was counted, to find its series again when it is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    key: KeyId,
    route: NameId,
    start: UnixNanos,
}

/// See the module.
#[derive(Debug)]
pub struct Recorder {
    pub(crate) entries: Entries,
    pub(crate) targets: Targets,
    series: SeriesTable,
    routes: Interned,
    /// Clusters of requests that wait for their owner.
    clusters: Interned,
    pub(crate) counters: Counters,
    unknown: Option<TargetId>,
    overflow: Option<TargetId>,
    carries: Carries,
    /// The controller was never reached, for longer than the grace.
    unreached: bool,
    layout: Rc<Layout>,
    record_route: bool,
    grace: Nanos,
    hint_bytes_left: usize,
    /// How long, in all, the controller has been answering.
    answering: Nanos,
    /// More of the mapping is on its way.
    mapping_lacks: bool,
    now: Instant,
}

impl Recorder {
    /// Empty. Allocates next to nothing before the first request.
    pub(crate) fn new(
        limits: &Limits,
        policy: &Policy,
        carries: Carries,
        jitter: &mut Jitter,
    ) -> Self {
        let now = Instant::default();
        let mut targets = Targets::new(limits.targets, limits.definition_bytes, jitter.next());
        let mut own = |kind| {
            let target = Target::try_new(kind, Vec::new()).ok()?;
            let definition = TargetDefinition {
                fingerprint: target.fingerprint(),
                target: &target.encode(),
            };
            let id = targets.define(definition, now)?;
            Some(targets.acquire(id))
        };
        let (unknown, overflow) = (own(TargetKind::Unknown), own(TargetKind::Overflow));
        Self {
            entries: Entries::new(limits.keys, jitter.next()),
            series: SeriesTable::new(limits.series, limits.bucket_bytes, jitter.next()),
            routes: Interned::new(limits.routes as usize, ROUTE_BYTES, jitter.next()),
            clusters: Interned::new(limits.clusters as usize, KEY_BYTES, jitter.next()),
            targets,
            counters: Counters::new(),
            unknown,
            overflow,
            carries,
            unreached: false,
            layout: Rc::new(layout_of(policy)),
            record_route: policy.route,
            grace: policy.unknown_grace,
            hint_bytes_left: limits.hint_bytes,
            answering: Nanos(0),
            mapping_lacks: false,
            now,
        }
    }

    /// Takes over a policy. Counts in another layout are left to be reported as they are.
    pub(crate) fn set_policy(&mut self, policy: &Policy) {
        self.record_route = policy.route;
        self.grace = policy.unknown_grace;
        let layout = layout_of(policy);
        if layout != *self.layout {
            self.layout = Rc::new(layout);
            self.series.retire_all();
        }
    }

    /// Finds a key, or makes an entry for it.
    #[must_use]
    pub fn locate(&mut self, key: Key<'_>) -> KeyId {
        KeyId(match self.entries.locate(key, self.now) {
            Some(id) => Known::Entry(id),
            None if key.is_legal() => Known::Overflow,
            None => Known::Nameless,
        })
    }

    /// Counts a request. With `stays_open`, [`Recorder::close`] must be called when it ends.
    pub fn record(
        &mut self,
        key: KeyId,
        sample: &Sample,
        names: &mut impl Names,
        stays_open: bool,
    ) -> Place {
        let place = Place {
            key,
            route: self.route(names),
            start: sample.start,
        };
        if !self.has_counted() {
            self.series.set_last_round(sample.start);
        }
        let counted = self.measure(sample);
        if let Some(entry) = place.key.entry().and_then(|id| self.entries.get_mut(id)) {
            entry.used = self.now;
            entry.open = entry.open.saturating_add(stays_open.into());
        }
        if !self.count(&place, &counted, names) && !self.count_overflow(&place, &counted) {
            self.counters.bump(FilterCounter::Unrecorded);
        }
        place
    }

    /// A request that stayed open has ended; `aborted` when not well.
    pub fn close(&mut self, place: &Place, aborted: bool, names: &mut impl Names) {
        if aborted {
            let series = match self.choose(place, names) {
                Some(choice) => Some(choice.series),
                None => self.catch_all(self.overflow),
            };
            if let Some(series) = series {
                self.series.abort(series);
            }
        }
        if let Some(entry) = place.key.entry().and_then(|id| self.entries.get_mut(id)) {
            entry.open = entry.open.saturating_sub(1);
            entry.used = self.now;
        }
    }

    /// The time that a request took, unless the clock stepped meanwhile.
    fn measure(&mut self, sample: &Sample) -> Counted {
        let outcome = sample.class.outcome;
        let time = match sample.time {
            Time::Until(end) => end.since(sample.start),
            Time::Told(time) => Some(time),
            Time::Untold => None,
        };
        let time = time.filter(|&time| time <= Nanos::DAY);
        let wanted = outcome == Outcome::Cancelled || outcome.has_latency();
        if time.is_none() && wanted && sample.time != Time::Untold {
            self.counters.bump(FilterCounter::ClockSteps);
        }
        Counted {
            class: sample.class,
            latency: Latency::of(outcome, time),
            retries: Some(sample.retries).filter(|n| *n <= RETRIES).unwrap_or(0),
        }
    }

    fn route(&mut self, names: &mut impl Names) -> NameId {
        if !self.record_route {
            return NameId::NONE;
        }
        names
            .route()
            .map_or(NameId::NONE, |name| self.routes.intern(name))
    }

    fn count(&mut self, place: &Place, counted: &Counted, names: &mut impl Names) -> bool {
        let Some(choice) = self.choose(place, names) else {
            return false;
        };
        let (series, unknown) = (choice.series, choice.unknown);
        let done = self
            .series
            .count(series, counted, place.start, self.now, unknown);
        let known = [
            (unknown, FilterCounter::Unknown),
            (choice.ambiguous, FilterCounter::Ambiguous),
        ];
        for (_, counter) in known.into_iter().filter(|&(so, _)| done && so) {
            self.counters.bump(counter);
        }
        done
    }

    fn count_overflow(&mut self, place: &Place, counted: &Counted) -> bool {
        self.counters.bump(FilterCounter::TableOverflows);
        let series = self.catch_all(self.overflow);
        series.is_some_and(|series| {
            self.series
                .count(series, counted, place.start, self.now, true)
        })
    }

    /// The open series of a target that must never be refused; it has no route.
    fn catch_all(&mut self, target: Option<TargetId>) -> Option<SeriesId> {
        self.open(Owner::Target(target?), NameId::NONE, true)
    }

    /// The series that a request belongs to now. `None` when there is no room for its key or its series.
    fn choose(&mut self, place: &Place, names: &mut impl Names) -> Option<Choice> {
        let id = match place.key.0 {
            Known::Entry(id) => id,
            Known::Overflow => return None,
            Known::Nameless => {
                let series = self.catch_all(self.unknown)?;
                return Some(Choice {
                    series,
                    unknown: true,
                    ambiguous: false,
                });
            }
        };
        let entry = self.entries.get(id)?;
        let carried = match self.asks_carried(&entry.current) {
            true => self.carried(id, names),
            false => None,
        };
        let entry = self.entries.get(id)?;
        let (owner, ambiguous) = match (entry.previous, carried, &entry.current) {
            (Some(previous), ..) if place.start < entry.since => (Owner::Target(previous), false),
            (_, Some(carried), _) => (Owner::Target(carried), false),
            (_, _, Current::Unknown) => (Owner::Target(self.unknown?), false),
            (_, _, Current::Waiting(_)) => {
                // An address of several Services is not known as such yet. A key that is a cluster tells itself.
                let cluster = match entry.own_cluster() {
                    Some(_) => NameId::NONE,
                    None => self.clusters.intern(names.cluster().unwrap_or_default()),
                };
                (Owner::Waiting(id, cluster), false)
            }
            (_, _, current) => {
                let (target, guessed) = current.owner(|| names.cluster())?;
                (Owner::Target(target), guessed)
            }
        };
        let choice = |series, unknown| Choice {
            series,
            unknown,
            ambiguous,
        };
        let unknown = self
            .unknown
            .is_some_and(|unknown| owner == Owner::Target(unknown));
        if let Some((recent, route, series)) = entry.recent
            && (recent, route) == (owner, place.route)
            && self.series.is_open(series)
        {
            return Some(choice(series, unknown));
        }
        let series = match unknown {
            true => self.catch_all(self.unknown)?,
            false => self.open(owner, place.route, false)?,
        };
        if let Some(entry) = self.entries.get_mut(id) {
            entry.recent = Some((owner, place.route, series));
        }
        Some(choice(series, unknown))
    }

    /// The open series of an owner and route, made if need be.
    fn open(&mut self, owner: Owner, route: NameId, spare: bool) -> Option<SeriesId> {
        if let Some(series) = self.series.find(owner, route) {
            return Some(series);
        }
        let series = self.series.open(owner, route, &self.layout, spare)?;
        match owner {
            Owner::Target(target) => drop(self.targets.acquire(target)),
            Owner::Waiting(id, _) => {
                let entry = self.entries.get_mut(id)?;
                let next = entry.waiting.replace(series);
                self.series.get_mut(series)?.next_waiting = next;
            }
        }
        Some(series)
    }

    /// Whether requests were ever counted.
    pub(crate) fn has_counted(&self) -> bool {
        self.series.has_begun()
    }
}

/// A key of one recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(Known);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Entry(EntryId),
    /// There was no room for an entry.
    Overflow,
    /// The host gave no name that a mapping could know.
    Nameless,
}

impl KeyId {
    const fn entry(self) -> Option<EntryId> {
        match self.0 {
            Known::Entry(id) => Some(id),
            Known::Overflow | Known::Nameless => None,
        }
    }
}

fn layout_of(policy: &Policy) -> Layout {
    Layout {
        schema: policy.schema,
        bounds: policy.classic_bounds.clone(),
    }
}

/// Where a request belongs.
struct Choice {
    series: SeriesId,
    /// To nobody known.
    unknown: bool,
    /// To several, and nothing told which.
    ambiguous: bool,
}
