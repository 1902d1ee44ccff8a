//! The filter's own health, as increases since the last report.

use gaugeway_wire::FilterCounter;

const COUNT: usize = FilterCounter::ALL.len();

/// One increase per [`FilterCounter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; COUNT]);

impl Counters {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; COUNT])
    }

    /// Adds one.
    pub fn bump(&mut self, counter: FilterCounter) {
        self.add(counter, 1);
    }

    /// Adds `by`.
    pub fn add(&mut self, counter: FilterCounter, by: u64) {
        if let Some(value) = self.0.get_mut(counter as usize - 1) {
            *value = value.saturating_add(by);
        }
    }

    /// Adds another's increases.
    pub fn merge(&mut self, other: &Self) {
        for (counter, by) in other.iter() {
            self.add(counter, by);
        }
    }

    /// Hands the increases over and starts at zero.
    #[must_use]
    pub fn take(&mut self) -> Self {
        core::mem::take(self)
    }

    /// Whether nothing increased.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&value| value == 0)
    }

    /// Increases above zero.
    pub fn iter(&self) -> impl Iterator<Item = (FilterCounter, u64)> + '_ {
        let all = FilterCounter::ALL.into_iter().zip(self.0);
        all.filter(|&(_, value)| value > 0)
    }

    /// One increase.
    #[must_use]
    pub fn get(&self, counter: FilterCounter) -> u64 {
        self.0.get(counter as usize - 1).copied().unwrap_or(0)
    }
}
