//! `gaugeway.proto` as prost reads it. The tests of `gaugeway-wire` compare its own codec with this one; no product
//! crate uses it, so that normal builds need neither prost nor a protobuf compiler.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "documented in gaugeway.proto")]
#![allow(clippy::all, reason = "generated")]

pub use prost::{Message, encoding::decode_varint};

include!(concat!(env!("OUT_DIR"), "/gaugeway.v1.rs"));
