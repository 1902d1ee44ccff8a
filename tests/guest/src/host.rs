//! What one VM's host knows: contexts, clock, the call under way, what the guest asked for, counts and faults.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use gaugeway_wire::units::UnixNanos;
use rand::{SeedableRng as _, rngs::SmallRng};
use wasmi::{Memory, StoreLimits, StoreLimitsBuilder, TypedFunc};

use crate::{
    fault::{Fault, Faults},
    meter::Meter,
    personality::Personality,
    request::Request,
};

/// Wall clock that all VMs of a simulation share.
#[derive(Clone, Debug)]
pub struct Clock(Rc<Cell<u64>>);

impl Clock {
    /// Starts at this instant.
    #[must_use]
    pub fn new(now: UnixNanos) -> Self {
        Self(Rc::new(Cell::new(now.0)))
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        UnixNanos(self.0.get())
    }

    /// Moves it, also backwards.
    pub fn set(&self, now: UnixNanos) {
        self.0.set(now.0);
    }
}

/// A context of the guest.
#[derive(Clone, Debug)]
pub enum Context {
    /// A filter configuration.
    Root(Root),
    /// A request.
    Stream(Exchange),
}

/// A filter configuration.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// Name of the configuration.
    pub plugin: String,
    /// Its bytes.
    pub configuration: Vec<u8>,
    /// Last tick period set, in milliseconds.
    pub tick_period: u32,
}

/// A request under way, as far as the host can tell.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The script.
    pub request: Rc<Request>,
    /// Its root's context.
    pub root: u32,
    /// How far it is.
    pub phase: Phase,
    /// When its request headers reached the filter.
    pub began: UnixNanos,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "named after the callbacks")]
pub enum Phase {
    RequestHeaders,
    ResponseHeaders,
    Log,
    Done,
    Delete,
}

/// An HTTP call that the guest dispatched.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// Names the call in its callback.
    pub token: u32,
    /// Context that dispatched it.
    pub context: u32,
    /// Cluster name (Envoy), or address (WasmX).
    pub upstream: String,
    /// Headers, pseudo-headers among them.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Time-out in milliseconds.
    pub timeout_ms: u32,
}

impl HttpCall {
    /// First value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// One host call of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Numbers the entry into the guest that made it.
    pub entry: u64,
    /// That entry's callback.
    pub callback: &'static str,
    /// Import name.
    pub call: &'static str,
}

/// What the callback of an HTTP call finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallAnswer {
    /// Headers with `:status`; empty when the call failed.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// WasmX: value of `:dispatch_status` when the call failed.
    pub dispatch_status: Option<&'static str>,
}

/// Host state of one VM: the data of its wasmi store.
pub struct Host {
    /// Which host this is.
    pub personality: Personality,
    /// Counts.
    pub meter: Meter,
    /// Faults in place of true answers.
    pub faults: Faults,
    /// Contexts alive.
    pub contexts: BTreeMap<u32, Context>,
    /// Clusters that HTTP calls can go to (Envoy).
    pub clusters: BTreeSet<String>,
    /// Every dispatch answers `InternalFailure`, as when the cluster has no healthy host.
    pub refuse_dispatch: bool,
    /// Every host call so far, where it is asked for.
    pub trace: Option<Vec<Traced>>,
    /// Work takes time: the clock moves on by a microsecond per so much fuel while a callback runs. `None`: it stands
    /// still, which keeps latencies exact.
    pub fuel_per_us: Option<u64>,
    /// Lines that the guest logged, at most [`LOG_LINES`].
    pub log: Vec<(u32, String)>,
    /// Calls that a filter that only watches has no business making.
    pub meddled: Vec<String>,
    pub(crate) clock: Clock,
    pub(crate) rng: SmallRng,
    pub(crate) position: u64,
    /// What the running host call says in place of the true pointer and size.
    pub(crate) false_pointer: Option<(u32, u32)>,
    pub(crate) running: &'static str,
    pub(crate) entries: u64,
    pub(crate) effective: u32,
    pub(crate) vm_configuration: Vec<u8>,
    pub(crate) answer: Option<CallAnswer>,
    pub(crate) dispatched: Vec<HttpCall>,
    pub(crate) ticks: Vec<(u32, u32)>,
    pub(crate) next_token: u32,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) limits: StoreLimits,
}

/// Bound of [`Host::log`].
pub const LOG_LINES: usize = 10_000;

impl Host {
    /// No contexts yet. The same seed gives the same random numbers.
    #[must_use]
    pub fn new(personality: Personality, clock: Clock, seed: u64) -> Self {
        Self {
            personality,
            meter: Meter::default(),
            faults: Faults::None,
            contexts: BTreeMap::new(),
            clusters: BTreeSet::new(),
            refuse_dispatch: false,
            trace: None,
            fuel_per_us: None,
            log: Vec::new(),
            meddled: Vec::new(),
            clock,
            rng: SmallRng::seed_from_u64(seed),
            position: 0,
            false_pointer: None,
            running: "",
            entries: 0,
            effective: 0,
            vm_configuration: Vec::new(),
            answer: None,
            dispatched: Vec::new(),
            ticks: Vec::new(),
            next_token: 1,
            memory: None,
            allocate: None,
            limits: StoreLimitsBuilder::new().build(),
        }
    }

    /// Host calls made so far: positions for [`Faults::At`].
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Refuses the guest all memory over `bytes` from now on.
    pub fn limit_memory(&mut self, bytes: usize) {
        self.limits = StoreLimitsBuilder::new().memory_size(bytes).build();
    }

    /// Name of the callback that is running.
    #[must_use]
    pub fn running(&self) -> &'static str {
        self.running
    }

    /// The context that property reads and calls are about.
    #[must_use]
    pub fn effective(&self) -> Option<&Context> {
        self.contexts.get(&self.effective)
    }

    /// Wall clock as this host tells it.
    pub(crate) fn wall_clock(&mut self) -> u64 {
        let now = self.clock.now().0;
        self.personality.clock(now, &mut self.rng)
    }

    /// Counts a host call and draws its fault.
    pub(crate) fn begin(&mut self, name: &'static str) -> Option<Fault> {
        self.meter.call(name);
        let position = self.position;
        self.position += 1;
        let (entry, callback) = (self.entries, self.running);
        if let Some(trace) = &mut self.trace {
            trace.push(Traced {
                entry,
                callback,
                call: name,
            });
        }
        self.faults.draw(position, name)
    }
}
