//! Kong as the host that the core asks for, on top of the ABI's calls.

use gaugeway_filter_core::{
    host::Clock,
    kong::{Attribute, Attributes, whole_milliseconds},
};
use gaugeway_wire::UnixNanos;

use super::Gateway;

/// Marks [`Gateway`] as Kong.
pub(crate) struct Kong;

impl Clock for Gateway<'_, Kong> {
    fn now(&mut self) -> UnixNanos {
        whole_milliseconds(UnixNanos(self.calls.time().unwrap_or(0)))
    }
}

impl Attributes for Gateway<'_, Kong> {
    fn read(&mut self, attribute: Attribute) -> Option<&[u8]> {
        self.calls.property(attribute.path())
    }
}
