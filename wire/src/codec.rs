//! Bounded pull decoding and encoding of protobuf.

/// Why bytes are not a message. Names the field, never echoes the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("{0}: the input ends inside it")]
    Truncated(&'static str),
    /// Over a bound of [`crate::limits`].
    #[error("{0}: over its bound")]
    Bound(&'static str),
    /// A value that the field cannot have.
    #[error("{0}: not a legal value")]
    Value(&'static str),
    /// A wire type that the field cannot have, or none at all.
    #[error("{0}: wrong wire type")]
    WireType(&'static str),
    /// A required field is absent.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// Memory was refused.
    #[error("{0}: no memory for it")]
    Memory(&'static str),
}
