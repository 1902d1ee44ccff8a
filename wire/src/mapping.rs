//! Mapping: upstream keys to targets.

use alloc::{string::String, vec::Vec};

use crate::{
    DecodeError,
    policy::Policy,
    target::{Fingerprint, TargetDefinition},
    units::{Answer, Generation, MappingEpoch, Nanos, VmId},
};

/// Prefix of keys that name a host's cluster (Kong: service) instead of an address.
pub const CLUSTER_PREFIX: &str = "cluster:";

/// See `MappingRequest` in the proto. Owned: it is small and rare.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct MappingRequest {
    pub vm: VmId,
    pub mapping_epoch: MappingEpoch,
    pub generation: Generation,
    pub received: Answer,
    pub subscribe: Vec<String>,
    pub release: Vec<String>,
    pub no_wait: bool,
}

impl MappingRequest {
    /// Encodes onto the end of `out`.
    pub fn encode(&self, _out: &mut Vec<u8>) {
        todo!()
    }

    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(_bytes: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }
}

/// A decoded answer, borrowing from its bytes. The whole message was checked when it was decoded, so the iterators
/// cannot fail: a filter applies an answer wholly or not at all.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct MappingAnswer<'a> {
    pub mapping_epoch: MappingEpoch,
    pub generation: Generation,
    pub answer: Answer,
    pub more: bool,
    pub policy: Option<Policy>,
    bytes: &'a [u8],
}

impl<'a> MappingAnswer<'a> {
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(_bytes: &'a [u8]) -> Result<Self, DecodeError> {
        todo!()
    }

    /// Definitions of targets.
    pub fn targets(&self) -> impl Iterator<Item = TargetDefinition<'a>> + use<'a> {
        let _ = self.bytes;
        core::iter::empty()
    }

    /// Entries.
    pub fn entries(&self) -> impl Iterator<Item = MappingEntry<'a>> + use<'a> {
        core::iter::empty()
    }
}

/// One key's candidates, borrowed.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct MappingEntry<'a> {
    pub key: &'a str,
    pub age: Nanos,
    pub previous: Option<Fingerprint>,
    bytes: &'a [u8],
}

impl<'a> MappingEntry<'a> {
    /// The candidates in order, each with its hints.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
        let _ = self.bytes;
        core::iter::empty()
    }
}

/// One candidate, borrowed.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its target.
    pub target: Fingerprint,
    bytes: &'a [u8],
}

impl<'a> Candidate<'a> {
    /// Names of clusters through which a gateway reaches it.
    pub fn hints(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let _ = self.bytes;
        core::iter::empty()
    }
}

/// Writes an answer, never over [`crate::limits::MESSAGE_BYTES`].
#[derive(Debug)]
pub struct MappingAnswerWriter {
    _out: Vec<u8>,
}

/// An owned candidate, for the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedCandidate {
    /// Its target.
    pub target: Fingerprint,
    /// Names of clusters through which a gateway reaches it.
    pub hints: Vec<String>,
}

impl MappingAnswerWriter {
    /// An empty answer.
    #[must_use]
    pub fn new() -> Self {
        todo!()
    }

    /// Adds the policy. First, and at most once.
    pub fn policy(&mut self, _policy: &Policy) {
        todo!()
    }

    /// Adds an entry together with the definitions it needs, all or nothing.
    /// Returns false, having written nothing, when that would pass the bound: finish with `more` and go on in the next.
    #[must_use]
    pub fn entry(
        &mut self,
        _key: &str,
        _candidates: &[OwnedCandidate],
        _age: Nanos,
        _previous: Option<Fingerprint>,
        _definitions: &[TargetDefinition<'_>],
    ) -> bool {
        todo!()
    }

    /// Ends it.
    #[must_use]
    pub fn finish(
        self,
        _epoch: MappingEpoch,
        _generation: Generation,
        _answer: Answer,
        _more: bool,
    ) -> Vec<u8> {
        todo!()
    }
}

impl Default for MappingAnswerWriter {
    fn default() -> Self {
        Self::new()
    }
}
