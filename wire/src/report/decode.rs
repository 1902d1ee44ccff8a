//! Reading a report.

use alloc::vec::Vec;

use super::{FilterCounter, Series};
use crate::{
    codec::{DecodeError, Occurrences, Pairs, Reader, set_once, try_push},
    histogram::Layout,
    limits::{CLASSIC_BOUNDS, MESSAGE_BYTES, SPAN_NS},
    policy::{ClassicBounds, Schema},
    units::{Nanos, Seq, UnixNanos, VmId},
};

/// A decoded report, borrowing from its bytes. Checked as a whole when decoded (bounds, ascending pairs, native and
/// classic counts that agree, from ≤ to, span within its limit): the iterators cannot fail.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct Report<'a> {
    pub vm: VmId,
    pub seq: Seq,
    pub from: UnixNanos,
    pub to: UnixNanos,
    pub layout: Layout,
    bytes: &'a [u8],
    counters: &'a [u8],
}

/// What a report says besides its series, unchecked.
#[derive(Default)]
struct Header<'a> {
    vm: Option<VmId>,
    seq: u64,
    from: u64,
    to: u64,
    schema: u32,
    bounds: Vec<Nanos>,
    counters: Option<&'a [u8]>,
}

impl<'a> Report<'a> {
    /// Decodes and checks. Allocates nothing but the layout's bounds.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MESSAGE_BYTES {
            return Err(DecodeError::Bound("Report"));
        }
        let report = Header::decode(bytes)?.check(bytes)?;
        for series in Occurrences::new(bytes, 7) {
            Series::decode(series)?.check(&report.layout)?;
        }
        Ok(report)
    }

    /// The series.
    pub fn series(&self) -> impl Iterator<Item = Series<'a>> + use<'a> {
        Occurrences::new(self.bytes, 7).map_while(|bytes| Series::decode(bytes).ok())
    }

    /// The filter's own counters; unknown ones are skipped.
    pub fn counters(&self) -> impl Iterator<Item = (FilterCounter, u64)> + use<'a> {
        Pairs::new(self.counters)
            .filter_map(|(number, increase)| Some((FilterCounter::from_number(number)?, increase)))
    }
}

impl<'a> Header<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut header = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("Report")? {
            match tag.field {
                1 => header.vm = Some(VmId::read(&mut reader, tag, "Report.vm")?),
                2 => header.seq = reader.uint(tag, "Report.seq")?,
                3 => header.from = reader.fixed64(tag, "Report.from_ns")?,
                4 => header.to = reader.fixed64(tag, "Report.to_ns")?,
                5 => header.schema = reader.uint32(tag, "Report.schema")?,
                6 => {
                    const NAME: &str = "Report.classic_bounds_ns";
                    reader.uints(tag, NAME, |bound| {
                        try_push(&mut header.bounds, Nanos(bound), NAME, CLASSIC_BOUNDS)
                    })?;
                }
                7 => drop(reader.bytes(tag, "Report.series")?),
                8 => {
                    const NAME: &str = "Report.counters";
                    set_once(&mut header.counters, reader.bytes(tag, NAME)?, NAME)?;
                }
                _ => reader.skip(tag, "Report")?,
            }
        }
        Ok(header)
    }

    fn check(self, bytes: &'a [u8]) -> Result<Report<'a>, DecodeError> {
        let (from, to) = (UnixNanos(self.from), UnixNanos(self.to));
        let span = to.since(from).ok_or(DecodeError::Value("Report.to_ns"))?;
        if span.0 > SPAN_NS {
            return Err(DecodeError::Bound("Report.to_ns"));
        }
        if self.seq == 0 {
            return Err(DecodeError::Missing("Report.seq"));
        }
        let counters = self.counters.unwrap_or_default();
        let mut pairs = Pairs::new(counters);
        while pairs.checked("Report.counters")?.is_some() {}
        Ok(Report {
            vm: self.vm.ok_or(DecodeError::Missing("Report.vm"))?,
            seq: Seq(self.seq),
            from,
            to,
            layout: Layout {
                schema: Schema::try_new(self.schema).ok_or(DecodeError::Value("Report.schema"))?,
                bounds: ClassicBounds::try_new(self.bounds)
                    .map_err(|_| DecodeError::Value("Report.classic_bounds_ns"))?,
            },
            bytes,
            counters,
        })
    }
}
