//! Reports: what one worker VM counted over a span.

mod call;
mod decode;
mod series;
mod writer;

pub use call::{ReportAnswer, ReportCall};
pub use decode::Report;
pub use series::Series;
pub use writer::{ReportWriter, SeriesCounts};

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

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// The inverse of [`FilterCounter::number`]; `None` for what a later version sends.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        let position = usize::try_from(number.checked_sub(1)?).ok()?;
        Self::ALL.get(position).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn counter_numbers_come_back() {
        for counter in FilterCounter::ALL {
            assert_eq!(FilterCounter::from_number(counter.number()), Some(counter));
        }
        for unknown in [0, 14, u64::MAX] {
            assert_eq!(FilterCounter::from_number(unknown), None);
        }
    }
}
