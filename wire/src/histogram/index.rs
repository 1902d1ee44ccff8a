//! Index of a native bucket, in integers.
//!
//! Prometheus decides by floats: a sample of `n` ns lies in the first bucket whose upper bound is not below
//! `n as f64 / 1e9`. Every bucket therefore ends at some whole nanosecond, the largest `n` for which that holds;
//! those ends, at the finest schema, are a table made at compile time. Coarser schemas have every 2^k-th bound.
//! **Invariant**: [`bucket_index`] equals client_golang's `histogramCounts.observe` for 1 ns to 2^17 s (36 hours).

use core::ops::RangeInclusive;

use super::coarser;
use crate::{policy::Schema, units::Nanos};

/// Upper bounds within an octave at schema 5, as fractions of its end: client_golang, `nativeHistogramBounds[5]`.
/// Literally so: some differ from the nearest double to `2^(j/32-1)` in the last bit.
const FRACTIONS: [f64; 32] = [
    0.5,
    0.5109485743270583,
    0.5221368912137069,
    0.5335702003384117,
    0.5452538663326288,
    0.5571933712979462,
    0.5693943173783458,
    0.5818624293887887,
    0.5946035575013605,
    0.6076236799902344,
    0.620928906036742,
    0.6345254785958666,
    0.6484197773255048,
    0.6626183215798706,
    0.6771277734684463,
    0.6919549409819159,
    0.7071067811865475,
    0.7225904034885232,
    0.7384130729697496,
    0.7545822137967112,
    0.7711054127039704,
    0.7879904225539431,
    0.805245165974627,
    0.8228777390769823,
    0.8408964152537144,
    0.8593096490612387,
    0.8781260801866495,
    0.8973545375015533,
    0.9170040432046711,
    0.9370838170551498,
    0.9576032806985735,
    0.9785720620876999,
];

/// Octaves of seconds that have buckets: from 2^-30 s (0.93 ns) to 2^17 s (36 hours).
const OCTAVES: RangeInclusive<i32> = -30..=17;
/// Index of the lowest bucket at schema 5.
const FIRST: i32 = *OCTAVES.start() * 32;
/// Buckets at schema 5.
const BUCKETS: usize = 47 * 32 + 1;
/// Cells per octave of nanoseconds: narrower than a bucket, so that none holds two ends.
const CELLS: usize = 64;

/// Largest whole nanosecond of each bucket at schema 5.
static ENDS: [u64; BUCKETS] = ends();
/// Position in [`ENDS`], less 32 per octave, of the bucket that holds a cell's lower edge.
static EDGES: [u8; CELLS] = edges();
/// The end of the last bucket, 2^17 s.
const LONGEST: u64 = 131_072_000_000_000;

/// Indexes that samples can have in a schema: 48 octaves, 1 ns to a day and a little more.
#[must_use]
pub const fn bucket_range(schema: Schema) -> RangeInclusive<i32> {
    (*OCTAVES.start() << schema.get())..=(*OCTAVES.end() << schema.get())
}

/// Index of the native bucket that holds `value`, exactly what Prometheus computes for the float `ns / 1e9`;
/// `None` for zero (the zero bucket). Bucket `i` holds `2^((i-1)/2^schema) < seconds <= 2^(i/2^schema)`.
/// Values over 2^17 s (no latency is) go to the last bucket.
/// O(1) by table, no floats. Source: client_golang `prometheus/histogram.go`, `histogramCounts.observe`.
#[inline]
#[must_use]
pub fn bucket_index(schema: Schema, value: Nanos) -> Option<i32> {
    let ns = value.0.min(LONGEST);
    let octave = ns.checked_ilog2()?;
    let guess = position(octave, ns);
    let past = ENDS.get(guess).is_some_and(|&end| ns > end);
    let finest = FIRST + small(guess) + i32::from(past);
    Some(coarser(finest, finer(schema)))
}

/// Position of the bucket that holds the lower edge of the cell that holds `ns`: its own or the one before.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "masked to six bits")]
fn position(octave: u32, ns: u64) -> usize {
    let cell = ((ns << (63 - octave)) >> 57) as usize & (CELLS - 1);
    32 * octave as usize + EDGES.get(cell).map_or(0, |&edge| usize::from(edge))
}

/// Upper bound in seconds of a native bucket, exactly Prometheus's.
#[must_use]
#[allow(clippy::cast_sign_loss, reason = "masked")]
pub fn bucket_upper_bound(schema: Schema, index: i32) -> f64 {
    let within = index & ((1 << schema.get()) - 1);
    let fraction = FRACTIONS.get((within << finer(schema)) as usize);
    libm::ldexp(
        fraction.copied().unwrap_or(1.0),
        (index >> schema.get()) + 1,
    )
}

/// Largest whole nanosecond of a bucket; everything for the last one, zero below the first.
pub(super) fn bucket_end(schema: Schema, index: i32) -> Nanos {
    let finest = i64::from(index) << finer(schema);
    let Ok(position) = u64::try_from(finest - i64::from(FIRST)) else {
        return Nanos(0);
    };
    // Far positions do not fit a 32-bit `usize`.
    let position = usize::try_from(position).unwrap_or(usize::MAX);
    let end = ENDS.get(position).copied();
    Nanos(end.filter(|&end| end < LONGEST).unwrap_or(u64::MAX))
}

/// Schemas between this one and the finest.
#[inline]
const fn finer(schema: Schema) -> u8 {
    Schema::MAX.get() - schema.get()
}

#[inline]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "at most BUCKETS"
)]
const fn small(position: usize) -> i32 {
    position as i32
}

const fn ends() -> [u64; BUCKETS] {
    let mut ends = [0; BUCKETS];
    let mut position = 0;
    while position < BUCKETS {
        ends[position] = last_not_above(upper_bound(FIRST + small(position)));
        position += 1;
    }
    ends
}

#[allow(clippy::cast_sign_loss, reason = "at compile time, masked or biased")]
const fn upper_bound(index: i32) -> f64 {
    let exponent = (index >> 5) + 1;
    let power = f64::from_bits(((1023 + exponent) as u64) << 52);
    FRACTIONS[(index & 31) as usize] * power
}

/// Largest `n` with `n / 1e9 <= bound`, in doubles.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at compile time, below 2^53"
)]
const fn last_not_above(bound: f64) -> u64 {
    let mut n = (bound * 1e9) as u64;
    while (n + 1) as f64 / 1e9 <= bound {
        n += 1;
    }
    while n as f64 / 1e9 > bound {
        n -= 1;
    }
    n
}

/// The same for every octave of nanoseconds: ends a whole octave apart differ by a factor of two, and no edge is an
/// end. Taken from the highest octave, where whole nanoseconds are finest.
#[allow(clippy::cast_possible_truncation, reason = "at compile time, below 64")]
const fn edges() -> [u8; CELLS] {
    const OCTAVE: usize = 45;
    let ends = ends();
    let mut edges = [0; CELLS];
    let mut position = 32 * OCTAVE;
    let mut cell = 0;
    while cell < CELLS {
        let edge = (1 << OCTAVE) + ((cell as u64) << (OCTAVE - 6));
        while edge > ends[position] {
            position += 1;
        }
        edges[cell] = (position - 32 * OCTAVE) as u8;
        cell += 1;
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// client_golang, `nativeHistogramBounds`, schemas 0 to 5.
    const BOUNDS: [&[f64]; 6] = [
        &[0.5],
        &[0.5, 0.7071067811865475],
        &[
            0.5,
            0.5946035575013605,
            0.7071067811865475,
            0.8408964152537144,
        ],
        &[
            0.5,
            0.5452538663326288,
            0.5946035575013605,
            0.6484197773255048,
            0.7071067811865475,
            0.7711054127039704,
            0.8408964152537144,
            0.9170040432046711,
        ],
        &[
            0.5,
            0.5221368912137069,
            0.5452538663326288,
            0.5693943173783458,
            0.5946035575013605,
            0.620928906036742,
            0.6484197773255048,
            0.6771277734684463,
            0.7071067811865475,
            0.7384130729697496,
            0.7711054127039704,
            0.805245165974627,
            0.8408964152537144,
            0.8781260801866495,
            0.9170040432046711,
            0.9576032806985735,
        ],
        &[
            0.5,
            0.5109485743270583,
            0.5221368912137069,
            0.5335702003384117,
            0.5452538663326288,
            0.5571933712979462,
            0.5693943173783458,
            0.5818624293887887,
            0.5946035575013605,
            0.6076236799902344,
            0.620928906036742,
            0.6345254785958666,
            0.6484197773255048,
            0.6626183215798706,
            0.6771277734684463,
            0.6919549409819159,
            0.7071067811865475,
            0.7225904034885232,
            0.7384130729697496,
            0.7545822137967112,
            0.7711054127039704,
            0.7879904225539431,
            0.805245165974627,
            0.8228777390769823,
            0.8408964152537144,
            0.8593096490612387,
            0.8781260801866495,
            0.8973545375015533,
            0.9170040432046711,
            0.9370838170551498,
            0.9576032806985735,
            0.9785720620876999,
        ],
    ];

    fn schemas() -> impl Iterator<Item = Schema> {
        (0..=5).filter_map(Schema::try_new)
    }

    /// As client_golang's `histogramCounts.observe`: `math.Frexp`, then `sort.SearchFloat64s`.
    fn observed(schema: Schema, ns: u64) -> i32 {
        let (fraction, exponent) = libm::frexp(ns as f64 / 1e9);
        if schema.get() == 0 {
            return if fraction == 0.5 {
                exponent - 1
            } else {
                exponent
            };
        }
        let bounds = BOUNDS[usize::from(schema.get())];
        let position = bounds.partition_point(|&bound| bound < fraction);
        i32::try_from(position).unwrap() + (exponent - 1) * i32::try_from(bounds.len()).unwrap()
    }

    fn assert_as_observed(ns: u64) {
        for schema in schemas() {
            assert_eq!(
                bucket_index(schema, Nanos(ns)),
                Some(observed(schema, ns)),
                "{ns} ns at schema {schema:?}"
            );
        }
    }

    #[test]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a bound in nanoseconds"
    )]
    fn index_is_prometheus_around_every_boundary() {
        for schema in schemas() {
            for index in bucket_range(schema) {
                let bound = bucket_upper_bound(schema, index) * 1e9;
                let near = bound as u64;
                for ns in near.saturating_sub(3)..=near + 3 {
                    if (1..=Nanos::DAY.0 + 3).contains(&ns) {
                        assert_as_observed(ns);
                    }
                }
            }
        }
    }

    #[test]
    fn index_is_prometheus_around_every_cell_edge_and_power_of_two() {
        for octave in 0..47 {
            for cell in 0..CELLS as u64 {
                let edge = (1u64 << octave) + ((cell << octave) >> 6);
                for ns in edge.saturating_sub(2).max(1)..=edge + 2 {
                    assert_as_observed(ns.min(LONGEST));
                }
            }
        }
    }

    #[test]
    fn index_is_prometheus_for_every_small_value() {
        (1..100_000).for_each(assert_as_observed);
    }

    #[test]
    fn index_is_prometheus_for_random_values() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Uniform over octaves, not over values.
            assert_as_observed(((state >> 17) >> (state >> 58)).clamp(1, LONGEST));
        }
    }

    #[test]
    fn no_cell_holds_two_ends() {
        for octave in 6..47 {
            for cell in 0..CELLS as u64 {
                let first = (1u64 << octave) + (cell << (octave - 6));
                let last = first + (1 << (octave - 6)) - 1;
                let inside = ENDS.iter().filter(|&&end| first <= end && end < last);
                assert!(inside.count() <= 1, "octave {octave}, cell {cell}");
            }
        }
    }

    #[test]
    fn zero_has_no_bucket_and_the_longest_go_to_the_last() {
        for schema in schemas() {
            assert_eq!(bucket_index(schema, Nanos(0)), None);
            let last = *bucket_range(schema).end();
            for ns in [LONGEST, LONGEST + 1, u64::MAX] {
                assert_eq!(bucket_index(schema, Nanos(ns)), Some(last));
            }
        }
    }

    #[test]
    fn every_value_is_within_the_range() {
        for schema in schemas() {
            let range = bucket_range(schema);
            for ns in [1, 2, Nanos::DAY.0] {
                assert!(range.contains(&bucket_index(schema, Nanos(ns)).unwrap()));
            }
        }
    }

    #[test]
    fn bounds_are_prometheus() {
        let at = |schema, index| bucket_upper_bound(Schema::try_new(schema).unwrap(), index);
        assert_eq!(at(0, 0).to_bits(), 1f64.to_bits());
        assert_eq!(at(0, -3).to_bits(), 0.125f64.to_bits());
        assert_eq!(at(1, 1).to_bits(), (2.0 * 0.7071067811865475f64).to_bits());
        assert_eq!(
            at(3, -25).to_bits(),
            (0.9170040432046711f64 / 8.0).to_bits()
        );
        assert_eq!(at(5, 544).to_bits(), 131_072f64.to_bits());
        assert_eq!(at(5, i32::MAX), f64::INFINITY);
        assert_eq!(at(5, i32::MIN), 0.0);
    }

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        for schema in schemas() {
            let range = bucket_range(schema);
            for index in range.clone() {
                let end = bucket_end(schema, index);
                if end.0 == 0 || index == *range.end() {
                    continue;
                }
                // Below 100 ns several bounds can end at the same nanosecond; the first of them holds it.
                assert!(bucket_index(schema, end).unwrap() <= index);
                assert!(bucket_index(schema, Nanos(end.0 + 1)).unwrap() > index);
            }
            assert_eq!(bucket_end(schema, *range.end()), Nanos(u64::MAX));
            assert_eq!(bucket_end(schema, i32::MIN), Nanos(0));
            assert_eq!(bucket_end(schema, i32::MAX), Nanos(u64::MAX));
        }
    }
}
