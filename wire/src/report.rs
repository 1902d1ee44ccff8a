//! Reports: what one worker VM counted over a span.

use alloc::vec::Vec;

use crate::{
    DecodeError,
    histogram::Layout,
    mapping::MappingRequest,
    outcome::RequestClass,
    target::{Fingerprint, TargetDefinition},
    units::{LedgerEpoch, Nanos, Seq, UnixNanos, VmId},
};

/// The filter's own counters. Numbers of the proto's `FilterCounter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub enum FilterCounter {
    ClockSteps = 1,
    HostErrors = 2,
    TableOverflows = 3,
    Unknown = 4,
    Ambiguous = 5,
    Reattributed = 6,
    Resends = 7,
    RefusedReports = 8,
    DroppedRequests = 9,
    CallFailures = 10,
    BadConfigurations = 11,
    BadAnswers = 12,
    Unrecorded = 13,
}

impl FilterCounter {
    /// All, in wire order.
    pub const ALL: [Self; 13] = [
        Self::ClockSteps,
        Self::HostErrors,
        Self::TableOverflows,
        Self::Unknown,
        Self::Ambiguous,
        Self::Reattributed,
        Self::Resends,
        Self::RefusedReports,
        Self::DroppedRequests,
        Self::CallFailures,
        Self::BadConfigurations,
        Self::BadAnswers,
        Self::Unrecorded,
    ];

    /// Value of the `reason` label in the controller's metrics, e.g. `clock_steps`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClockSteps => "clock_steps",
            Self::HostErrors => "host_errors",
            Self::TableOverflows => "table_overflows",
            Self::Unknown => "unknown",
            Self::Ambiguous => "ambiguous",
            Self::Reattributed => "reattributed",
            Self::Resends => "resends",
            Self::RefusedReports => "refused_reports",
            Self::DroppedRequests => "dropped_requests",
            Self::CallFailures => "call_failures",
            Self::BadConfigurations => "bad_configurations",
            Self::BadAnswers => "bad_answers",
            Self::Unrecorded => "unrecorded",
        }
    }
}

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
}

impl<'a> Report<'a> {
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(_bytes: &'a [u8]) -> Result<Self, DecodeError> {
        todo!()
    }

    /// The series.
    pub fn series(&self) -> impl Iterator<Item = Series<'a>> + use<'a> {
        let _ = self.bytes;
        core::iter::empty()
    }

    /// The filter's own counters; unknown ones are skipped.
    pub fn counters(&self) -> impl Iterator<Item = (FilterCounter, u64)> + use<'a> {
        core::iter::empty()
    }
}

/// Counts of one (target, route), borrowed.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct Series<'a> {
    pub target: Fingerprint,
    /// Empty when not recorded.
    pub route: &'a str,
    pub retries: u64,
    pub aborted: u64,
    pub latency_unknown: u64,
    pub cancelled_wait: Nanos,
    pub sum: Nanos,
    pub zero_count: u64,
    requests: &'a [u8],
    native: &'a [u8],
    classic: &'a [u8],
}

impl<'a> Series<'a> {
    /// Increases per class; classes of later versions are skipped.
    pub fn requests(&self) -> impl Iterator<Item = (RequestClass, u64)> + use<'a> {
        let _ = self.requests;
        core::iter::empty()
    }

    /// Native buckets (index, increase), ascending.
    pub fn native(&self) -> impl Iterator<Item = (i32, u64)> + use<'a> {
        let _ = self.native;
        core::iter::empty()
    }

    /// Classic buckets (position, increase), ascending, not cumulative.
    pub fn classic(&self) -> impl Iterator<Item = (usize, u64)> + use<'a> {
        let _ = self.classic;
        core::iter::empty()
    }
}

/// What [`ReportWriter::series`] takes. Iterators are walked up to twice (size, then bytes).
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct SeriesCounts<'a, R, N, C>
where
    R: Iterator<Item = (RequestClass, u64)> + Clone,
    N: Iterator<Item = (i32, u64)> + Clone,
    C: Iterator<Item = (usize, u64)> + Clone,
{
    pub target: Fingerprint,
    pub route: &'a str,
    /// Non-zero increases, ascending by class index.
    pub requests: R,
    /// Non-zero native buckets, ascending.
    pub native: N,
    /// Non-zero classic buckets, ascending.
    pub classic: C,
    pub zero_count: u64,
    pub sum: Nanos,
    pub retries: u64,
    pub aborted: u64,
    pub latency_unknown: u64,
    pub cancelled_wait: Nanos,
}

/// Writes one report, never over [`crate::limits::MESSAGE_BYTES`], into a buffer that it was given.
#[derive(Debug)]
pub struct ReportWriter {
    _out: Vec<u8>,
}

impl ReportWriter {
    /// Starts in `buffer` (cleared, its capacity reused).
    #[must_use]
    pub fn new(_buffer: Vec<u8>, _vm: VmId, _seq: Seq, _from: UnixNanos, _layout: &Layout) -> Self {
        todo!()
    }

    /// Adds a series. Returns false, having written nothing, when it would pass the bound.
    #[must_use]
    pub fn series<R, N, C>(&mut self, _series: SeriesCounts<'_, R, N, C>) -> bool
    where
        R: Iterator<Item = (RequestClass, u64)> + Clone,
        N: Iterator<Item = (i32, u64)> + Clone,
        C: Iterator<Item = (usize, u64)> + Clone,
    {
        todo!()
    }

    /// Adds the filter's counters (non-zero increases). Room for all of them is always kept.
    pub fn counters(&mut self, _counters: impl Iterator<Item = (FilterCounter, u64)>) {
        todo!()
    }

    /// Ends it.
    #[must_use]
    pub fn finish(self, _to: UnixNanos) -> Vec<u8> {
        todo!()
    }
}

/// See the proto. Borrowed.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct ReportCall<'a> {
    /// An encoded [`Report`]; empty when there is none.
    pub report: &'a [u8],
    pub mapping: Option<MappingRequest>,
    definitions: &'a [u8],
}

impl<'a> ReportCall<'a> {
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(_bytes: &'a [u8]) -> Result<Self, DecodeError> {
        todo!()
    }

    /// Definitions that the controller had asked for.
    pub fn definitions(&self) -> impl Iterator<Item = TargetDefinition<'a>> + use<'a> {
        let _ = self.definitions;
        core::iter::empty()
    }

    /// Encodes a call.
    pub fn encode<'d>(
        _report: &[u8],
        _definitions: impl Iterator<Item = TargetDefinition<'d>>,
        _mapping: Option<&MappingRequest>,
        _out: &mut Vec<u8>,
    ) {
        todo!()
    }
}

/// See the proto.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct ReportAnswer<'a> {
    pub ledger_epoch: LedgerEpoch,
    pub seq: Seq,
    pub undefined: Vec<Fingerprint>,
    /// An encoded [`crate::MappingAnswer`].
    pub mapping: Option<&'a [u8]>,
    pub rejected_series: u64,
}

impl<'a> ReportAnswer<'a> {
    /// Encodes onto the end of `out`.
    pub fn encode(&self, _out: &mut Vec<u8>) {
        todo!()
    }

    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(_bytes: &'a [u8]) -> Result<Self, DecodeError> {
        todo!()
    }
}
