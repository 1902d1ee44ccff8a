//! One gzip member out of parts that were compressed apart.
//!
//! A part begins with an empty window and ends on a byte (deflate's full flush), so parts can be kept and put together in
//! any order. Their checksums are combined; nothing is compressed or summed twice.
//! Source: RFC 1951, RFC 1952, zlib's manual on `Z_FULL_FLUSH`.

use std::fmt;

use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

/// Fast: the lines of a family are much alike, so a higher level gains little.
const LEVEL: u32 = 1;
/// Magic, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];
/// Longest stored block.
const STORED: usize = 0xffff;

/// A part, compressed.
#[derive(Clone)]
pub(crate) struct Segment {
    deflated: Box<[u8]>,
    sum: Hasher,
    /// Bytes before compression.
    plain: u64,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.deflated.len();
        write!(f, "Segment({} in {length} bytes)", self.plain)
    }
}

impl Segment {
    /// Bytes before compression.
    pub(super) fn plain_bytes(&self) -> u64 {
        self.plain
    }
}

/// A gzip member in the making.
pub(super) struct Gzip {
    deflate: Compress,
    sum: Hasher,
    /// Bytes before compression; its lower half closes the member.
    plain: u64,
    buffer: Vec<u8>,
}

impl fmt::Debug for Gzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gzip({} bytes so far)", self.plain)
    }
}

impl Gzip {
    pub(super) fn start(out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&HEADER);
        Self {
            deflate: Compress::new(Compression::new(LEVEL), false),
            sum: Hasher::new(),
            plain: 0,
            buffer: Vec::new(),
        }
    }

    /// Compresses a part that will be kept.
    pub(super) fn segment(&mut self, plain: &[u8]) -> Segment {
        let mut deflated = std::mem::take(&mut self.buffer);
        deflated.clear();
        self.deflate(plain, &mut deflated);
        let segment = Segment {
            deflated: deflated.as_slice().into(),
            sum: sum_of(plain),
            plain: plain.len() as u64,
        };
        self.buffer = deflated;
        segment
    }

    /// Appends a part that was kept.
    pub(super) fn append(&mut self, segment: &Segment, out: &mut Vec<u8>) {
        out.extend_from_slice(&segment.deflated);
        self.sum.combine(&segment.sum);
        self.plain = self.plain.wrapping_add(segment.plain);
    }

    /// Compresses and appends a part that is not kept.
    pub(super) fn write(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        if plain.is_empty() {
            return;
        }
        self.deflate(plain, out);
        self.sum.combine(&sum_of(plain));
        self.plain = self.plain.wrapping_add(plain.len() as u64);
    }

    /// Ends the member.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&LAST_BLOCK);
        out.extend_from_slice(&self.sum.clone().finalize().to_le_bytes());
        let [a, b, c, d, ..] = self.plain.to_le_bytes();
        out.extend_from_slice(&[a, b, c, d]);
    }

    fn deflate(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        if self.try_deflate(plain, out).is_none() {
            // Never seen: the compressor refuses only what it is told wrongly. Stored blocks need none.
            out.truncate(from);
            self.deflate.reset();
            store(plain, out);
        }
    }

    fn try_deflate(&mut self, mut plain: &[u8], out: &mut Vec<u8>) -> Option<()> {
        loop {
            out.reserve(plain.len() / 16 + 256);
            let before = self.deflate.total_in();
            self.deflate
                .compress_vec(plain, out, FlushCompress::Full)
                .ok()?;
            let taken = usize::try_from(self.deflate.total_in() - before).ok()?;
            plain = plain.get(taken..)?;
            // Room is left: all that was to come has come.
            if plain.is_empty() && out.len() < out.capacity() {
                return Some(());
            }
        }
    }
}

fn sum_of(bytes: &[u8]) -> Hasher {
    let mut sum = Hasher::new();
    sum.update(bytes);
    sum
}

/// Blocks without compression, none of them the last.
fn store(plain: &[u8], out: &mut Vec<u8>) {
    for block in plain.chunks(STORED) {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::bufread::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let (mut out, mut decoder) = (Vec::new(), GzDecoder::new(bytes));
        decoder.read_to_end(&mut out).unwrap();
        assert!(
            decoder.into_inner().is_empty(),
            "one member, nothing behind"
        );
        out
    }

    #[test]
    fn nothing_is_a_member_too() {
        let mut out = Vec::new();
        let mut gzip = Gzip::start(&mut out);
        gzip.write(b"", &mut out);
        gzip.finish(&mut out);
        assert_eq!(unpacked(&out), b"");
    }

    #[test]
    fn stored_blocks_are_read_back() {
        let plain = vec![7; 3 * STORED + 5];
        let mut out = Vec::new();
        let mut gzip = Gzip::start(&mut out);
        gzip.write(b"before", &mut out);
        store(&plain, &mut out);
        gzip.sum.combine(&sum_of(&plain));
        gzip.plain += plain.len() as u64;
        gzip.finish(&mut out);
        assert_eq!(unpacked(&out), [b"before", plain.as_slice()].concat());
    }

    proptest! {
        #[test]
        fn parts_are_put_together_in_any_order(
            parts in prop::collection::vec(prop::collection::vec(0..4_u8, 0..3000), 1..6),
            order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12),
        ) {
            let mut other = Gzip::start(&mut Vec::new());
            let kept: Vec<_> = parts.iter().map(|part| other.segment(part)).collect();
            let (mut out, mut plain) = (Vec::new(), Vec::new());
            let mut gzip = Gzip::start(&mut out);
            for (which, keep) in order {
                let which = which.index(parts.len());
                plain.extend_from_slice(&parts[which]);
                if keep {
                    gzip.append(&kept[which], &mut out);
                } else {
                    gzip.write(&parts[which], &mut out);
                }
            }
            gzip.finish(&mut out);
            prop_assert_eq!(unpacked(&out), plain);
        }
    }
}
