//! Writing a report.

use alloc::vec::Vec;

use super::FilterCounter;
use crate::{
    codec::{
        WireType, delimited_len, put_bytes, put_fixed64, put_message, put_present, put_tag,
        put_uint, put_varint, uint_len, varint_len, zigzag,
    },
    histogram::Layout,
    limits::{MESSAGE_BYTES, ROUTE_BYTES},
    outcome::RequestClass,
    target::Fingerprint,
    units::{Nanos, Seq, UnixNanos, VmId},
};

const COUNTERS: usize = FilterCounter::ALL.len();
/// Bytes kept for what [`ReportWriter::finish`] appends: the end of the span, and every counter at its longest.
const TAIL_BYTES: usize = 9 + 3 + COUNTERS * (1 + 10);

/// What [`ReportWriter::series`] takes. Iterators are walked twice (size, then bytes).
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct SeriesCounts<'a, R, N, C>
where
    R: Iterator<Item = (RequestClass, u64)> + Clone,
    N: Iterator<Item = (i32, u64)> + Clone,
    C: Iterator<Item = (usize, u64)> + Clone,
{
    pub target: Fingerprint,
    /// Cut to [`ROUTE_BYTES`].
    pub route: &'a str,
    /// Increases, strictly ascending by class index; zeros are left out.
    pub requests: R,
    /// Native buckets, strictly ascending; zeros are left out.
    pub native: N,
    /// Classic buckets, strictly ascending; zeros are left out.
    pub classic: C,
    pub zero_count: u64,
    pub sum: Nanos,
    pub retries: u64,
    pub aborted: u64,
    pub latency_unknown: u64,
    pub cancelled_wait: Nanos,
}

impl<R, N, C> SeriesCounts<'_, R, N, C>
where
    R: Iterator<Item = (RequestClass, u64)> + Clone,
    N: Iterator<Item = (i32, u64)> + Clone,
    C: Iterator<Item = (usize, u64)> + Clone,
{
    /// Appends the counts, without target and route; [`super::Series::kept`] reads them back.
    pub fn keep(self, out: &mut Vec<u8>) {
        Encoded::new(self).put_counts(out);
    }
}

/// Writes one report, never over [`crate::limits::MESSAGE_BYTES`], into a buffer that it was given.
#[derive(Debug)]
pub struct ReportWriter {
    out: Vec<u8>,
    series: usize,
    counters: [u64; COUNTERS],
}

impl ReportWriter {
    /// Starts in `buffer` (cleared, its capacity reused).
    #[must_use]
    pub fn new(mut buffer: Vec<u8>, vm: VmId, seq: Seq, from: UnixNanos, layout: &Layout) -> Self {
        buffer.clear();
        put_bytes(&mut buffer, 1, &vm.0);
        put_uint(&mut buffer, 2, seq.0);
        put_fixed64(&mut buffer, 3, from.0);
        put_uint(&mut buffer, 5, layout.schema.get().into());
        layout.bounds.encode(6, &mut buffer);
        Self {
            out: buffer,
            series: 0,
            counters: [0; COUNTERS],
        }
    }

    /// Whether it has no series yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.series == 0
    }

    /// Adds a series. Returns false, having written nothing, when it would pass the bound; a first series always fits.
    /// Also false when memory is refused: a buffer of [`MESSAGE_BYTES`] never needs any.
    #[must_use]
    pub fn series<R, N, C>(&mut self, series: SeriesCounts<'_, R, N, C>) -> bool
    where
        R: Iterator<Item = (RequestClass, u64)> + Clone,
        N: Iterator<Item = (i32, u64)> + Clone,
        C: Iterator<Item = (usize, u64)> + Clone,
    {
        let series = Encoded::new(series);
        let needed = 1 + delimited_len(series.length);
        let fits = self.out.len() + needed + TAIL_BYTES <= MESSAGE_BYTES;
        if !fits || self.out.try_reserve(needed + TAIL_BYTES).is_err() {
            return false;
        }
        put_tag(&mut self.out, 7, WireType::Bytes);
        put_varint(&mut self.out, series.length as u64);
        series.put(&mut self.out);
        self.series += 1;
        true
    }

    /// Adds increases of the filter's counters. Room for all of them is always kept.
    pub fn counters(&mut self, counters: impl Iterator<Item = (FilterCounter, u64)>) {
        for (counter, increase) in counters {
            if let Some(slot) = self.counters.get_mut(counter as usize - 1) {
                *slot = slot.saturating_add(increase);
            }
        }
    }

    /// Ends it.
    #[must_use]
    pub fn finish(mut self, to: UnixNanos) -> Vec<u8> {
        put_fixed64(&mut self.out, 4, to.0);
        let counters = FilterCounter::ALL.iter().zip(self.counters);
        let mut counters = counters.filter(|&(_, increase)| increase > 0).peekable();
        if counters.peek().is_some() {
            put_message(&mut self.out, 8, |out| {
                for (counter, increase) in counters {
                    put_varint(out, counter.number());
                    put_varint(out, increase);
                }
            });
        }
        self.out
    }
}

/// A series with the lengths of its parts.
struct Encoded<'a, R, N, C> {
    scalars: Scalars<'a>,
    requests: Pairs<R>,
    native: Pairs<N>,
    classic: Pairs<C>,
    latency_length: usize,
    length: usize,
}

struct Scalars<'a> {
    target: Fingerprint,
    route: &'a str,
    zero_count: u64,
    sum: u64,
    /// Fields 5 to 8.
    rest: [u64; 4],
}

/// Pairs of numbers as they will stand in a packed field, and how many bytes they take.
struct Pairs<I> {
    pairs: I,
    length: usize,
}

impl<I: Iterator<Item = (u64, u64)> + Clone> Pairs<I> {
    fn new(pairs: I) -> Self {
        let lengths = pairs.clone().map(|(a, b)| varint_len(a) + varint_len(b));
        Self {
            length: lengths.sum(),
            pairs,
        }
    }

    const fn field_len(&self) -> usize {
        present_len(self.length)
    }

    fn put(self, out: &mut Vec<u8>, field: u32) {
        if self.length == 0 {
            return;
        }
        put_tag(out, field, WireType::Bytes);
        put_varint(out, self.length as u64);
        for (a, b) in self.pairs {
            put_varint(out, a);
            put_varint(out, b);
        }
    }
}

/// Bytes of a field that is left out when it is empty.
pub(super) const fn present_len(content: usize) -> usize {
    if content == 0 {
        0
    } else {
        1 + delimited_len(content)
    }
}

impl<'a> Encoded<'a, (), (), ()> {
    #[allow(clippy::type_complexity, reason = "adapters of the caller's iterators")]
    fn new<R, N, C>(
        counts: SeriesCounts<'a, R, N, C>,
    ) -> Encoded<
        'a,
        impl Iterator<Item = (u64, u64)> + Clone,
        impl Iterator<Item = (u64, u64)> + Clone,
        impl Iterator<Item = (u64, u64)> + Clone,
    >
    where
        R: Iterator<Item = (RequestClass, u64)> + Clone,
        N: Iterator<Item = (i32, u64)> + Clone,
        C: Iterator<Item = (usize, u64)> + Clone,
    {
        let requests = counts.requests.filter(|&(_, count)| count > 0);
        let requests = Pairs::new(requests.map(|(class, count)| (class.index() as u64, count)));
        let native = counts.native.filter(|&(_, count)| count > 0);
        let native = Pairs::new(native.scan(None, |last, (index, count)| {
            let gap = native_gap(last.replace(index), index);
            Some((gap, count))
        }));
        let classic = counts.classic.filter(|&(_, count)| count > 0);
        let classic = Pairs::new(classic.scan(0, |last, (position, count)| {
            let gap = position.saturating_sub(*last);
            *last = position;
            Some((gap as u64, count))
        }));
        let scalars = Scalars {
            target: counts.target,
            route: cut(counts.route),
            zero_count: counts.zero_count,
            sum: counts.sum.0,
            rest: [
                counts.retries,
                counts.aborted,
                counts.latency_unknown,
                counts.cancelled_wait.0,
            ],
        };
        let latency_length = uint_len(scalars.sum)
            + uint_len(scalars.zero_count)
            + native.field_len()
            + classic.field_len();
        let length = scalars.len() + requests.field_len() + present_len(latency_length);
        Encoded {
            scalars,
            requests,
            native,
            classic,
            latency_length,
            length,
        }
    }
}

impl<R, N, C> Encoded<'_, R, N, C>
where
    R: Iterator<Item = (u64, u64)> + Clone,
    N: Iterator<Item = (u64, u64)> + Clone,
    C: Iterator<Item = (u64, u64)> + Clone,
{
    fn put(self, out: &mut Vec<u8>) {
        put_fixed64(out, 1, self.scalars.target.0);
        put_present(out, 2, self.scalars.route.as_bytes());
        self.put_counts(out);
    }

    fn put_counts(self, out: &mut Vec<u8>) {
        self.requests.put(out, 3);
        if self.latency_length > 0 {
            put_tag(out, 4, WireType::Bytes);
            put_varint(out, self.latency_length as u64);
            put_uint(out, 1, self.scalars.sum);
            put_uint(out, 2, self.scalars.zero_count);
            self.native.put(out, 3);
            self.classic.put(out, 4);
        }
        for (field, value) in (5..).zip(self.scalars.rest) {
            put_uint(out, field, value);
        }
    }
}

impl Scalars<'_> {
    /// Bytes of the fields of the series itself.
    fn len(&self) -> usize {
        let rest: usize = self.rest.iter().map(|&value| uint_len(value)).sum();
        9 + present_len(self.route.len()) + rest
    }
}

/// A gap of 0 (indexes that do not ascend) is refused by the decoder.
fn native_gap(last: Option<i32>, index: i32) -> u64 {
    match last {
        None => zigzag(index),
        Some(last) => u64::try_from(i64::from(index) - i64::from(last)).unwrap_or(0),
    }
}

/// At most [`ROUTE_BYTES`] of a route's name, whole characters.
fn cut(route: &str) -> &str {
    let end = route.floor_char_boundary(ROUTE_BYTES);
    route.get(..end).unwrap_or_default()
}
