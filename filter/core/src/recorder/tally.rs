//! What one series counted since it was last frozen.

use gaugeway_wire::{
    Fingerprint, Layout, Nanos, Outcome, RequestClass,
    histogram::{bucket_index, bucket_range},
    report::{ReportWriter, SeriesCounts},
};

use super::buckets::{Budget, Counts, Native};

/// What is known of a request's latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Its outcome has none.
    None,
    /// A sample for the histogram.
    Known(Nanos),
    /// The outcome has one, but it cannot be told (retries, clock steps).
    Unknown,
    /// Time that a client waited before it left: summed apart, in no histogram.
    Cancelled(Nanos),
}

/// One finished request, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) class: RequestClass,
    pub(crate) latency: Latency,
    /// Attempts beyond the first.
    pub(crate) retries: u64,
}

/// Counts. **Invariant**: samples in `native` and `zero` equal those in `classic`.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Pairs (class, requests), ascending.
    classes: Vec<(u8, u64)>,
    native: Native,
    classic: Counts,
    zero: u64,
    sum: u64,
    retries: u64,
    aborted: u64,
    latency_unknown: u64,
    cancelled_wait: u64,
}

/// Where a latency sample goes, once there is room for it.
pub(crate) struct Room {
    class: usize,
    sample: Option<Sample>,
}

struct Sample {
    value: Nanos,
    native: Option<i32>,
    classic: usize,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self {
            classes: Vec::new(),
            native: Native::new(),
            classic: Counts::new(),
            zero: 0,
            sum: 0,
            retries: 0,
            aborted: 0,
            latency_unknown: 0,
            cancelled_wait: 0,
        }
    }

    /// Makes room for a request, so that counting it cannot fail half-way. `None` when budget or memory is refused.
    pub(crate) fn reserve(
        &mut self,
        counted: &Counted,
        layout: &Layout,
        budget: Option<&mut Budget>,
    ) -> Option<Room> {
        let sample = match counted.latency {
            Latency::Known(value) => Some(self.reserve_sample(value, layout, budget)?),
            _ => None,
        };
        Some(Room {
            class: self.class(counted.class)?,
            sample,
        })
    }

    fn reserve_sample(
        &mut self,
        value: Nanos,
        layout: &Layout,
        budget: Option<&mut Budget>,
    ) -> Option<Sample> {
        let native = bucket_index(layout.schema, value);
        if let Some(index) = native {
            let legal = bucket_range(layout.schema);
            if !self.native.reserve(index, &legal, budget) {
                return None;
            }
        }
        if self.classic.len() == 0 && !self.classic.grow(0, layout.bounds.len() + 1) {
            return None;
        }
        Some(Sample {
            value,
            native,
            classic: layout.bounds.position(value),
        })
    }

    /// Position of a class's counter, made if need be.
    fn class(&mut self, class: RequestClass) -> Option<usize> {
        let class = u8::try_from(class.index()).ok()?;
        match self
            .classes
            .binary_search_by_key(&class, |&(class, _)| class)
        {
            Ok(position) => Some(position),
            Err(position) => {
                self.classes.try_reserve_exact(1).ok()?;
                self.classes.insert(position, (class, 0));
                Some(position)
            }
        }
    }

    /// Counts a request for which there is room.
    pub(crate) fn add(&mut self, counted: &Counted, room: &Room) {
        if let Some((_, count)) = self.classes.get_mut(room.class) {
            *count = count.saturating_add(1);
        }
        if let Some(sample) = &room.sample {
            match sample.native {
                Some(index) => self.native.bump(index),
                None => self.zero = self.zero.saturating_add(1),
            }
            self.classic.bump(sample.classic);
            self.sum = self.sum.saturating_add(sample.value.0);
        }
        match counted.latency {
            Latency::Unknown => self.latency_unknown = self.latency_unknown.saturating_add(1),
            Latency::Cancelled(waited) => {
                self.cancelled_wait = self.cancelled_wait.saturating_add(waited.0);
            }
            Latency::Known(_) | Latency::None => {}
        }
        self.retries = self.retries.saturating_add(counted.retries);
    }

    /// Counts that a request, counted before, did not end well after its headers.
    pub(crate) const fn abort(&mut self) {
        self.aborted = self.aborted.saturating_add(1);
    }

    /// Requests in it.
    pub(crate) fn requests(&self) -> u64 {
        self.classes
            .iter()
            .map(|&(_, count)| count)
            .fold(0, u64::saturating_add)
    }

    /// What its buckets took from the budget.
    pub(crate) const fn charged(&self) -> usize {
        self.native.charged()
    }

    /// Writes it as a series of a report; false when it does not fit.
    pub(crate) fn write(&self, target: Fingerprint, route: &str, to: &mut ReportWriter) -> bool {
        let requests = self
            .classes
            .iter()
            .filter_map(|&(class, count)| Some((RequestClass::from_index(class.into())?, count)));
        to.series(SeriesCounts {
            target,
            route,
            requests,
            native: self.native.iter(),
            classic: self.classic.iter().enumerate(),
            zero_count: self.zero,
            sum: Nanos(self.sum),
            retries: self.retries,
            aborted: self.aborted,
            latency_unknown: self.latency_unknown,
            cancelled_wait: Nanos(self.cancelled_wait),
        })
    }

    /// Sets everything to zero and keeps the memory: the same buckets will be used again.
    pub(crate) fn reset(&mut self) {
        self.classes.iter_mut().for_each(|(_, count)| *count = 0);
        self.native.reset();
        self.classic.reset();
        self.zero = 0;
        self.sum = 0;
        self.retries = 0;
        self.aborted = 0;
        self.latency_unknown = 0;
        self.cancelled_wait = 0;
    }
}

impl Latency {
    /// What an outcome makes of the time until it; `None` for the time when it cannot be told.
    pub(crate) const fn of(outcome: Outcome, time: Option<Nanos>) -> Self {
        match (outcome, time) {
            (Outcome::Cancelled, Some(waited)) => Self::Cancelled(waited),
            (outcome, _) if !outcome.has_latency() => Self::None,
            (_, Some(time)) => Self::Known(time),
            (_, None) => Self::Unknown,
        }
    }
}
