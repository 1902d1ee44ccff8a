//! The two text formats: classic 0.0.4, and OpenMetrics 1.0.0.
//!
//! They differ in names (OpenMetrics calls a counter's family without `_total`), in how bounds are written (`1` and
//! `1.0`), and in that OpenMetrics shows each metric's creation and ends with `# EOF`.

mod short;

use gaugeway_wire::{Layout, UnixNanos};
use short::Short;

use super::{
    Family, Format, View, kong,
    number::{self, Unit},
};
use crate::series::Series;

/// Renders lines.
#[derive(Debug)]
pub(super) struct Lines {
    dialect: Dialect,
    /// `,le="0.001"} ` per bound, then `,le="+Inf"} `.
    seconds: Box<[Short]>,
    milliseconds: Box<[Short]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Classic,
    OpenMetrics,
}

/// What a histogram's lines need.
struct Histogram<'a, C> {
    family: Family,
    labels: &'a str,
    ends: &'a [Short],
    /// One per end.
    cumulative: C,
    sum_ns: u128,
    unit: Unit,
    created: UnixNanos,
}

impl Lines {
    pub(super) fn new(format: Format, layout: &Layout) -> Self {
        let dialect = match format {
            Format::OpenMetrics => Dialect::OpenMetrics,
            Format::Text | Format::Protobuf => Dialect::Classic,
        };
        let bounds = layout.bounds.as_slice().iter().map(|bound| bound.0);
        let kongs = kong::bounds(layout).map(|(_, bound)| bound.0);
        Self {
            dialect,
            seconds: dialect.ends(bounds, Unit::Seconds),
            milliseconds: dialect.ends(kongs, Unit::Milliseconds),
        }
    }

    /// HELP and TYPE, in OpenMetrics also UNIT.
    pub(super) fn head(&self, family: Family, out: &mut Vec<u8>) {
        let kind = if family.is_histogram() {
            "histogram"
        } else {
            "counter"
        };
        let name = self.dialect.family_name(family);
        let help = family.help();
        put(
            out,
            &[
                "# HELP ",
                name,
                " ",
                help,
                "\n# TYPE ",
                name,
                " ",
                kind,
                "\n",
            ],
        );
        if self.dialect == Dialect::OpenMetrics && name.ends_with("_seconds") {
            put(out, &["# UNIT ", name, " seconds\n"]);
        }
    }

    /// All lines of one series in one family.
    pub(super) fn series(&self, family: Family, series: &Series, view: View, out: &mut Vec<u8>) {
        let counts = &series.counts;
        let new = view.is_new(series.born);
        let shown = |count: u64| if new { 0 } else { count };
        match family {
            Family::Latency => self.latency(series, new, out),
            Family::Requests => self.requests(series, view, out),
            Family::Retries => self.counter(family, series, shown(counts.retries), out),
            Family::Aborted => self.counter(family, series, shown(counts.aborted), out),
            Family::LatencyUnknown => {
                self.counter(family, series, shown(counts.latency_unknown), out);
            }
            Family::CancelledWait => {
                let waited = if new { 0 } else { counts.cancelled_wait_ns };
                self.seconds(family, series, waited, out);
            }
            Family::Kong => {}
        }
    }

    /// All lines of one of Kong's series.
    pub(super) fn kong(&self, row: &kong::Row, out: &mut Vec<u8>) {
        self.histogram(
            Histogram {
                family: Family::Kong,
                labels: &row.text,
                ends: &self.milliseconds,
                cumulative: row.cumulative.iter().copied(),
                sum_ns: row.sum_ns,
                unit: Unit::Milliseconds,
                created: row.created,
            },
            out,
        );
    }

    /// After the last family.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        if self.dialect == Dialect::OpenMetrics {
            put(out, &["# EOF\n"]);
        }
    }

    fn latency(&self, series: &Series, new: bool, out: &mut Vec<u8>) {
        let latency = &series.counts.latency;
        let mut below: u64 = 0;
        let cumulative = latency.classic().map(|count| {
            if !new {
                below = below.saturating_add(count);
            }
            below
        });
        self.histogram(
            Histogram {
                family: Family::Latency,
                labels: series.key.text(),
                ends: &self.seconds,
                cumulative,
                sum_ns: if new { 0 } else { latency.sum_ns() },
                unit: Unit::Seconds,
                created: series.created,
            },
            out,
        );
    }

    /// One line per class that occurred; 0 for those that are new to the scraper. A class was at 0 when its series
    /// came into being, so that is its creation.
    fn requests(&self, series: &Series, view: View, out: &mut Vec<u8>) {
        let family = Family::Requests;
        let labels = series.key.text();
        for of in &series.counts.requests {
            let (code, outcome) = (of.class.code.as_str(), of.class.outcome.as_str());
            let class = [",code_class=\"", code, "\",outcome=\"", outcome, "\"} "];
            put(out, &[family.name(), "{", labels]);
            put(out, &class);
            number::integer(out, if view.is_new(of.born) { 0 } else { of.count });
            out.push(b'\n');
            if self.dialect == Dialect::OpenMetrics {
                put(out, &[family.open_metrics_name(), "_created{", labels]);
                put(out, &class);
                number::nanos(out, series.created.0.into(), Unit::Seconds);
                out.push(b'\n');
            }
        }
    }

    fn counter(&self, family: Family, series: &Series, value: u64, out: &mut Vec<u8>) {
        put(out, &[family.name(), "{", series.key.text(), "} "]);
        number::integer(out, value);
        out.push(b'\n');
        self.created(family, series.key.text(), series.created, out);
    }

    fn seconds(&self, family: Family, series: &Series, nanos: u128, out: &mut Vec<u8>) {
        put(out, &[family.name(), "{", series.key.text(), "} "]);
        number::nanos(out, nanos, Unit::Seconds);
        out.push(b'\n');
        self.created(family, series.key.text(), series.created, out);
    }

    fn histogram(&self, of: Histogram<'_, impl Iterator<Item = u64>>, out: &mut Vec<u8>) {
        let name = of.family.name();
        let from = out.len();
        put(out, &[name, "_bucket{", of.labels]);
        let line = out.len() - from;
        out.reserve((line + Short::ROOM * 2) * of.ends.len());
        let (mut count, mut digits) = (0, Short::line(0));
        // Each line begins as the first one does, so it is copied from there.
        for (nth, (end, below)) in of.ends.iter().zip(of.cumulative).enumerate() {
            if nth > 0 {
                out.extend_from_within(from..from + line);
            }
            if below != count {
                (count, digits) = (below, Short::line(below));
            }
            end.put(out);
            digits.put(out);
        }
        put(out, &[name, "_sum{", of.labels, "} "]);
        number::nanos(out, of.sum_ns, of.unit);
        put(out, &["\n", name, "_count{", of.labels, "} "]);
        digits.put(out);
        self.created(of.family, of.labels, of.created, out);
    }

    fn created(&self, family: Family, labels: &str, at: UnixNanos, out: &mut Vec<u8>) {
        if self.dialect == Dialect::OpenMetrics {
            put(
                out,
                &[family.open_metrics_name(), "_created{", labels, "} "],
            );
            number::nanos(out, at.0.into(), Unit::Seconds);
            out.push(b'\n');
        }
    }
}

impl Dialect {
    fn family_name(self, family: Family) -> &'static str {
        match self {
            Self::Classic => family.name(),
            Self::OpenMetrics => family.open_metrics_name(),
        }
    }

    fn ends(self, bounds: impl Iterator<Item = u64>, unit: Unit) -> Box<[Short]> {
        let end = |bound: u64| {
            let mut value = Vec::new();
            number::nanos(&mut value, bound.into(), unit);
            // OpenMetrics: "Exposers MUST produce output for positive infinity as +Inf, for other values as a float".
            if self == Dialect::OpenMetrics && !value.contains(&b'.') {
                value.extend_from_slice(b".0");
            }
            Short::of(&[b",le=\"", &value, b"\"} "])
        };
        bounds
            .map(end)
            .chain([Short::of(&[b",le=\"+Inf\"} "])])
            .collect()
    }
}

#[inline]
fn put(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}
