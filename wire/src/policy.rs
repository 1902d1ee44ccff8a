//! Policy: what a filter records, and how often.

use alloc::{sync::Arc, vec::Vec};
use core::hash::{Hash, Hasher};

use crate::{
    codec::{DecodeError, Reader, put_message, put_uint, put_varint, try_push},
    histogram::Layout,
    limits::{CLASSIC_BOUNDS, REPORT_INTERVAL_MS},
    units::Nanos,
};

/// Prometheus native histogram schema, 0..=5: a bucket's upper bound is 2^(2^-schema) times the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Schema(u8);

impl Schema {
    /// The finest.
    pub const MAX: Self = Self(5);
    /// 3: buckets 9 % wide.
    pub const DEFAULT: Self = Self(3);

    /// `None` outside 0..=5.
    #[must_use]
    pub const fn try_new(schema: u32) -> Option<Self> {
        match schema {
            0 => Some(Self(0)),
            1 => Some(Self(1)),
            2 => Some(Self(2)),
            3 => Some(Self(3)),
            4 => Some(Self(4)),
            5 => Some(Self(5)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Upper bounds of classic buckets, strictly increasing, at most [`crate::limits::CLASSIC_BOUNDS`], none zero,
/// none over a day, without +Inf. Cheap to clone, and to compare with its clones.
#[derive(Clone, Debug, Eq)]
pub struct ClassicBounds(Arc<[Nanos]>);

impl PartialEq for ClassicBounds {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Hash for ClassicBounds {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Why bounds were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundsError {
    /// Not strictly increasing.
    #[error("classic bounds must be strictly increasing")]
    Order,
    /// Too many, zero, or over a day.
    #[error("classic bounds must be at most 64, above zero and at most a day")]
    Range,
}

impl ClassicBounds {
    /// Checks.
    ///
    /// # Errors
    /// [`BoundsError`].
    pub fn try_new(bounds: Vec<Nanos>) -> Result<Self, BoundsError> {
        let legal = Nanos(1)..=Nanos::DAY;
        if bounds.len() > CLASSIC_BOUNDS || !bounds.iter().all(|bound| legal.contains(bound)) {
            return Err(BoundsError::Range);
        }
        if !bounds.is_sorted_by(|a, b| a < b) {
            return Err(BoundsError::Order);
        }
        Ok(Self(bounds.into()))
    }

    /// The bounds.
    #[must_use]
    pub fn as_slice(&self) -> &[Nanos] {
        &self.0
    }

    /// Number of bounds; one more bucket, +Inf, follows them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether +Inf is the only bucket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Position of the bucket that holds `value`: the first bound that is not below it, [`ClassicBounds::len`] for
    /// +Inf. O(log n), allocates nothing.
    #[inline]
    #[must_use]
    pub fn position(&self, value: Nanos) -> usize {
        self.0.partition_point(|&bound| bound < value)
    }

    /// The packed content of a `classic_bounds_ns` field.
    pub(crate) fn encode(&self, field: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_message(out, field, |out| {
                self.0.iter().for_each(|bound| put_varint(out, bound.0));
            });
        }
    }
}

impl Default for ClassicBounds {
    /// The union of ours (1 2.5 5 10 25 50 100 250 500 ms, 1 2.5 5 10 s) and of Kong's upstream set
    /// (25 50 80 100 250 400 700 1000 2000 5000 10000 30000 60000 ms).
    fn default() -> Self {
        const MICROS: [u64; 19] = [
            1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 80_000, 100_000, 250_000, 400_000,
            500_000, 700_000, 1_000_000, 2_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
            60_000_000,
        ];
        Self(Arc::new(MICROS.map(|micros| Nanos(micros * 1_000))))
    }
}

/// What to record, and how often (DESIGN §5, §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Schema of the native histograms.
    pub schema: Schema,
    /// Bounds of the classic histograms.
    pub classic_bounds: ClassicBounds,
    /// Between two reports of a VM.
    pub report_interval: Nanos,
    /// Read and report the route's name.
    pub route: bool,
    /// How long an address may stay without a target, counted while the controller answers.
    pub unknown_grace: Nanos,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            schema: Schema::DEFAULT,
            classic_bounds: ClassicBounds::default(),
            report_interval: Nanos(5_000_000_000),
            route: false,
            unknown_grace: Nanos(10_000_000_000),
        }
    }
}

impl Policy {
    /// How histograms are cut under this policy.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout {
            schema: self.schema,
            bounds: self.classic_bounds.clone(),
        }
    }

    /// Encodes onto the end of `out`. Times are whole milliseconds, rounded down, at most `u32::MAX`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let millis = |time: Nanos| time.as_millis().min(u64::from(u32::MAX));
        put_uint(out, 1, u64::from(self.schema.get()));
        self.classic_bounds.encode(2, out);
        put_uint(out, 3, millis(self.report_interval));
        put_uint(out, 4, u64::from(self.route));
        put_uint(out, 5, millis(self.unknown_grace));
    }

    /// Decodes and checks.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut schema, mut route) = (0, false);
        let (mut interval, mut grace) = (0, 0);
        let mut bounds = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("Policy")? {
            match tag.field {
                1 => schema = reader.uint32(tag, "Policy.schema")?,
                2 => {
                    const NAME: &str = "Policy.classic_bounds_ns";
                    reader.uints(tag, NAME, |bound| {
                        try_push(&mut bounds, Nanos(bound), NAME, CLASSIC_BOUNDS)
                    })?;
                }
                3 => interval = reader.uint32(tag, "Policy.report_interval_ms")?,
                4 => route = reader.flag(tag, "Policy.route")?,
                5 => grace = reader.uint32(tag, "Policy.unknown_grace_ms")?,
                _ => reader.skip(tag, "Policy")?,
            }
        }
        if !REPORT_INTERVAL_MS.contains(&interval) {
            return Err(DecodeError::Value("Policy.report_interval_ms"));
        }
        Ok(Self {
            schema: Schema::try_new(schema).ok_or(DecodeError::Value("Policy.schema"))?,
            classic_bounds: ClassicBounds::try_new(bounds)
                .map_err(|_| DecodeError::Value("Policy.classic_bounds_ns"))?,
            report_interval: Nanos::from_millis(interval.into()),
            route,
            unknown_grace: Nanos::from_millis(grace.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn bounds(bounds: &[u64]) -> Result<ClassicBounds, BoundsError> {
        ClassicBounds::try_new(bounds.iter().copied().map(Nanos).collect())
    }

    #[test]
    fn bounds_are_checked() {
        assert!(bounds(&[]).is_ok_and(|bounds| bounds.is_empty()));
        assert!(bounds(&[1, 2, Nanos::DAY.0]).is_ok());
        assert_eq!(bounds(&[1, 1]), Err(BoundsError::Order));
        assert_eq!(bounds(&[2, 1]), Err(BoundsError::Order));
        assert_eq!(bounds(&[0]), Err(BoundsError::Range));
        assert_eq!(bounds(&[Nanos::DAY.0 + 1]), Err(BoundsError::Range));
        let many = |count| ClassicBounds::try_new((1..=count).map(Nanos).collect());
        assert!(many(CLASSIC_BOUNDS as u64).is_ok());
        assert_eq!(many(CLASSIC_BOUNDS as u64 + 1), Err(BoundsError::Range));
    }

    #[test]
    fn the_default_holds_every_bound_of_kong() {
        let kong = [
            25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10_000, 30_000, 60_000,
        ];
        let ours = ClassicBounds::default();
        for millis in kong {
            assert!(ours.as_slice().contains(&Nanos::from_millis(millis)));
        }
        assert_eq!(ClassicBounds::try_new(ours.as_slice().to_vec()), Ok(ours));
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let bounds = bounds(&[10, 20]).unwrap();
        let position = |ns| bounds.position(Nanos(ns));
        assert_eq!([0, 10, 11, 20, 21].map(position), [0, 0, 1, 1, 2]);
    }

    #[test]
    fn equal_bounds_are_equal_wherever_they_are() {
        assert_eq!(bounds(&[1, 2]), bounds(&[1, 2]));
        assert_ne!(bounds(&[1, 2]), bounds(&[1, 3]));
        let shared = bounds(&[1, 2]).unwrap();
        assert_eq!(shared.clone(), shared);
    }

    #[test]
    fn an_empty_policy_is_refused() {
        let refused = Err(DecodeError::Value("Policy.report_interval_ms"));
        assert_eq!(Policy::decode(&[]), refused);
    }
}
