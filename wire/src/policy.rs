//! Policy: what a filter records, and how often.

use alloc::{sync::Arc, vec::Vec};

use crate::units::Nanos;

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
/// none over a day, without +Inf. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClassicBounds(Arc<[Nanos]>);

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
    pub fn try_new(_bounds: Vec<Nanos>) -> Result<Self, BoundsError> {
        todo!()
    }

    /// The bounds.
    #[must_use]
    pub fn as_slice(&self) -> &[Nanos] {
        &self.0
    }
}

impl Default for ClassicBounds {
    /// The union of ours (1 2.5 5 10 25 50 100 250 500 ms, 1 2.5 5 10 s) and of Kong's upstream set
    /// (25 50 80 100 250 400 700 1000 2000 5000 10000 30000 60000 ms).
    fn default() -> Self {
        todo!()
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
