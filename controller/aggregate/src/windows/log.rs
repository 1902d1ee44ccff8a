//! The counts of one object's windows, as they came: entries of encoded counts in one piece of memory.
//!
//! Adding is copying some fifty bytes. When the piece is full, entries of the same slot, fit and origin are summed, and
//! what no window shows goes; so the cost per added entry is constant, and what is held follows the time that windows
//! cover, not the number of reports.

use gaugeway_wire::{
    Fingerprint, Layout, Nanos,
    codec::put_varint,
    report::{Series, SeriesCounts},
};

use super::{LATE, Place, Slot, Window};
use crate::{counts::Counts, units::ChangeNumber};

/// Bytes that an entry has beside its counts, at most.
const HEADER: usize = 4 + 1 + 5;
/// Room that a log gets beside a half of what it holds.
const ROOM: usize = 192;

/// Where an object's counts came from, as a number that the object gives. Below 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin(pub(crate) u8);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Log {
    bytes: Vec<u8>,
    newest: Slot,
    /// When counts were last left out for want of room.
    lost: Option<Slot>,
}

/// Counts of one slot, fit and origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) slot: Slot,
    pub(super) fits: Window,
    pub(super) origin: Origin,
    counts: &'a [u8],
}

/// Memory for summing up, used again and again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Entries by what they are summed by, and where they are.
    found: Vec<(Key, std::ops::Range<usize>)>,
    summed: Vec<u8>,
    one: One,
}

/// A sum, and its encoding.
#[derive(Debug, Default)]
struct One {
    sum: Option<Counts>,
    encoded: Vec<u8>,
}

type Key = (Slot, Origin, Window);

impl Log {
    /// Adds counts. Room that it needs for that is asked for: `grow` is told how many bytes it would hold more, and says
    /// whether it may. If not, the counts are noted as left out, and the answer is false.
    pub(crate) fn add(
        &mut self,
        place: Place,
        origin: Origin,
        counts: &[u8],
        make_room: impl FnOnce(&mut Self, usize) -> bool,
    ) -> bool {
        let needed = HEADER + counts.len();
        if self.bytes.len() + needed > self.bytes.capacity() && !make_room(self, needed) {
            self.lose(place.slot);
            return false;
        }
        self.newest = self.newest.max(place.slot);
        Entry {
            slot: place.slot,
            fits: place.fits,
            origin,
            counts,
        }
        .put(&mut self.bytes);
        true
    }

    /// Counts of this slot were left out.
    pub(crate) fn lose(&mut self, slot: Slot) {
        self.lost = self.lost.max(Some(slot));
    }

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes that it would hold after [`Log::resize`] for `more` bytes.
    pub(crate) fn wanted(&self, more: usize) -> usize {
        let needed = self.bytes.len() + more;
        needed + needed / 2 + ROOM
    }

    /// Makes room, or gives up some.
    pub(crate) fn resize(&mut self, more: usize) {
        let wanted = self.wanted(more);
        if wanted > self.bytes.capacity() {
            let additional = wanted - self.bytes.len();
            self.bytes.reserve_exact(additional);
        } else if wanted * 2 < self.bytes.capacity() {
            self.bytes.shrink_to(wanted);
        }
    }

    /// Sums what can be, and forgets what is in no window any more.
    pub(crate) fn sum_up(&mut self, running: Slot, layout: &Layout, scratch: &mut Scratch) {
        let Scratch { found, summed, one } = scratch;
        let first = Window::Minutes5.first(running);
        found.clear();
        let mut at = 0;
        while let Some((entry, end)) = Entry::read(&self.bytes, at) {
            if entry.slot >= first {
                let kept = entry.slot.kept_at(running);
                found.push(((kept, entry.origin, entry.fits), at..end));
            }
            at = end;
        }
        found.sort_unstable_by_key(|(key, range)| (*key, range.start));
        summed.clear();
        for run in found.chunk_by(|a, b| a.0 == b.0) {
            match run {
                [(_, alone)] => {
                    let entry = self.bytes.get(alone.clone());
                    summed.extend_from_slice(entry.unwrap_or_default());
                }
                _ => self.sum(run, layout, summed, one),
            }
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(summed);
    }

    fn sum(
        &self,
        run: &[(Key, std::ops::Range<usize>)],
        layout: &Layout,
        out: &mut Vec<u8>,
        one: &mut One,
    ) {
        let One { sum, encoded } = one;
        let sum = match sum {
            Some(sum) if sum.latency.layout() == layout => sum,
            _ => sum.insert(Counts::new(layout.clone())),
        };
        sum.clear();
        for (_, range) in run {
            if let Some((entry, _)) = Entry::read(&self.bytes, range.start) {
                entry.add_to(sum, layout);
            }
        }
        if let Some(((slot, origin, fits), _)) = run.first() {
            encoded.clear();
            keep(sum, encoded);
            Entry {
                slot: *slot,
                fits: *fits,
                origin: *origin,
                counts: encoded,
            }
            .put(out);
        }
    }

    /// Cuts all buckets anew.
    pub(crate) fn rebucket(&mut self, from: &Layout, to: &Layout) {
        let mut out = Vec::with_capacity(self.bytes.capacity());
        let mut one = Vec::new();
        for entry in entries(&self.bytes) {
            let mut counts = Counts::new(from.clone());
            entry.add_to(&mut counts, from);
            counts.latency.rebucket(to);
            one.clear();
            keep(&counts, &mut one);
            Entry {
                counts: &one,
                ..entry
            }
            .put(&mut out);
        }
        self.bytes = out;
    }

    /// Whether nothing is held that a window shows: the object can be forgotten.
    pub(crate) fn is_over(&self, running: Slot) -> bool {
        let first = Window::Minutes5.first(running);
        (self.bytes.is_empty() || self.newest < first) && self.lost.is_none_or(|lost| lost < first)
    }

    /// Appends the entries that a window shows, wherever it ends.
    pub(super) fn copy(&self, window: Window, running: Slot, out: &mut Vec<u8>) {
        let shown = window.shown(running, LATE).start..running;
        for entry in entries(&self.bytes).filter(|e| shown.contains(&e.slot) && e.fits <= window) {
            entry.put(out);
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn lost(&self) -> Option<Slot> {
        self.lost
    }
}

/// All entries.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (entry, end) = Entry::read(bytes, at)?;
        at = end;
        Some(entry)
    })
}

impl<'a> Entry<'a> {
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.slot.0.to_le_bytes());
        out.push(self.fits.code() | self.origin.0 << 2);
        put_varint(out, self.counts.len() as u64);
        out.extend_from_slice(self.counts);
    }

    /// The entry that begins there, and where it ends.
    fn read(bytes: &'a [u8], at: usize) -> Option<(Self, usize)> {
        let (slot, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
        let (flags, mut rest) = rest.split_first()?;
        let mut length = 0_usize;
        let mut shift = 0_u32;
        loop {
            let (byte, more) = rest.split_first()?;
            rest = more;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if *byte < 0x80 {
                break;
            }
            shift += 7;
        }
        let counts = rest.get(..length)?;
        let entry = Self {
            slot: Slot(u32::from_le_bytes(*slot)),
            fits: Window::of_code(*flags),
            origin: Origin(flags >> 2),
            counts,
        };
        Some((entry, bytes.len() - rest.len() + length))
    }

    /// Adds its counts, which are of this layout.
    pub(super) fn add_to(&self, sum: &mut Counts, layout: &Layout) {
        if let Some(series) = Series::kept(self.counts) {
            sum.add(layout, &series, ChangeNumber::default());
        }
    }
}

/// Appends counts as an entry has them. A sum stops at the top of 64 bits.
pub(crate) fn keep(counts: &Counts, out: &mut Vec<u8>) {
    let short = |long: u128| Nanos(u64::try_from(long).unwrap_or(u64::MAX));
    SeriesCounts {
        target: Fingerprint(0),
        route: "",
        requests: counts.requests.iter().map(|of| (of.class, of.count)),
        native: counts.latency.native(),
        classic: counts.latency.classic().enumerate(),
        zero_count: counts.latency.zero_count(),
        sum: short(counts.latency.sum_ns()),
        retries: counts.retries,
        aborted: counts.aborted,
        latency_unknown: counts.latency_unknown,
        cancelled_wait: short(counts.cancelled_wait_ns),
    }
    .keep(out);
}
