//! Reading a mapping answer.

use super::read_key;
use crate::{
    codec::{DecodeError, Occurrences, Reader, set_once},
    limits::{CANDIDATES, DEFINITIONS, HINTS, KEY_BYTES, MESSAGE_BYTES},
    policy::Policy,
    target::{Definitions, Fingerprint, TargetDefinition},
    units::{Answer, Generation, MappingEpoch, Nanos},
};

/// A decoded answer, borrowing from its bytes. One that was [decoded](Self::decode) was checked wholly, so its iterators
/// cannot fail. One that was only [opened](Self::open) is checked part by part: a large answer can then be worked off in
/// steps, none of which takes long.
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
    /// Decodes and checks. Allocates nothing but the policy.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let answer = Self::open(bytes)?;
        let mut parts = Parts::new(bytes, 0);
        while parts.advance()?.is_some() {}
        Ok(answer)
    }

    /// Decodes and checks all but the inside of targets and entries, which [`Parts`] does.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MESSAGE_BYTES {
            return Err(DecodeError::Bound("MappingAnswer"));
        }
        let mut answer = Self {
            mapping_epoch: MappingEpoch(0),
            generation: Generation(0),
            answer: Answer(0),
            more: false,
            policy: None,
            bytes,
        };
        let mut targets = 0;
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("MappingAnswer")? {
            match tag.field {
                1 => {
                    let epoch = reader.fixed64(tag, "MappingAnswer.mapping_epoch")?;
                    answer.mapping_epoch = MappingEpoch(epoch);
                }
                2 => {
                    answer.generation = Generation(reader.uint(tag, "MappingAnswer.generation")?);
                }
                3 => answer.answer = Answer(reader.uint(tag, "MappingAnswer.answer")?),
                4 => answer.more = reader.flag(tag, "MappingAnswer.more")?,
                5 => {
                    let policy = Policy::decode(reader.bytes(tag, "MappingAnswer.policy")?)?;
                    set_once(&mut answer.policy, policy, "MappingAnswer.policy")?;
                }
                6 => {
                    const NAME: &str = "MappingAnswer.targets";
                    reader.bytes(tag, NAME)?;
                    bump(&mut targets, DEFINITIONS, NAME)?;
                }
                7 => drop(reader.bytes(tag, "MappingAnswer.entries")?),
                _ => reader.skip(tag, "MappingAnswer")?,
            }
        }
        Ok(answer)
    }

    /// Definitions of targets.
    pub fn targets(&self) -> impl Iterator<Item = TargetDefinition<'a>> + use<'a> {
        Definitions(Occurrences::new(self.bytes, 6))
    }

    /// Entries.
    pub fn entries(&self) -> impl Iterator<Item = MappingEntry<'a>> + use<'a> {
        Occurrences::new(self.bytes, 7).map_while(|bytes| MappingEntry::decode(bytes).ok())
    }
}

/// A target or an entry of an answer.
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// A definition.
    Target(TargetDefinition<'a>),
    /// A key and its candidates.
    Entry(MappingEntry<'a>),
}

/// The targets and entries of an answer that was opened, in the order in which they were written. Can be left and taken
/// up again at its [position](Self::position).
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    reader: Reader<'a>,
    bytes: usize,
}

impl<'a> Parts<'a> {
    /// From a position on, which is 0 or was told for the same bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8], position: usize) -> Self {
        Self {
            reader: Reader::new(bytes.get(position..).unwrap_or_default()),
            bytes: bytes.len(),
        }
    }

    /// What comes next.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.bytes - self.reader.left()
    }

    /// The next one, checked wholly; after an error there is no next one.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn advance(&mut self) -> Result<Option<Part<'a>>, DecodeError> {
        while let Some(tag) = self.reader.tag("MappingAnswer")? {
            match tag.field {
                6 => {
                    let bytes = self.reader.bytes(tag, "MappingAnswer.targets")?;
                    return TargetDefinition::decode(bytes)
                        .map(|target| Some(Part::Target(target)));
                }
                7 => {
                    let bytes = self.reader.bytes(tag, "MappingAnswer.entries")?;
                    return MappingEntry::check(bytes).map(|entry| Some(Part::Entry(entry)));
                }
                _ => self.reader.skip(tag, "MappingAnswer")?,
            }
        }
        Ok(None)
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
        Occurrences::new(self.bytes, 2).map_while(|bytes| Candidate::decode(bytes).ok())
    }

    /// All of an entry, its candidates and hints included.
    fn check(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let entry = Self::decode(bytes)?;
        let mut candidates = 0;
        for candidate in Occurrences::new(bytes, 2) {
            bump(&mut candidates, CANDIDATES, "MappingEntry.candidates")?;
            Candidate::decode(candidate)?;
        }
        Ok(entry)
    }

    /// Its own fields; of candidates only that they are whole.
    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut key = None;
        let mut age_ms = 0;
        let mut previous = None;
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("MappingEntry")? {
            match tag.field {
                1 => key = Some(read_key(&mut reader, tag, "MappingEntry.key")?),
                2 => drop(reader.bytes(tag, "MappingEntry.candidates")?),
                3 => age_ms = reader.uint(tag, "MappingEntry.age_ms")?,
                4 => {
                    previous = Some(Fingerprint(reader.fixed64(tag, "MappingEntry.previous")?));
                }
                _ => reader.skip(tag, "MappingEntry")?,
            }
        }
        Ok(Self {
            key: key.ok_or(DecodeError::Missing("MappingEntry.key"))?,
            age: Nanos::from_millis(age_ms),
            previous,
            bytes,
        })
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
        Occurrences::new(self.bytes, 2).map_while(|hint| core::str::from_utf8(hint).ok())
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        const HINT: &str = "Candidate.hints";
        let mut target = None;
        let mut hints = 0;
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("Candidate")? {
            match tag.field {
                1 => target = Some(Fingerprint(reader.fixed64(tag, "Candidate.target")?)),
                2 => {
                    reader.text(tag, HINT, KEY_BYTES)?;
                    bump(&mut hints, HINTS, HINT)?;
                }
                _ => reader.skip(tag, "Candidate")?,
            }
        }
        Ok(Self {
            target: target.ok_or(DecodeError::Missing("Candidate.target"))?,
            bytes,
        })
    }
}

/// Counts one more of something that has a bound.
fn bump(count: &mut usize, max: usize, name: &'static str) -> Result<(), DecodeError> {
    *count += 1;
    if *count > max {
        return Err(DecodeError::Bound(name));
    }
    Ok(())
}
