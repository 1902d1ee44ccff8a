//! Jittered exponential back-off.

use gaugeway_wire::Nanos;

use crate::time::Instant;

/// Shortest wait after a first failure.
const FIRST: Nanos = Nanos::from_millis(250);
/// Longest wait, and the most that a `Retry-After` is honoured.
const LONGEST: Nanos = Nanos::from_millis(15_000);

/// A small generator (SplitMix64) for jitter; seeded once per VM.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, below)`.
    pub(crate) fn below(&mut self, below: Nanos) -> Nanos {
        Nanos(self.next().checked_rem(below.0).unwrap_or(0))
    }
}

/// When to try again. Each failure doubles the wait, a success forgets them all.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self {
            failures: 0,
            until: None,
        }
    }

    /// Whether to wait still.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::new();
    }

    /// Waits for half of the exponential time plus as much again by chance, or for as long as the server asked.
    pub(crate) fn failed(&mut self, now: Instant, asked: Option<Nanos>, jitter: &mut Jitter) {
        let wait = FIRST
            .0
            .checked_shl(self.failures.min(16))
            .unwrap_or(u64::MAX);
        let wait = Nanos(wait.min(LONGEST.0));
        let half = Nanos(wait.0 / 2);
        let asked = asked.unwrap_or_default().min(LONGEST);
        let wait = Nanos(asked.0.max(half.0).saturating_add(jitter.below(half).0));
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus(wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_vanish_with_success() {
        let mut backoff = Backoff::new();
        let mut jitter = Jitter::new(1);
        let now = Instant::default();
        for _ in 0..100 {
            backoff.failed(now, None, &mut jitter);
            assert!(backoff.holds(now));
            assert!(!backoff.holds(now.plus(LONGEST)));
        }
        assert!(backoff.holds(now.plus(Nanos(LONGEST.0 / 2 - 1))));
        backoff.succeeded();
        assert!(!backoff.holds(now));
    }

    #[test]
    fn a_servers_wish_is_honoured_within_bounds() {
        let mut backoff = Backoff::new();
        let mut jitter = Jitter::new(1);
        let now = Instant::default();
        backoff.failed(now, Some(Nanos::from_millis(3_000)), &mut jitter);
        assert!(backoff.holds(now.plus(Nanos::from_millis(2_999))));
        backoff.failed(now, Some(Nanos(u64::MAX)), &mut jitter);
        assert!(!backoff.holds(now.plus(Nanos(LONGEST.0 * 2))));
    }
}
