//! Short text that is copied at a fixed length, which is faster than at its own.

/// At most [`Short::ROOM`] bytes; longer text is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    bytes: [u8; Self::ROOM],
    length: usize,
}

impl Short {
    /// The longest end of a bucket's line: `,le="18446744073.709551615"} `.
    pub(super) const ROOM: usize = 32;

    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut short = Self {
            bytes: [0; Self::ROOM],
            length: 0,
        };
        for byte in parts.iter().copied().flatten() {
            if let Some(place) = short.bytes.get_mut(short.length) {
                *place = *byte;
                short.length += 1;
            }
        }
        short
    }

    /// A number and the end of its line.
    #[inline]
    pub(super) fn line(value: u64) -> Self {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value).as_bytes();
        let mut bytes = [b'\n'; Self::ROOM];
        if let Some(places) = bytes.get_mut(..digits.len()) {
            places.copy_from_slice(digits);
        }
        Self {
            bytes,
            length: digits.len() + 1,
        }
    }

    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.length;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::number, *};

    #[test]
    fn the_longest_fit() {
        let mut value = Vec::new();
        number::nanos(&mut value, u64::MAX.into(), number::Unit::Seconds);
        let mut out = Vec::new();
        Short::of(&[b",le=\"", &value, b"\"} "]).put(&mut out);
        Short::line(u64::MAX).put(&mut out);
        let shown = String::from_utf8(out).unwrap();
        assert_eq!(
            shown,
            ",le=\"18446744073.709551615\"} 18446744073709551615\n"
        );
    }
}
