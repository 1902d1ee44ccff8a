//! What the filter and the controller must agree on, in one `no_std` crate: units, labels and fingerprints,
//! histograms, mapping, policy, reports, and their protobuf encoding (`proto/gaugeway.proto`).
//!
//! Decoders are pull decoders over borrowed bytes: every length and count is checked against [`limits`] before
//! anything is allocated, unknown fields are skipped, and no input can make them panic.
//! The crate does no IO, reads no clock and keeps no global state.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod codec;
pub mod gateway;
pub mod histogram;
pub mod limits;
pub mod mapping;
pub mod outcome;
pub mod policy;
pub mod report;
pub mod target;
pub mod units;

pub use codec::DecodeError;
pub use gateway::GatewayName;
pub use histogram::{Histogram, Layout};
pub use mapping::{MappingAnswer, MappingEntry, MappingRequest};
pub use outcome::{CodeClass, Outcome, RequestClass};
pub use policy::{ClassicBounds, Policy, Schema};
pub use report::{FilterCounter, Report, ReportAnswer, ReportCall};
pub use target::{Fingerprint, Label, Target, TargetDefinition, TargetKind};
pub use units::{Answer, Generation, LedgerEpoch, MappingEpoch, Nanos, Seq, UnixNanos, VmId};

/// Header that names the gateway a token belongs to.
pub const GATEWAY_HEADER: &str = "x-gaugeway-gateway";
/// Path of [`MappingRequest`].
pub const MAPPING_PATH: &str = "/v1/mapping";
/// Path of [`ReportCall`].
pub const REPORT_PATH: &str = "/v1/report";
/// Media type of requests and answers.
pub const CONTENT_TYPE: &str = "application/x-protobuf";
