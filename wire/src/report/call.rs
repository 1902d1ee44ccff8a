//! The call that carries a report, and its answer.

use alloc::vec::Vec;

use crate::{
    codec::{
        DecodeError, Occurrences, Reader, put_bytes, put_fixed64, put_message, put_present,
        put_uint, set_once, try_push,
    },
    limits::{DEFINITIONS, MESSAGE_BYTES, REPORT_ANSWER_BYTES, REQUEST_BYTES, UNDEFINED},
    mapping::MappingRequest,
    target::{Definitions, Fingerprint, TargetDefinition},
    units::{LedgerEpoch, Seq},
};

/// See the proto. Borrowed.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct ReportCall<'a> {
    /// An encoded [`crate::Report`], not yet checked; empty when there is none.
    pub report: &'a [u8],
    pub mapping: Option<MappingRequest>,
    bytes: &'a [u8],
}

impl<'a> ReportCall<'a> {
    /// Decodes and checks all but the report, which has its own decoder.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > REQUEST_BYTES {
            return Err(DecodeError::Bound("ReportCall"));
        }
        let mut call = Self {
            report: &[],
            mapping: None,
            bytes,
        };
        let mut definitions = 0;
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("ReportCall")? {
            match tag.field {
                1 => call.report = reader.bounded(tag, "ReportCall.report", MESSAGE_BYTES)?,
                2 => {
                    const NAME: &str = "ReportCall.definitions";
                    TargetDefinition::decode(reader.bytes(tag, NAME)?)?;
                    definitions += 1;
                    if definitions > DEFINITIONS {
                        return Err(DecodeError::Bound(NAME));
                    }
                }
                3 => {
                    const NAME: &str = "ReportCall.mapping";
                    let mapping = MappingRequest::decode(reader.bytes(tag, NAME)?)?;
                    set_once(&mut call.mapping, mapping, NAME)?;
                }
                _ => reader.skip(tag, "ReportCall")?,
            }
        }
        Ok(call)
    }

    /// Definitions that the controller had asked for.
    pub fn definitions(&self) -> impl Iterator<Item = TargetDefinition<'a>> + use<'a> {
        Definitions(Occurrences::new(self.bytes, 2))
    }

    /// Encodes a call onto the end of `out`. Takes as many definitions, in order, as fit into [`REQUEST_BYTES`] beside
    /// the rest, and returns how many it took (one that no decoder would take counts and is not sent).
    pub fn encode<'d>(
        report: &[u8],
        definitions: impl Iterator<Item = TargetDefinition<'d>>,
        mapping: Option<&MappingRequest>,
        out: &mut Vec<u8>,
    ) -> usize {
        let start = out.len();
        put_present(out, 1, report);
        if let Some(mapping) = mapping {
            put_message(out, 3, |out| mapping.encode(out));
        }
        let mut taken = 0;
        for definition in definitions.take(DEFINITIONS) {
            if out.len() - start + definition.encoded_len() > REQUEST_BYTES {
                break;
            }
            if definition.is_sendable() {
                definition.encode(2, out);
            }
            taken += 1;
        }
        taken
    }
}

/// See the proto.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct ReportAnswer<'a> {
    pub ledger_epoch: LedgerEpoch,
    pub seq: Seq,
    pub undefined: Vec<Fingerprint>,
    /// An encoded [`crate::MappingAnswer`], not yet checked.
    pub mapping: Option<&'a [u8]>,
    pub rejected_series: u64,
}

impl<'a> ReportAnswer<'a> {
    /// Encodes onto the end of `out`; of `undefined` the first [`UNDEFINED`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_fixed64(out, 1, self.ledger_epoch.0);
        put_uint(out, 2, self.seq.0);
        if !self.undefined.is_empty() {
            put_message(out, 3, |out| {
                for fingerprint in self.undefined.iter().take(UNDEFINED) {
                    out.extend_from_slice(&fingerprint.0.to_le_bytes());
                }
            });
        }
        if let Some(mapping) = self.mapping {
            put_bytes(out, 4, mapping);
        }
        put_uint(out, 5, self.rejected_series);
    }

    /// Decodes and checks all but the mapping answer, which has its own decoder.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > REPORT_ANSWER_BYTES {
            return Err(DecodeError::Bound("ReportAnswer"));
        }
        let mut answer = Self {
            ledger_epoch: LedgerEpoch(0),
            seq: Seq(0),
            undefined: Vec::new(),
            mapping: None,
            rejected_series: 0,
        };
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("ReportAnswer")? {
            match tag.field {
                1 => {
                    let epoch = reader.fixed64(tag, "ReportAnswer.ledger_epoch")?;
                    answer.ledger_epoch = LedgerEpoch(epoch);
                }
                2 => answer.seq = Seq(reader.uint(tag, "ReportAnswer.seq")?),
                3 => {
                    const NAME: &str = "ReportAnswer.undefined";
                    reader.fixed64s(tag, NAME, |number| {
                        try_push(&mut answer.undefined, Fingerprint(number), NAME, UNDEFINED)
                    })?;
                }
                4 => {
                    const NAME: &str = "ReportAnswer.mapping";
                    let mapping = reader.bounded(tag, NAME, MESSAGE_BYTES)?;
                    set_once(&mut answer.mapping, mapping, NAME)?;
                }
                5 => answer.rejected_series = reader.uint(tag, "ReportAnswer.rejected_series")?,
                _ => reader.skip(tag, "ReportAnswer")?,
            }
        }
        Ok(answer)
    }
}
