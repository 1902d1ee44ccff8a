//! Bounded pull decoding and encoding of protobuf.
//!
//! [`Reader`] walks borrowed bytes and allocates nothing; no input makes it panic. Every read names the field that it
//! reads, so that an error tells where the input is wrong. Known fields with a foreign wire type are refused, unknown
//! fields are skipped (groups are refused), the last of several scalars wins.
//! What a decoder owns in the end goes through [`try_push`] and [`try_text`]: memory that is refused is an error,
//! never an abort.
//! The `put_*` functions write fields in canonical form: default values are left out.

use alloc::{string::String, vec::Vec};

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

/// How a field's value is laid out. Groups (3, 4) are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// A base-128 number.
    Varint,
    /// 8 bytes, little endian.
    Fixed64,
    /// A length and that many bytes.
    Bytes,
    /// 4 bytes, little endian.
    Fixed32,
}

/// A field's number and wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 1..=2^29-1.
    pub field: u32,
    /// Layout of the value that follows.
    pub wire: WireType,
}

/// Largest field number of protobuf.
const MAX_FIELD: u64 = (1 << 29) - 1;

impl WireType {
    const fn number(self) -> u64 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Bytes => 2,
            Self::Fixed32 => 5,
        }
    }
}

impl Tag {
    fn parse(key: u64, message: &'static str) -> Result<Self, DecodeError> {
        let wire = match key & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Bytes,
            5 => WireType::Fixed32,
            _ => return Err(DecodeError::WireType(message)),
        };
        match u32::try_from(key >> 3) {
            Ok(field) if (1..=MAX_FIELD).contains(&u64::from(field)) => Ok(Self { field, wire }),
            _ => Err(DecodeError::Value(message)),
        }
    }

    #[inline]
    fn expect(self, wire: WireType, name: &'static str) -> Result<(), DecodeError> {
        if self.wire == wire {
            Ok(())
        } else {
            Err(DecodeError::WireType(name))
        }
    }
}

/// What is left of an input.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all is read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes that are not read yet.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next field of `message`, `None` at its end.
    ///
    /// # Errors
    /// When no legal tag follows.
    #[inline]
    pub fn tag(&mut self, message: &'static str) -> Result<Option<Tag>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint(message)?;
        Tag::parse(key, message).map(Some)
    }

    /// A bare base-128 number.
    ///
    /// # Errors
    /// When it is cut off, longer than 10 bytes or over `u64::MAX`.
    #[inline]
    pub fn varint(&mut self, name: &'static str) -> Result<u64, DecodeError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(name),
        }
    }

    fn long_varint(&mut self, name: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0;
        let mut shift = 0;
        let mut rest = self.rest.iter();
        while let Some(&byte) = rest.next() {
            if shift == 63 && byte > 1 {
                return Err(DecodeError::Value(name));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                self.rest = rest.as_slice();
                return Ok(value);
            }
            shift += 7;
        }
        Err(DecodeError::Truncated(name))
    }

    /// A field of a varint type.
    ///
    /// # Errors
    /// On a foreign wire type or a bad number.
    #[inline]
    pub fn uint(&mut self, tag: Tag, name: &'static str) -> Result<u64, DecodeError> {
        tag.expect(WireType::Varint, name)?;
        self.varint(name)
    }

    /// A field of type `uint32`; more than 32 bits are refused.
    ///
    /// # Errors
    /// As [`Reader::uint`].
    pub fn uint32(&mut self, tag: Tag, name: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.uint(tag, name)?).map_err(|_| DecodeError::Value(name))
    }

    /// A field of type `bool`.
    ///
    /// # Errors
    /// As [`Reader::uint`].
    pub fn flag(&mut self, tag: Tag, name: &'static str) -> Result<bool, DecodeError> {
        Ok(self.uint(tag, name)? != 0)
    }

    /// A field of type `fixed64`.
    ///
    /// # Errors
    /// On a foreign wire type or too short an input.
    #[inline]
    pub fn fixed64(&mut self, tag: Tag, name: &'static str) -> Result<u64, DecodeError> {
        tag.expect(WireType::Fixed64, name)?;
        self.eight(name)
    }

    #[inline]
    fn eight(&mut self, name: &'static str) -> Result<u64, DecodeError> {
        let Some((eight, rest)) = self.rest.split_first_chunk() else {
            return Err(DecodeError::Truncated(name));
        };
        self.rest = rest;
        Ok(u64::from_le_bytes(*eight))
    }

    /// A field of bytes (also a submessage), borrowed.
    ///
    /// # Errors
    /// On a foreign wire type or too short an input.
    #[inline]
    pub fn bytes(&mut self, tag: Tag, name: &'static str) -> Result<&'a [u8], DecodeError> {
        tag.expect(WireType::Bytes, name)?;
        let length = self.varint(name)?;
        usize::try_from(length)
            .ok()
            .and_then(|length| self.take(length))
            .ok_or(DecodeError::Truncated(name))
    }

    /// [`Reader::bytes`] of at most `max` bytes.
    ///
    /// # Errors
    /// Also [`DecodeError::Bound`].
    #[inline]
    pub fn bounded(
        &mut self,
        tag: Tag,
        name: &'static str,
        max: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let bytes = self.bytes(tag, name)?;
        if bytes.len() > max {
            return Err(DecodeError::Bound(name));
        }
        Ok(bytes)
    }

    /// A field of type `string`, at most `max` bytes of UTF-8, borrowed.
    ///
    /// # Errors
    /// Also [`DecodeError::Bound`], and [`DecodeError::Value`] when it is not UTF-8.
    #[inline]
    pub fn text(
        &mut self,
        tag: Tag,
        name: &'static str,
        max: usize,
    ) -> Result<&'a str, DecodeError> {
        let bytes = self.bounded(tag, name, max)?;
        core::str::from_utf8(bytes).map_err(|_| DecodeError::Value(name))
    }

    /// Numbers of a repeated varint field, packed or not: calls `each` for every one.
    ///
    /// # Errors
    /// As [`Reader::uint`] and [`Reader::bytes`], and what `each` says.
    pub fn uints(
        &mut self,
        tag: Tag,
        name: &'static str,
        mut each: impl FnMut(u64) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if tag.wire == WireType::Varint {
            return each(self.varint(name)?);
        }
        let mut packed = Self::new(self.bytes(tag, name)?);
        while !packed.is_empty() {
            each(packed.varint(name)?)?;
        }
        Ok(())
    }

    /// Numbers of a repeated `fixed64` field, packed or not: calls `each` for every one.
    ///
    /// # Errors
    /// As [`Reader::fixed64`] and [`Reader::bytes`], and what `each` says.
    pub fn fixed64s(
        &mut self,
        tag: Tag,
        name: &'static str,
        mut each: impl FnMut(u64) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if tag.wire == WireType::Fixed64 {
            return each(self.eight(name)?);
        }
        let mut packed = Self::new(self.bytes(tag, name)?);
        while !packed.is_empty() {
            each(packed.eight(name)?)?;
        }
        Ok(())
    }

    /// Passes over a field that this version does not know.
    ///
    /// # Errors
    /// When the input ends inside it.
    pub fn skip(&mut self, tag: Tag, message: &'static str) -> Result<(), DecodeError> {
        match tag.wire {
            WireType::Varint => self.varint(message).map(drop),
            WireType::Bytes => self.bytes(tag, message).map(drop),
            WireType::Fixed64 => self.eight(message).map(drop),
            WireType::Fixed32 => self
                .take(4)
                .map(drop)
                .ok_or(DecodeError::Truncated(message)),
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Contents of every occurrence of one length-delimited field, in order. For messages that were checked before: it
/// ends at the first byte that is no protobuf.
#[derive(Clone, Debug)]
pub struct Occurrences<'a> {
    reader: Reader<'a>,
    field: u32,
}

impl<'a> Occurrences<'a> {
    /// Of `field` in the message `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8], field: u32) -> Self {
        Self {
            reader: Reader::new(bytes),
            field,
        }
    }
}

impl<'a> Iterator for Occurrences<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        const NAME: &str = "a checked message";
        loop {
            let tag = self.reader.tag(NAME).ok()??;
            if tag.field == self.field {
                return self.reader.bytes(tag, NAME).ok();
            }
            self.reader.skip(tag, NAME).ok()?;
        }
    }
}

/// Pairs of a packed varint field that was checked before: it ends at the first byte that is no number.
#[derive(Clone, Debug)]
pub(crate) struct Pairs<'a>(Reader<'a>);

impl<'a> Pairs<'a> {
    pub(crate) const fn new(packed: &'a [u8]) -> Self {
        Self(Reader::new(packed))
    }

    /// The next pair of an input that was not checked.
    #[inline]
    pub(crate) fn checked(
        &mut self,
        name: &'static str,
    ) -> Result<Option<(u64, u64)>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.0.varint(name)?, self.0.varint(name)?)))
    }
}

impl Iterator for Pairs<'_> {
    type Item = (u64, u64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.checked("a checked pair").ok()?
    }
}

/// The one occurrence of a field that may come only once: a singular submessage, or packed pairs (which this
/// version keeps borrowed and therefore wants in one piece).
pub(crate) fn set_once<T>(
    slot: &mut Option<T>,
    value: T,
    name: &'static str,
) -> Result<(), DecodeError> {
    if slot.is_some() {
        return Err(DecodeError::Value(name));
    }
    *slot = Some(value);
    Ok(())
}

/// Appends to a list that has a bound.
///
/// # Errors
/// [`DecodeError::Bound`], [`DecodeError::Memory`].
pub fn try_push<T>(
    list: &mut Vec<T>,
    item: T,
    name: &'static str,
    max: usize,
) -> Result<(), DecodeError> {
    if list.len() >= max {
        return Err(DecodeError::Bound(name));
    }
    list.try_reserve(1).map_err(|_| DecodeError::Memory(name))?;
    list.push(item);
    Ok(())
}

/// An owned copy of `text`.
///
/// # Errors
/// [`DecodeError::Memory`].
pub fn try_text(text: &str, name: &'static str) -> Result<String, DecodeError> {
    let mut owned = String::new();
    owned
        .try_reserve_exact(text.len())
        .map_err(|_| DecodeError::Memory(name))?;
    owned.push_str(text);
    Ok(owned)
}

/// Bytes that a varint takes, 1..=10.
#[inline]
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    // ceil(bits / 7) for 1..=64 bits, without a division.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}

/// Bytes of a length-delimited field's content and its length (not its tag).
#[inline]
#[must_use]
pub const fn delimited_len(content: usize) -> usize {
    varint_len(content as u64) + content
}

/// Appends a bare varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_seven(value) | 0x80);
        value >>= 7;
    }
    out.push(low_seven(value));
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "masked to seven bits")]
const fn low_seven(value: u64) -> u8 {
    (value & 0x7f) as u8
}

/// Appends a field's tag.
#[inline]
pub fn put_tag(out: &mut Vec<u8>, field: u32, wire: WireType) {
    put_varint(out, u64::from(field) << 3 | wire.number());
}

/// Appends a varint field, nothing for 0.
#[inline]
pub fn put_uint(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        put_tag(out, field, WireType::Varint);
        put_varint(out, value);
    }
}

/// Bytes that [`put_uint`] appends for a field number below 16.
#[inline]
#[must_use]
pub const fn uint_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

/// Appends a `fixed64` field, also for 0.
#[inline]
pub fn put_fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    put_tag(out, field, WireType::Fixed64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field of bytes, also when they are empty (an item of a repeated field).
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_tag(out, field, WireType::Bytes);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a singular field of bytes, nothing when they are empty.
#[inline]
pub fn put_present(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_bytes(out, field, bytes);
    }
}

/// Appends a submessage (or a packed field) whose content `body` appends.
pub fn put_message(out: &mut Vec<u8>, field: u32, body: impl FnOnce(&mut Vec<u8>)) {
    put_tag(out, field, WireType::Bytes);
    let start = out.len();
    body(out);
    let end = out.len();
    put_varint(out, (end - start) as u64);
    let prefix = out.len() - end;
    if let Some(tail) = out.get_mut(start..) {
        tail.rotate_right(prefix);
    }
}

/// Maps small negative and positive numbers to small unsigned ones.
#[inline]
#[must_use]
#[allow(clippy::cast_sign_loss, reason = "a bit pattern")]
pub const fn zigzag(value: i32) -> u64 {
    let value = value as i64;
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`], over all of `u64`.
#[inline]
#[must_use]
#[allow(clippy::cast_possible_wrap, reason = "a bit pattern")]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const NAME: &str = "field";

    fn varint(bytes: &[u8]) -> Result<u64, DecodeError> {
        Reader::new(bytes).varint(NAME)
    }

    #[test]
    fn varints_of_every_length_come_back() {
        let edges = (0..64).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        for value in edges.chain([u64::MAX, u64::MAX - 1]) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(varint(&out), Ok(value));
            assert_eq!(varint_len(value), out.len(), "{value}");
            for end in 0..out.len() {
                assert_eq!(varint(&out[..end]), Err(DecodeError::Truncated(NAME)));
            }
        }
    }

    #[test]
    fn a_varint_over_64_bits_is_refused() {
        let mut ten = [0xff; 10];
        ten[9] = 1;
        assert_eq!(varint(&ten), Ok(u64::MAX));
        ten[9] = 2;
        assert_eq!(varint(&ten), Err(DecodeError::Value(NAME)));
        assert_eq!(varint(&[0xff; 11]), Err(DecodeError::Value(NAME)));
    }

    #[test]
    fn a_varint_longer_than_it_needs_is_read() {
        assert_eq!(varint(&[0x81, 0x80, 0x80, 0x00]), Ok(1));
        assert_eq!(varint(&[0x80, 0x00]), Ok(0));
    }

    #[test]
    fn zigzags_come_back() {
        for value in [0, -1, 1, -2, i32::MAX, i32::MIN] {
            assert_eq!(unzigzag(zigzag(value)), i64::from(value));
        }
        assert_eq!((zigzag(0), zigzag(-1), zigzag(1)), (0, 1, 2));
        assert_eq!(unzigzag(u64::MAX), i64::MIN);
        assert_eq!(unzigzag(u64::MAX - 1), i64::MAX);
    }

    #[test]
    fn field_zero_groups_and_foreign_wire_types_are_refused() {
        let tag = |bytes: &[u8]| Reader::new(bytes).tag(NAME).map(drop);
        assert_eq!(tag(&[0x00]), Err(DecodeError::Value(NAME)));
        for group in [3, 4, 6, 7] {
            assert_eq!(tag(&[0x08 | group]), Err(DecodeError::WireType(NAME)));
        }
        // Field 2^29.
        let over = [0x80, 0x80, 0x80, 0x80, 0x10];
        assert_eq!(tag(&over), Err(DecodeError::Value(NAME)));
    }

    #[test]
    fn every_wire_type_is_skipped() {
        let cases: [&[u8]; 4] = [
            &[0x08, 0x80, 0x01],
            &[0x09, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x0a, 2, 1, 2],
            &[0x0d, 1, 2, 3, 4],
        ];
        for case in cases {
            let skip = |bytes| {
                let mut reader = Reader::new(bytes);
                let tag = reader.tag(NAME).unwrap().unwrap();
                reader.skip(tag, NAME).map(|()| reader.is_empty())
            };
            assert_eq!(skip(case), Ok(true));
            assert_eq!(
                skip(&case[..case.len() - 1]),
                Err(DecodeError::Truncated(NAME))
            );
        }
    }

    #[test]
    fn a_length_beyond_the_input_is_truncated() {
        let mut bytes = Vec::new();
        put_tag(&mut bytes, 1, WireType::Bytes);
        put_varint(&mut bytes, u64::MAX);
        let mut reader = Reader::new(&bytes);
        let tag = reader.tag(NAME).unwrap().unwrap();
        assert_eq!(reader.bytes(tag, NAME), Err(DecodeError::Truncated(NAME)));
    }

    #[test]
    fn text_is_utf8() {
        let text = |bytes: &[u8]| {
            let mut out = Vec::new();
            put_bytes(&mut out, 1, bytes);
            let mut reader = Reader::new(&out);
            let tag = reader.tag(NAME).unwrap().unwrap();
            reader.text(tag, NAME, 8).map(String::from)
        };
        assert_eq!(text("zürich".as_bytes()).as_deref(), Ok("zürich"));
        assert_eq!(text(&[0xff]), Err(DecodeError::Value(NAME)));
        assert_eq!(text(&[b'a'; 9]), Err(DecodeError::Bound(NAME)));
    }

    #[test]
    fn repeated_numbers_are_read_packed_and_not() {
        let mut bytes = Vec::new();
        put_uint(&mut bytes, 1, 5);
        put_bytes(&mut bytes, 1, &[6, 0x80, 0x01]);
        put_bytes(&mut bytes, 1, &[]);
        put_fixed64(&mut bytes, 2, 7);
        put_bytes(&mut bytes, 2, &8_u64.to_le_bytes());
        let mut numbers = Vec::new();
        let mut reader = Reader::new(&bytes);
        while let Some(tag) = reader.tag(NAME).unwrap() {
            let mut push = |number| try_push(&mut numbers, number, NAME, 10);
            let read = match tag.field {
                1 => reader.uints(tag, NAME, &mut push),
                _ => reader.fixed64s(tag, NAME, &mut push),
            };
            assert_eq!(read, Ok(()));
        }
        assert_eq!(numbers, [5, 6, 128, 7, 8]);
    }

    #[test]
    fn a_list_stops_at_its_bound() {
        let mut list = Vec::new();
        assert_eq!(try_push(&mut list, 1, NAME, 1), Ok(()));
        assert_eq!(
            try_push(&mut list, 2, NAME, 1),
            Err(DecodeError::Bound(NAME))
        );
        assert_eq!(list, [1]);
    }

    #[test]
    fn a_message_gets_its_length() {
        for length in [0, 1, 127, 128, 20_000] {
            let mut out = Vec::new();
            put_message(&mut out, 3, |out| out.resize(out.len() + length, 7));
            assert_eq!(out.len(), 1 + delimited_len(length));
            let content: Vec<_> = Occurrences::new(&out, 3).collect();
            assert_eq!(content, [alloc::vec![7; length]]);
        }
    }
}
