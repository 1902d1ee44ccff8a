//! Numbers for people: three digits that matter, and a unit.

/// What is not known.
pub(super) const NONE: &str = "-";

pub(super) fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |v| format!("{}/s", digits(v)))
}

pub(super) fn latency(seconds: Option<f64>) -> String {
    seconds.map_or_else(
        || NONE.to_owned(),
        |s| {
            if s >= 1.0 {
                format!("{} s", digits(s))
            } else {
                format!("{} ms", digits(s * 1000.0))
            }
        },
    )
}

pub(super) fn share(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |v| format!("{} %", digits(v * 100.0)))
}

pub(super) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), digits)
}

fn digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v if v > 0.0 => format!("{v:.2}"),
        _ => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        for (shown, expected) in [
            (rate(Some(0.0)), "0/s"),
            (rate(Some(0.123_4)), "0.12/s"),
            (rate(Some(12.34)), "12.3/s"),
            (rate(Some(99.99)), "100/s"),
            (rate(Some(1234.5)), "1234/s"),
            (rate(None), "-"),
            (latency(Some(0.003)), "3.00 ms"),
            (latency(Some(0.999_9)), "1000 ms"),
            (latency(Some(1.5)), "1.50 s"),
            (share(Some(0.012)), "1.20 %"),
            (number(Some(0.5)), "0.50"),
            (number(None), "-"),
        ] {
            assert_eq!(shown, expected);
        }
    }
}
