//! Mapping: upstream keys to targets.

mod answer;
mod writer;

use alloc::{string::String, vec::Vec};

pub use answer::{Candidate, MappingAnswer, MappingEntry, Part, Parts};
pub use writer::{MappingAnswerWriter, OwnedCandidate};

use crate::{
    codec::{
        DecodeError, Reader, Tag, delimited_len, put_bytes, put_fixed64, put_uint, try_push,
        try_text, uint_len,
    },
    limits::{KEY_BYTES, KEYS_PER_REQUEST, REQUEST_BYTES},
    units::{Answer, Generation, MappingEpoch, VmId},
};

/// Prefix of keys that name a host's cluster (Kong: service) instead of an address.
pub const CLUSTER_PREFIX: &str = "cluster:";

/// See `MappingRequest` in the proto. Owned: it is small and rare. Keys are 1 to
/// [`KEY_BYTES`] bytes long.
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
    /// Of a VM that holds nothing.
    #[must_use]
    pub const fn new(vm: VmId) -> Self {
        Self {
            vm,
            mapping_epoch: MappingEpoch(0),
            generation: Generation(0),
            received: Answer(0),
            subscribe: Vec::new(),
            release: Vec::new(),
            no_wait: false,
        }
    }

    /// Encodes onto the end of `out`. It is the caller's part to keep within
    /// [`REQUEST_BYTES`] and [`KEYS_PER_REQUEST`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, 1, &self.vm.0);
        if self.mapping_epoch.0 != 0 {
            put_fixed64(out, 2, self.mapping_epoch.0);
        }
        put_uint(out, 3, self.generation.0);
        put_uint(out, 4, self.received.0);
        for key in &self.subscribe {
            put_bytes(out, 5, key.as_bytes());
        }
        for key in &self.release {
            put_bytes(out, 6, key.as_bytes());
        }
        put_uint(out, 7, self.no_wait.into());
    }

    /// Bytes that [`MappingRequest::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let keys = self.subscribe.iter().chain(&self.release);
        let keys: usize = keys.map(|key| Self::key_len(key)).sum();
        let epoch = if self.mapping_epoch.0 == 0 { 0 } else { 9 };
        1 + delimited_len(self.vm.0.len())
            + epoch
            + uint_len(self.generation.0)
            + uint_len(self.received.0)
            + keys
            + uint_len(self.no_wait.into())
    }

    /// Bytes that one key adds to a request.
    #[must_use]
    pub const fn key_len(key: &str) -> usize {
        1 + delimited_len(key.len())
    }

    /// Decodes and checks.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > REQUEST_BYTES {
            return Err(DecodeError::Bound("MappingRequest"));
        }
        let mut vm = None;
        let mut request = Self::new(VmId([0; 16]));
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("MappingRequest")? {
            match tag.field {
                1 => vm = Some(VmId::read(&mut reader, tag, "MappingRequest.vm")?),
                _ => request.field(&mut reader, tag)?,
            }
        }
        request.vm = vm.ok_or(DecodeError::Missing("MappingRequest.vm"))?;
        Ok(request)
    }

    fn field(&mut self, reader: &mut Reader<'_>, tag: Tag) -> Result<(), DecodeError> {
        match tag.field {
            2 => {
                self.mapping_epoch =
                    MappingEpoch(reader.fixed64(tag, "MappingRequest.mapping_epoch")?);
            }
            3 => self.generation = Generation(reader.uint(tag, "MappingRequest.generation")?),
            4 => self.received = Answer(reader.uint(tag, "MappingRequest.received")?),
            5 => push_key(&mut self.subscribe, reader, tag, "MappingRequest.subscribe")?,
            6 => push_key(&mut self.release, reader, tag, "MappingRequest.release")?,
            7 => self.no_wait = reader.flag(tag, "MappingRequest.no_wait")?,
            _ => reader.skip(tag, "MappingRequest")?,
        }
        Ok(())
    }
}

fn push_key(
    keys: &mut Vec<String>,
    reader: &mut Reader<'_>,
    tag: Tag,
    name: &'static str,
) -> Result<(), DecodeError> {
    let key = read_key(reader, tag, name)?;
    try_push(keys, try_text(key, name)?, name, KEYS_PER_REQUEST)
}

fn read_key<'a>(
    reader: &mut Reader<'a>,
    tag: Tag,
    name: &'static str,
) -> Result<&'a str, DecodeError> {
    let key = reader.text(tag, name, KEY_BYTES)?;
    if key.is_empty() {
        return Err(DecodeError::Value(name));
    }
    Ok(key)
}
