//! Newtypes for times and identities, so that no bare integer crosses a signature.

use crate::codec::{DecodeError, Reader, Tag};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    };
}

number!(
    /// A duration in nanoseconds.
    Nanos
);
number!(
    /// A wall-clock instant, nanoseconds since 1970-01-01T00:00:00Z.
    UnixNanos
);
number!(
    /// Number of a report within its VM's life, from 1.
    Seq
);
number!(
    /// Random name of one controller process's mapping; 0 = none held.
    MappingEpoch
);
number!(
    /// State of the mapping within its epoch.
    Generation
);
number!(
    /// Number of a mapping answer to one VM; 0 = nothing to confirm.
    Answer
);
number!(
    /// Random name of a ledger's life.
    LedgerEpoch
);

/// 16 random bytes that name one filter instance (per gateway it serves).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmId(pub [u8; 16]);

impl VmId {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        tag: Tag,
        name: &'static str,
    ) -> Result<Self, DecodeError> {
        let bytes = reader.bytes(tag, name)?;
        let bytes = bytes.try_into().map_err(|_| DecodeError::Value(name))?;
        Ok(Self(bytes))
    }
}

impl Nanos {
    /// A day: no upstream latency is longer, a longer difference is a clock step.
    pub const DAY: Self = Self(86_400_000_000_000);

    /// From whole milliseconds, saturating.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl UnixNanos {
    /// Time since `earlier`; `None` when the clock went back.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Option<Nanos> {
        match self.0.checked_sub(earlier.0) {
            Some(n) => Some(Nanos(n)),
            None => None,
        }
    }

    /// This instant moved later, saturating.
    #[must_use]
    pub const fn plus(self, by: Nanos) -> Self {
        Self(self.0.saturating_add(by.0))
    }

    /// This instant moved earlier, saturating.
    #[must_use]
    pub const fn minus(self, by: Nanos) -> Self {
        Self(self.0.saturating_sub(by.0))
    }
}
