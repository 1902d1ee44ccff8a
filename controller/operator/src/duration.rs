//! Times as they stand in objects: `2500us`, `1s`, `1m30s`. The Gateway API's form (GEP-2257), and `us`.

use gaugeway_wire::Nanos;

/// Numbers with units in one time, at most.
const PARTS: usize = 4;
/// Digits of one number, at most.
const DIGITS: usize = 5;

/// `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<Nanos> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        if number.is_empty() || number.len() > DIGITS || parts == PARTS {
            return None;
        }
        let (unit, after) = unit(after)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = after;
        parts += 1;
    }
    (parts > 0).then_some(Nanos(total))
}

/// Nanoseconds of the unit that begins the text, and what follows it.
fn unit(text: &str) -> Option<(u64, &str)> {
    // The longer ones first: `m` begins `ms`.
    let units = [
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let found = |(name, ns): (&str, u64)| Some((ns, text.strip_prefix(name)?));
    units.into_iter().find_map(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let ms = Nanos::from_millis;
        for (text, time) in [
            ("5s", ms(5_000)),
            ("2500us", Nanos(2_500_000)),
            ("1m30s", ms(90_000)),
            ("1h1m1s1ms", ms(3_661_001)),
            ("0s", ms(0)),
        ] {
            assert_eq!(parse(text), Some(time), "{text}");
        }
        for none in [
            "",
            "5",
            "s",
            "2.5ms",
            "-1s",
            "1d",
            "123456s",
            "1s1s1s1s1s",
            "1 s",
            "1ns",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
