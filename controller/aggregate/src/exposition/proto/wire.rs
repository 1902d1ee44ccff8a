//! Protobuf's encoding, as far as it is used here.

/// A variable-length number.
#[inline]
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

#[inline]
fn low_bits(value: u64) -> u8 {
    let [low, ..] = (value & 0x7f).to_le_bytes();
    low
}

#[inline]
fn key(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

/// An unsigned number, or an `int32` that is not negative.
#[inline]
pub(super) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, 0);
    varint(out, value);
}

/// An `sint32` or `sint64`.
#[inline]
#[allow(
    clippy::cast_sign_loss,
    reason = "zigzag: the sign goes to the lowest bit"
)]
pub(super) fn signed(out: &mut Vec<u8>, field: u32, value: i64) {
    number(out, field, ((value << 1) ^ (value >> 63)) as u64);
}

#[inline]
pub(super) fn double(out: &mut Vec<u8>, field: u32, value: f64) {
    key(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A string.
#[inline]
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    key(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A message, its length put before it once it is known.
#[inline]
pub(super) fn message(out: &mut Vec<u8>, field: u32, body: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, 2);
    let at = out.len();
    // Most lengths take one byte: it is kept free.
    out.push(0);
    body(out);
    let length = out.len() - at - 1;
    match u8::try_from(length) {
        Ok(short @ ..0x80) => {
            if let Some(place) = out.get_mut(at) {
                *place = short;
            }
        }
        _ => {
            out.remove(at);
            let before = out.len();
            varint(out, length as u64);
            let digits = out.len() - before;
            if let Some(message) = out.get_mut(at..) {
                message.rotate_right(digits);
            }
        }
    }
}
