//! Writing a mapping answer.

use alloc::{string::String, vec::Vec};

use crate::{
    codec::{put_bytes, put_fixed64, put_message, put_uint},
    limits::{CANDIDATES, DEFINITIONS, ENTRY_HINT_BYTES, HINTS, KEY_BYTES, MESSAGE_BYTES},
    policy::Policy,
    target::{Fingerprint, TargetDefinition},
    units::{Answer, Generation, MappingEpoch, Nanos},
};

/// Bytes kept for what [`MappingAnswerWriter::finish`] appends: an epoch, two numbers, a flag.
const TAIL_BYTES: usize = 9 + 11 + 11 + 2;

/// Writes an answer, never over [`crate::limits::MESSAGE_BYTES`], and only what a decoder takes: candidates and hints
/// over their bounds are left out from the end.
#[derive(Debug, Default)]
pub struct MappingAnswerWriter {
    out: Vec<u8>,
    definitions: usize,
    entries: usize,
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
        Self::default()
    }

    /// Whether it has no entries yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Adds the policy. First, and at most once.
    pub fn policy(&mut self, policy: &Policy) {
        put_message(&mut self.out, 5, |out| policy.encode(out));
    }

    /// Adds an entry together with the definitions it needs, all or nothing.
    /// Returns false, having written nothing, when that would pass the bound: finish with `more` and go on in the next.
    /// Never false for the first entry of an answer, if it has at most one definition per candidate and one for
    /// `previous`.
    #[must_use]
    pub fn entry(
        &mut self,
        key: &str,
        candidates: &[OwnedCandidate],
        age: Nanos,
        previous: Option<Fingerprint>,
        definitions: &[TargetDefinition<'_>],
    ) -> bool {
        let start = self.out.len();
        let definitions = definitions.iter().filter(|one| one.is_sendable());
        let mut defined = self.definitions;
        for definition in definitions {
            definition.encode(6, &mut self.out);
            defined += 1;
        }
        put_message(&mut self.out, 7, |out| {
            put_entry(out, key, candidates, age, previous);
        });
        let fits = self.out.len() + TAIL_BYTES <= MESSAGE_BYTES && defined <= DEFINITIONS;
        if fits {
            self.definitions = defined;
            self.entries += 1;
        } else {
            self.out.truncate(start);
        }
        fits
    }

    /// Ends it.
    #[must_use]
    pub fn finish(
        mut self,
        epoch: MappingEpoch,
        generation: Generation,
        answer: Answer,
        more: bool,
    ) -> Vec<u8> {
        put_fixed64(&mut self.out, 1, epoch.0);
        put_uint(&mut self.out, 2, generation.0);
        put_uint(&mut self.out, 3, answer.0);
        put_uint(&mut self.out, 4, more.into());
        self.out
    }
}

fn put_entry(
    out: &mut Vec<u8>,
    key: &str,
    candidates: &[OwnedCandidate],
    age: Nanos,
    previous: Option<Fingerprint>,
) {
    put_bytes(out, 1, key.as_bytes());
    let mut room = ENTRY_HINT_BYTES;
    for candidate in candidates.iter().take(CANDIDATES) {
        put_message(out, 2, |out| put_candidate(out, candidate, &mut room));
    }
    put_uint(out, 3, age.as_millis());
    if let Some(previous) = previous {
        put_fixed64(out, 4, previous.0);
    }
}

fn put_candidate(out: &mut Vec<u8>, candidate: &OwnedCandidate, room: &mut usize) {
    put_fixed64(out, 1, candidate.target.0);
    let hints = candidate.hints.iter().map(String::as_bytes);
    for hint in hints.filter(|hint| hint.len() <= KEY_BYTES).take(HINTS) {
        let Some(left) = room.checked_sub(hint.len()) else {
            return;
        };
        *room = left;
        put_bytes(out, 2, hint);
    }
}
