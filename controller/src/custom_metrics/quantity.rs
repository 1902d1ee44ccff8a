//! Numbers as Kubernetes writes them: a whole number and the largest decimal suffix that needs no fraction.

use std::fmt;

use serde::{Serialize, Serializer};

/// A number that is not negative, in whole billionths.
///
/// **Invariant**: written in Kubernetes's canonical form, so that it reads back and is written again the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantity {
    nanos: u128,
}

/// `n` to `E`, each 1,000 times the one before.
const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

impl Quantity {
    pub(crate) const ZERO: Self = Self { nanos: 0 };

    /// Rounded to thousandths, as other metrics servers do; what is below 1 to millionths, so that a small share stays
    /// one. None for what is no number, negative, or beyond 2^63 thousandths, which no reader takes.
    pub(crate) fn of(value: f64) -> Option<Self> {
        let step: u32 = if value < 1.0 { 1000 } else { 1_000_000 };
        let steps = (value * (1e9 / f64::from(step))).round();
        // Readers hold thousandths in 63 bits.
        let most = 9.2e18;
        if !(0.0..=most).contains(&steps) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative and below 2^64"
        )]
        let steps = steps as u64;
        Some(Self {
            nanos: u128::from(steps) * u128::from(step),
        })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let mut number = self.nanos;
        let mut suffixes = SUFFIXES.iter();
        let mut suffix = suffixes.next();
        while number.is_multiple_of(1000) {
            let Some(next) = suffixes.next() else { break };
            number /= 1000;
            suffix = Some(next);
        }
        write!(f, "{number}{}", suffix.copied().unwrap_or_default())
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: f64) -> String {
        Quantity::of(value).unwrap().to_string()
    }

    /// What `k8s.io/apimachinery`'s `resource.Quantity` gives for these.
    #[test]
    fn the_form_is_the_canonical_one() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (40.0, "40"),
            (0.04, "40m"),
            (1.5, "1500m"),
            (100.0, "100"),
            (1000.0, "1k"),
            (1500.0, "1500"),
            (1234.5, "1234500m"),
            (2_000_000.0, "2M"),
            (0.000_1, "100u"),
            (0.000_000_4, "0"),
            (41.666_666, "41667m"),
            (0.999_999_9, "1"),
            (123_456_000.0, "123456k"),
        ] {
            assert_eq!(written(value), expected, "{value}");
        }
        for value in [-1.0, f64::NAN, f64::INFINITY, 1e19] {
            assert_eq!(Quantity::of(value), None, "{value}");
        }
    }

    /// A reader of the form that shares nothing with the writer.
    fn read(text: &str) -> f64 {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let scale = match &text[digits.len()..] {
            "n" => 1e-9,
            "u" => 1e-6,
            "m" => 1e-3,
            "" => 1.0,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "T" => 1e12,
            "P" => 1e15,
            "E" => 1e18,
            other => panic!("{other}"),
        };
        digits.parse::<f64>().unwrap() * scale
    }

    proptest! {
        #[test]
        fn it_reads_back_within_its_rounding(value in 0.0..1e12_f64) {
            let text = written(value);
            let bound = if value < 1.0 { 0.6e-6 } else { 0.6e-3 } + value * 1e-15;
            prop_assert!((read(&text) - value).abs() <= bound, "{value} {text}");
            // Canonical: no suffix that a larger one could stand for.
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            prop_assert!(text == "0" || !digits.ends_with("000"), "{text}");
        }
    }
}
