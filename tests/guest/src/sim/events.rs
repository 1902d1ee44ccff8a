//! The queue of what will happen.

use std::{cmp::Ordering, collections::BinaryHeap};

use gaugeway_wire::units::UnixNanos;

use crate::controller::{CallId, Delivery};

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A tick timer fires.
    Tick {
        worker: usize,
        root: u32,
        timer: u64,
    },
    /// A request goes on.
    Stage {
        worker: usize,
        context: u32,
        stage: Stage,
    },
    /// An answer to an HTTP call arrives.
    Answer { id: CallId, delivery: Delivery },
}

/// How a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Response headers pass.
    ResponseHeaders,
    /// It is over.
    End,
}

#[derive(Debug)]
struct Entry {
    at: UnixNanos,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest: the heap gives the greatest first.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Events by time, then by order of making.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    made: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: UnixNanos, event: Event) {
        self.made += 1;
        self.heap.push(Entry {
            at,
            order: self.made,
            event,
        });
    }

    pub(super) fn next_at(&self) -> Option<UnixNanos> {
        self.heap.peek().map(|entry| entry.at)
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.heap.pop().map(|entry| entry.event)
    }
}
