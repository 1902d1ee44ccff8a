//! The protobuf format: `io.prometheus.client.MetricFamily`, each behind its length. A histogram has its classic and
//! its native buckets. Written by hand: a message per series would be built only to be thrown away.
//! Source: `io/prometheus/client/metrics.proto` of prometheus/client_model; `crate::client_model` reads it back.

mod wire;

use gaugeway_wire::{Layout, UnixNanos};

use super::{
    Family, View, kong,
    number::{self, Unit},
};
use crate::{labels, series::Series};

/// Width of the zero bucket; client_golang's default, which no latency but zero is below. A histogram with a threshold
/// above 0 is native even while it is empty.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;
/// Runs of empty buckets up to this long are written as buckets, longer ones as a gap. Source: client_golang.
const BRIDGED: i32 = 2;

/// Field of a family that holds its metrics.
const METRIC: u32 = 4;

/// Renders messages.
#[derive(Debug)]
pub(super) struct Messages {
    /// Bounds of the classic buckets, without the infinite one.
    seconds: Box<[f64]>,
    milliseconds: Box<[f64]>,
}

/// A classic histogram's part of the message.
struct Classic<'a, C> {
    bounds: &'a [f64],
    /// One per bound, then all.
    cumulative: C,
    sum: f64,
    created: UnixNanos,
}

impl Messages {
    pub(super) fn new(layout: &Layout) -> Self {
        let bounds = layout.bounds.as_slice().iter();
        let kongs = kong::bounds(layout);
        Self {
            seconds: bounds
                .map(|bound| number::float(bound.0.into(), Unit::Seconds))
                .collect(),
            milliseconds: kongs
                .map(|(_, bound)| number::float(bound.0.into(), Unit::Milliseconds))
                .collect(),
        }
    }

    /// The length of the whole family, and what comes before its metrics, which are `metric_bytes` long.
    pub(super) fn head(&self, family: Family, metric_bytes: u64, out: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(256);
        wire::bytes(&mut head, 1, family.name().as_bytes());
        wire::bytes(&mut head, 2, family.help().as_bytes());
        wire::number(&mut head, 3, if family.is_histogram() { 4 } else { 0 });
        wire::varint(out, metric_bytes.saturating_add(head.len() as u64));
        out.extend_from_slice(&head);
    }

    /// All metrics of one series in one family.
    pub(super) fn series(&self, family: Family, series: &Series, view: View, out: &mut Vec<u8>) {
        let counts = &series.counts;
        let new = view.is_new(series.born);
        let counter = |value: f64, out: &mut Vec<u8>| {
            let value = if new { 0.0 } else { value };
            counter(series, &[], value, out);
        };
        match family {
            Family::Latency => self.latency(series, new, out),
            Family::Requests => requests(series, view, out),
            Family::Retries => counter(whole(counts.retries), out),
            Family::Aborted => counter(whole(counts.aborted), out),
            Family::LatencyUnknown => counter(whole(counts.latency_unknown), out),
            Family::CancelledWait => {
                counter(number::float(counts.cancelled_wait_ns, Unit::Seconds), out);
            }
            Family::Kong => {}
        }
    }

    /// One of Kong's series.
    pub(super) fn kong(&self, row: &kong::Row, out: &mut Vec<u8>) {
        wire::message(out, METRIC, |out| {
            row.labels(|name, value| pair(out, name, value));
            wire::message(out, 7, |out| {
                classic(
                    Classic {
                        bounds: &self.milliseconds,
                        cumulative: row.cumulative.iter().copied(),
                        sum: number::float(row.sum_ns, Unit::Milliseconds),
                        created: row.created,
                    },
                    out,
                );
            });
        });
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
        let of = Classic {
            bounds: &self.seconds,
            cumulative,
            sum: if new {
                0.0
            } else {
                number::float(latency.sum_ns(), Unit::Seconds)
            },
            created: series.created,
        };
        metric(series, &[], out, |out| {
            wire::message(out, 7, |out| {
                classic(of, out);
                wire::signed(out, 5, latency.layout().schema.get().into());
                wire::double(out, 6, ZERO_THRESHOLD);
                wire::number(out, 7, if new { 0 } else { latency.zero_count() });
                if !new {
                    native(latency.native(), out);
                }
            });
        });
    }
}

/// Fields 1 to 3 and 15: count, sum, cumulative buckets, creation.
fn classic(of: Classic<'_, impl Iterator<Item = u64>>, out: &mut Vec<u8>) {
    let mut bounds = of.bounds.iter();
    let mut count = 0;
    for below in of.cumulative {
        count = below;
        if let Some(bound) = bounds.next() {
            wire::message(out, 3, |out| {
                wire::number(out, 1, below);
                wire::double(out, 2, *bound);
            });
        }
    }
    wire::number(out, 1, count);
    wire::double(out, 2, of.sum);
    timestamp(out, 15, of.created);
}

/// Fields 12 and 13: spans of buckets, and the difference of each bucket to the one before.
fn native(buckets: impl Iterator<Item = (i32, u64)> + Clone, out: &mut Vec<u8>) {
    let (mut next, mut span) = (0, None::<(i32, u64)>);
    for (index, _) in buckets.clone() {
        let gap = index.saturating_sub(next);
        span = Some(match span {
            Some((offset, length)) if gap <= BRIDGED => {
                (offset, length + 1 + u64::from(gap.unsigned_abs()))
            }
            before => {
                put_span(before, out);
                (gap, 1)
            }
        });
        next = index.saturating_add(1);
    }
    put_span(span, out);
    deltas(buckets, out);
}

fn put_span(span: Option<(i32, u64)>, out: &mut Vec<u8>) {
    if let Some((offset, length)) = span {
        wire::message(out, 12, |out| {
            wire::signed(out, 1, offset.into());
            wire::number(out, 2, length);
        });
    }
}

fn deltas(buckets: impl Iterator<Item = (i32, u64)>, out: &mut Vec<u8>) {
    let (mut next, mut last) = (None::<i32>, 0_i64);
    let mut put = |count: u64, out: &mut Vec<u8>| {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        wire::signed(out, 13, count.wrapping_sub(last));
        last = count;
    };
    for (index, count) in buckets {
        let gap = next.map_or(0, |next| index.saturating_sub(next));
        if gap <= BRIDGED {
            (0..gap).for_each(|_| put(0, out));
        }
        put(count, out);
        next = Some(index.saturating_add(1));
    }
}

fn requests(series: &Series, view: View, out: &mut Vec<u8>) {
    for of in &series.counts.requests {
        let class = [
            ("code_class", of.class.code.as_str()),
            ("outcome", of.class.outcome.as_str()),
        ];
        let value = if view.is_new(of.born) { 0 } else { of.count };
        counter(series, &class, whole(value), out);
    }
}

fn counter(series: &Series, more: &[(&str, &str)], value: f64, out: &mut Vec<u8>) {
    metric(series, more, out, |out| {
        wire::message(out, 3, |out| {
            wire::double(out, 1, value);
            timestamp(out, 3, series.created);
        });
    });
}

/// A metric with the series' labels and more.
fn metric(
    series: &Series,
    more: &[(&str, &str)],
    out: &mut Vec<u8>,
    value: impl FnOnce(&mut Vec<u8>),
) {
    wire::message(out, METRIC, |out| {
        let key = &series.key;
        labels::each(key.target(), key.route(), |name, value| {
            pair(out, name, value);
        });
        for (name, value) in more {
            pair(out, name, value);
        }
        value(out);
    });
}

fn pair(out: &mut Vec<u8>, name: &str, value: &str) {
    wire::message(out, 1, |out| {
        wire::bytes(out, 1, name.as_bytes());
        wire::bytes(out, 2, value.as_bytes());
    });
}

fn timestamp(out: &mut Vec<u8>, field: u32, at: UnixNanos) {
    wire::message(out, field, |out| {
        wire::number(out, 1, at.0 / 1_000_000_000);
        wire::number(out, 2, at.0 % 1_000_000_000);
    });
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "the format has nothing better")]
fn whole(count: u64) -> f64 {
    count as f64
}
