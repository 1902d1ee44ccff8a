//! Kong as the host that the core asks for, on top of the ABI's calls.

use gaugeway_filter_core::{
    host::Clock,
    kong::{Attribute, Attributes, whole_milliseconds},
};
use gaugeway_wire::UnixNanos;

use super::Gateway;

/// Longest list that is read, in bytes: what a hundred tries take. One callback's work must have an end.
const LIST_BYTES: usize = 4096;

/// Marks [`Gateway`] as Kong.
pub(crate) struct Kong;

impl Clock for Gateway<'_, Kong> {
    fn now(&mut self) -> UnixNanos {
        whole_milliseconds(UnixNanos(self.calls.time().unwrap_or(0)))
    }
}

impl Attributes for Gateway<'_, Kong> {
    fn read(&mut self, attribute: Attribute) -> Option<&[u8]> {
        let value = self.calls.property(attribute.path());
        value.filter(|value| value.len() <= LIST_BYTES)
    }
}
