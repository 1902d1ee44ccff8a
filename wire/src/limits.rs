//! Bounds of everything that crosses the wire. Decoders check them before they allocate.

/// An encoded report, and an encoded mapping answer, in bytes.
pub const MESSAGE_BYTES: usize = 64 * 1024;
/// Body of a mapping request or of a report call, in bytes (a frozen report plus definitions and a mapping request).
pub const REQUEST_BYTES: usize = 256 * 1024;
/// Keys in `subscribe` or `release` of one mapping request.
pub const KEYS_PER_REQUEST: usize = 1024;
/// An upstream key (address or `cluster:` name), in bytes.
pub const KEY_BYTES: usize = 512;
/// Labels of a target.
pub const LABELS: usize = 32;
/// A label's name, in bytes.
pub const LABEL_NAME_BYTES: usize = 128;
/// A label's value, in bytes.
pub const LABEL_VALUE_BYTES: usize = 512;
/// An encoded target, in bytes. An entry's targets ([`CANDIDATES`] and a previous one) fit in one answer together with
/// [`ENTRY_HINT_BYTES`].
pub const TARGET_BYTES: usize = 2048;
/// A route's name, in bytes.
pub const ROUTE_BYTES: usize = 512;
/// Classic bucket boundaries of a policy.
pub const CLASSIC_BOUNDS: usize = 64;
/// Candidates of one mapping entry.
pub const CANDIDATES: usize = 16;
/// Hints of one candidate.
pub const HINTS: usize = 64;
/// Hints of one entry, all candidates together, in bytes; the writer leaves out what is over.
pub const ENTRY_HINT_BYTES: usize = 16 * 1024;
/// Definitions in one call or answer.
pub const DEFINITIONS: usize = 1024;
/// Fingerprints in `ReportAnswer.undefined`.
pub const UNDEFINED: usize = 1024;
/// A gateway's name, in bytes.
pub const GATEWAY_BYTES: usize = 512;
/// An encoded answer to a report: a mapping answer and the undefined fingerprints.
pub const REPORT_ANSWER_BYTES: usize = MESSAGE_BYTES + 16 * 1024;
/// A policy's report interval, in milliseconds: shortest and longest.
pub const REPORT_INTERVAL_MS: core::ops::RangeInclusive<u32> = 50..=3_600_000;
/// A report's span, in nanoseconds; longer is refused.
pub const SPAN_NS: u64 = 31 * 86_400 * 1_000_000_000;
