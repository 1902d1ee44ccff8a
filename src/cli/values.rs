//! Values of options: times with a unit, bucket bounds, dimensions.

use std::{str::FromStr, time::Duration};

use gaugeway_controller::{
    config::{Dimension, Dimensions},
    render::kong::is_label,
};
use gaugeway_wire::{ClassicBounds, Nanos, Schema, limits::REPORT_INTERVAL_MS};

/// Digits of a time that are read, on either side of its point.
const DIGITS: usize = 12;
/// Series at most, whatever is asked for: some 20 GB.
const MOST_SERIES: usize = 10_000_000;

/// [`ClassicBounds::default`] as it is written on the command line.
pub(super) const DEFAULT_BOUNDS: &str =
    "1ms,2.5ms,5ms,10ms,25ms,50ms,80ms,100ms,250ms,400ms,500ms,700ms,1s,2s,2.5s,5s,10s,30s,60s";

/// A time with a unit: `5s`, `250ms`, `2.5ms`, `1m`, `24h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    nanos(text).map(|n| Duration::from_nanos(n.0))
}

fn nanos(text: &str) -> Result<Nanos, String> {
    let refuse = || format!("{text:?} is not a time with a unit, such as 5s, 250ms, 2.5ms or 1m");
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(refuse)?;
    let (number, unit) = text.split_at(split);
    let unit_ns: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(refuse()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let legal = !whole.is_empty()
        && whole.len() <= DIGITS
        && fraction.len() <= DIGITS
        && !fraction.contains('.')
        && number.ends_with(|c: char| c.is_ascii_digit());
    if !legal {
        return Err(refuse());
    }
    let whole: u64 = whole.parse().map_err(|_| refuse())?;
    let mut total = u128::from(whole) * u128::from(unit_ns);
    let mut digit_ns = u128::from(unit_ns);
    let mut rest = 0;
    for digit in fraction.bytes() {
        // Digits below a nanosecond are dropped.
        rest += digit_ns * u128::from(digit - b'0');
        total += rest / 10;
        rest = rest % 10 * 10;
        digit_ns /= 10;
        rest /= 10;
    }
    u64::try_from(total).map(Nanos).map_err(|_| refuse())
}

/// As [`duration`], within bounds.
pub(super) fn duration_within(
    text: &str,
    least: Duration,
    most: Duration,
) -> Result<Duration, String> {
    let value = duration(text)?;
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("must be from {least:?} to {most:?}"))
    }
}

/// Between two reports.
pub(super) fn report_interval(text: &str) -> Result<Duration, String> {
    let (least, most) = (*REPORT_INTERVAL_MS.start(), *REPORT_INTERVAL_MS.end());
    let millis = |ms: u32| Duration::from_millis(ms.into());
    duration_within(text, millis(least), millis(most))
}

/// Until a gateway gives an upstream up.
pub(super) fn upstream_timeout(text: &str) -> Result<Duration, String> {
    let most = Duration::from_millis(u32::MAX.into());
    duration_within(text, Duration::from_millis(1), most)
}

/// Until an address without a target is reported as unknown.
pub(super) fn unknown_grace(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, Duration::from_secs(3600))
}

/// Until a dead series is dropped.
pub(super) fn series_expiry(text: &str) -> Result<Duration, String> {
    duration_within(
        text,
        Duration::from_secs(1),
        Duration::from_secs(7 * 86_400),
    )
}

/// A name of an object, or of a namespace; part of a path.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err(format!("{text:?} is no name that Kubernetes allows"));
    }
    Ok(text.to_owned())
}

/// A namespace's name, as Kubernetes allows it.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no namespace: at most 63 lowercase letters, digits and hyphens, the first and the last no hyphen; a \
         list has commas and no spaces"
    ))
}

/// Series that are kept.
pub(super) fn max_series(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=MOST_SERIES).contains(count))
        .ok_or_else(|| {
            format!("must be from 1 to {MOST_SERIES}; without series nothing is told apart")
        })
}

/// Bounds of classic buckets.
pub(super) fn classic_bounds(text: &str) -> Result<ClassicBounds, String> {
    let bounds: Vec<Nanos> = text.split(',').map(nanos).collect::<Result<_, _>>()?;
    ClassicBounds::try_new(bounds).map_err(|error| error.to_string())
}

/// Native schema.
pub(super) fn schema(text: &str) -> Result<Schema, String> {
    text.parse()
        .ok()
        .and_then(Schema::try_new)
        .ok_or_else(|| "must be from 0 to 5".to_owned())
}

/// What `--dimensions` says. The route is the filter's to add, the others are the controller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) dimensions: Dimensions,
    pub(super) route: bool,
}

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut labels = Self {
            dimensions: Dimensions::NONE,
            route: false,
        };
        if text == "none" {
            return Ok(labels);
        }
        for name in text.split(',') {
            let dimension = match name.trim() {
                "port" => Dimension::Port,
                "pod" => Dimension::Pod,
                "workload" => Dimension::Workload,
                "node" => Dimension::Node,
                "zone" => Dimension::Zone,
                "gateway" => Dimension::Gateway,
                "route" => {
                    labels.route = true;
                    continue;
                }
                other => {
                    return Err(format!(
                        "{other:?} is not one of port, pod, workload, node, zone, gateway, route (or none)"
                    ));
                }
            };
            labels.dimensions = labels.dimensions.with(dimension);
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit() {
        let good = [
            ("5s", 5_000_000_000),
            ("250ms", 250_000_000),
            ("2.5ms", 2_500_000),
            ("0.25s", 250_000_000),
            ("1.999999999s", 1_999_999_999),
            ("1.5us", 1_500),
            ("1.5ns", 1),
            ("1m", 60_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1d", 86_400_000_000_000),
            ("0s", 0),
        ];
        for (text, expected) in good {
            assert_eq!(nanos(text), Ok(Nanos(expected)), "{text}");
        }
        let bad = [
            "",
            "5",
            "s",
            ".5s",
            "5.s",
            "1.2.3s",
            "-1s",
            "5 s",
            "5sec",
            "1e3s",
            "9999999999999s",
            "999999999999d",
        ];
        for text in bad {
            assert!(nanos(text).is_err(), "{text}");
        }
    }

    #[test]
    fn default_bounds_are_the_contracts() {
        assert_eq!(classic_bounds(DEFAULT_BOUNDS), Ok(ClassicBounds::default()));
    }

    #[test]
    fn bounds_must_rise() {
        assert!(classic_bounds("5ms,1ms").is_err());
        assert!(classic_bounds("5ms,,10ms").is_err());
        assert!(classic_bounds("").is_err());
    }

    #[test]
    fn dimensions_are_named() {
        let labels: Labels = "pod,route".parse().unwrap();
        assert!(labels.route && labels.dimensions.has(Dimension::Pod));
        assert!(!labels.dimensions.has(Dimension::Port));
        let none: Labels = "none".parse().unwrap();
        assert_eq!((none.dimensions, none.route), (Dimensions::NONE, false));
        assert!("pod,pods".parse::<Labels>().is_err());
    }
}
