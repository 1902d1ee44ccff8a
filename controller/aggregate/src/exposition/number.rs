//! Numbers as decimal text: exact, shortest, without floats; and as doubles for the format that has only those.

/// Digits after the point when nanoseconds are written in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
}

impl Unit {
    const fn digits(self) -> usize {
        match self {
            Self::Seconds => 9,
            Self::Milliseconds => 6,
        }
    }
}

/// Appends an integer.
#[inline]
pub(crate) fn integer(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Nanoseconds in a unit: the nearest double, while the nanoseconds are below 2^53 (104 days).
#[allow(
    clippy::cast_precision_loss,
    reason = "doubles are what the format has"
)]
pub(crate) fn float(nanos: u128, unit: Unit) -> f64 {
    let scale = match unit {
        Unit::Seconds => 1e9,
        Unit::Milliseconds => 1e6,
    };
    nanos as f64 / scale
}

/// Appends nanoseconds in a unit, without trailing zeros.
pub(crate) fn nanos(out: &mut Vec<u8>, nanos: u128, unit: Unit) {
    let digits = unit.digits();
    let scale = if digits == 9 {
        1_000_000_000
    } else {
        1_000_000
    };
    out.extend_from_slice(itoa::Buffer::new().format(nanos / scale).as_bytes());
    let fraction = nanos % scale;
    if fraction == 0 {
        return;
    }
    out.push(b'.');
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(fraction).as_bytes();
    out.extend(std::iter::repeat_n(b'0', digits.saturating_sub(text.len())));
    let end = text
        .iter()
        .rposition(|&digit| digit != b'0')
        .map_or(0, |at| at + 1);
    out.extend_from_slice(text.get(..end).unwrap_or(text));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: u128, unit: Unit) -> String {
        let mut out = Vec::new();
        nanos(&mut out, value, unit);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nanoseconds_are_written_exactly() {
        assert_eq!(text(0, Unit::Seconds), "0");
        assert_eq!(text(1, Unit::Seconds), "0.000000001");
        assert_eq!(text(2_500_000, Unit::Seconds), "0.0025");
        assert_eq!(text(10_000_000_000, Unit::Seconds), "10");
        assert_eq!(text(1_500_000_000, Unit::Seconds), "1.5");
        assert_eq!(text(25_000_000, Unit::Milliseconds), "25");
        assert_eq!(text(2_500_001, Unit::Milliseconds), "2.500001");
        assert_eq!(
            text(u128::MAX, Unit::Seconds),
            "340282366920938463463374607431.768211455"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_it_means(value: u64) {
            let written = text(u128::from(value), Unit::Seconds);
            let (whole, fraction) = written.split_once('.').unwrap_or((&written, ""));
            prop_assert!(!fraction.ends_with('0'));
            let nanos = format!("{whole}{fraction:0<9}").parse::<u64>().unwrap();
            prop_assert_eq!(nanos, value);
        }
    }
}
