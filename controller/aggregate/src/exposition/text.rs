//! The classic text format, version 0.0.4.

use gaugeway_wire::{Histogram, Layout, RequestClass};

use super::{
    Family, View, kong,
    number::{self, Unit},
};
use crate::counts::ClassCount;

/// What all histograms of a snapshot share: the ends of their bucket lines.
#[derive(Debug)]
pub(super) struct Text {
    /// `,le="0.001"} ` per bound, then `,le="+Inf"} `.
    seconds: Vec<Box<[u8]>>,
    milliseconds: Vec<Box<[u8]>>,
}

impl Text {
    pub(super) fn new(layout: &Layout) -> Self {
        let bounds = || layout.bounds.as_slice().iter().map(|bound| bound.0);
        Self {
            seconds: ends(bounds(), Unit::Seconds),
            milliseconds: ends(
                kong::bounds(layout).map(|(_, bound)| bound.0),
                Unit::Milliseconds,
            ),
        }
    }

    /// The lines of one latency histogram, all 0 if it is new to the scraper.
    pub(super) fn latency(&self, labels: &str, h: &Histogram, new: bool, out: &mut Vec<u8>) {
        let mut below: u64 = 0;
        let cumulative = h.classic().iter().map(|&count| {
            if !new {
                below = below.saturating_add(count);
            }
            below
        });
        let sum = if new { 0 } else { h.sum_ns() };
        let family = Family::Latency.name();
        histogram(
            family,
            labels,
            &self.seconds,
            cumulative,
            sum,
            Unit::Seconds,
            out,
        );
    }

    pub(super) fn kong(&self, row: &kong::Row, out: &mut Vec<u8>) {
        let cumulative = row.cumulative.iter().copied();
        histogram(
            Family::Kong.name(),
            &row.labels,
            &self.milliseconds,
            cumulative,
            row.sum_ns,
            Unit::Milliseconds,
            out,
        );
    }
}

/// HELP and TYPE.
pub(super) fn head(family: Family, out: &mut Vec<u8>) {
    let kind = if family.is_histogram() {
        "histogram"
    } else {
        "counter"
    };
    let name = family.name();
    for part in [
        "# HELP ",
        name,
        " ",
        family.help(),
        "\n# TYPE ",
        name,
        " ",
        kind,
        "\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// One plain counter.
pub(super) fn counter(family: Family, labels: &str, value: u64, out: &mut Vec<u8>) {
    start(family.name(), "{", labels, out);
    out.extend_from_slice(b"} ");
    number::integer(out, value);
    out.push(b'\n');
}

/// One counter of nanoseconds, in seconds.
pub(super) fn seconds(family: Family, labels: &str, nanos: u128, out: &mut Vec<u8>) {
    start(family.name(), "{", labels, out);
    out.extend_from_slice(b"} ");
    number::nanos(out, nanos, Unit::Seconds);
    out.push(b'\n');
}

/// One line per class that occurred; 0 for those that are new to the scraper.
pub(super) fn requests(labels: &str, classes: &[ClassCount], view: View, out: &mut Vec<u8>) {
    for of in classes {
        let RequestClass { outcome, code } = of.class;
        start(Family::Requests.name(), "{", labels, out);
        for part in [
            ",code_class=\"",
            code.as_str(),
            "\",outcome=\"",
            outcome.as_str(),
            "\"} ",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
        number::integer(out, if view.is_new(of.born) { 0 } else { of.count });
        out.push(b'\n');
    }
}

fn ends(bounds: impl Iterator<Item = u64>, unit: Unit) -> Vec<Box<[u8]>> {
    let end = |bound: u64| {
        let mut end = b",le=\"".to_vec();
        number::nanos(&mut end, bound.into(), unit);
        end.extend_from_slice(b"\"} ");
        end.into_boxed_slice()
    };
    bounds
        .map(end)
        .chain([b",le=\"+Inf\"} ".as_slice().into()])
        .collect()
}

#[inline]
fn start(name: &str, then: &str, labels: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(then.as_bytes());
    out.extend_from_slice(labels.as_bytes());
}

fn histogram(
    name: &str,
    labels: &str,
    ends: &[Box<[u8]>],
    cumulative: impl Iterator<Item = u64>,
    sum_ns: u128,
    unit: Unit,
    out: &mut Vec<u8>,
) {
    let from = out.len();
    start(name, "_bucket{", labels, out);
    let line = out.len() - from;
    let mut count = 0;
    // Each line begins as the first one does, so it is copied from there.
    for (nth, (end, below)) in ends.iter().zip(cumulative).enumerate() {
        if nth > 0 {
            out.extend_from_within(from..from + line);
        }
        out.extend_from_slice(end);
        number::integer(out, below);
        out.push(b'\n');
        count = below;
    }
    start(name, "_sum{", labels, out);
    out.extend_from_slice(b"} ");
    number::nanos(out, sum_ns, unit);
    out.push(b'\n');
    start(name, "_count{", labels, out);
    out.extend_from_slice(b"} ");
    number::integer(out, count);
    out.push(b'\n');
}
