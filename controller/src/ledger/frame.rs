//! Frames: how records stand in a file, so that a cut end and a damaged middle can be told apart.
//!
//! ```text
//! length u32 LE | CRC-32 of the length | CRC-32 of the payload | payload
//! ```
//! A killed process leaves a prefix of what it wrote: the last frame is short ([`Next::Torn`]), and nobody was told that
//! it was written. Everything else that does not fit is damage ([`Next::Corrupt`]): the length has a checksum of its
//! own, else a damaged length would look like a short frame and take all that follows with it.

use std::io::{self, Read};

const HEAD: usize = 12;

/// Appends a frame. Payloads are far below 4 GiB; a longer one is cut, and then refused by its checksum.
pub(super) fn put(out: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc32fast::hash(&length).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Reads the frames of a file.
#[derive(Debug)]
pub(super) struct Frames<R> {
    from: R,
    left: u64,
    good: u64,
    payload: Vec<u8>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    Record(&'a [u8]),
    /// The file ends after a whole frame.
    End,
    /// The file ends inside a frame, or in zeros that were never written.
    Torn,
    Corrupt,
}

impl<R: Read> Frames<R> {
    /// `from` has `length` bytes left, the first of which is at position `at` of its file.
    pub(super) const fn new(from: R, at: u64, length: u64) -> Self {
        Self {
            from,
            left: length,
            good: at,
            payload: Vec::new(),
        }
    }

    /// Position after the last whole frame.
    pub(super) const fn good(&self) -> u64 {
        self.good
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        if self.left == 0 {
            return Ok(Next::End);
        }
        let mut head = [0; HEAD];
        if self.left < HEAD as u64 {
            return Ok(Next::Torn);
        }
        self.read(&mut head)?;
        let [length, length_crc, payload_crc] = split(head);
        if crc32fast::hash(&length.to_le_bytes()) != length_crc {
            let zeros = head == [0; HEAD] && self.only_zeros()?;
            return Ok(if zeros { Next::Torn } else { Next::Corrupt });
        }
        if u64::from(length) > self.left {
            return Ok(Next::Torn);
        }
        // Not above what the file has, so a damaged length cannot ask for memory.
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(length as usize, 0);
        self.read(&mut payload)?;
        self.payload = payload;
        if crc32fast::hash(&self.payload) != payload_crc {
            return Ok(Next::Corrupt);
        }
        self.good += (HEAD + self.payload.len()) as u64;
        Ok(Next::Record(&self.payload))
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.from.read_exact(into)?;
        self.left -= into.len() as u64;
        Ok(())
    }

    fn only_zeros(&mut self) -> io::Result<bool> {
        let mut block = [0; 4096];
        loop {
            match self.from.read(&mut block)? {
                0 => return Ok(true),
                n if block.iter().take(n).any(|&byte| byte != 0) => return Ok(false),
                _ => {}
            }
        }
    }
}

fn split(head: [u8; HEAD]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = head;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All whole records, and how it ended.
    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, &'static str) {
        let mut frames = Frames::new(bytes, 0, bytes.len() as u64);
        let mut records = Vec::new();
        loop {
            match frames.next().unwrap() {
                Next::Record(payload) => records.push(payload.to_vec()),
                Next::End => return (records, "end"),
                Next::Torn => return (records, "torn"),
                Next::Corrupt => return (records, "corrupt"),
            }
        }
    }

    fn file(records: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        records.iter().for_each(|record| put(&mut out, record));
        out
    }

    #[test]
    fn the_bytes_of_a_frame_are_frozen() {
        let mut out = Vec::new();
        put(&mut out, b"ab");
        assert_eq!(
            out,
            [2, 0, 0, 0, 151, 23, 77, 139, 109, 72, 131, 158, b'a', b'b']
        );
    }

    #[test]
    fn zeros_after_the_end_were_never_written() {
        let mut bytes = file(&[vec![1, 2, 3]]);
        bytes.extend([0; 10_000]);
        assert_eq!(read(&bytes), (vec![vec![1, 2, 3]], "torn"));
        bytes.push(1);
        assert_eq!(read(&bytes), (vec![vec![1, 2, 3]], "corrupt"));
    }

    proptest! {
        #[test]
        fn a_cut_file_is_a_prefix_and_torn(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            at: prop::sample::Index,
        ) {
            let bytes = file(&records);
            let cut = at.index(bytes.len() + 1);
            let (found, end) = read(&bytes[..cut]);
            prop_assert_eq!(&found[..], &records[..found.len()]);
            let whole = file(&found).len() == cut;
            prop_assert_eq!(end, if whole { "end" } else { "torn" });
        }

        #[test]
        fn a_flipped_bit_is_never_taken_for_a_cut(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            at: prop::sample::Index,
            bit in 0..8,
        ) {
            let mut bytes = file(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let (found, end) = read(&bytes);
            prop_assert_eq!(&found[..], &records[..found.len()]);
            prop_assert_eq!(end, "corrupt");
        }
    }
}
