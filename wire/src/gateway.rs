//! A gateway's name.

use alloc::sync::Arc;

use crate::limits::GATEWAY_BYTES;

/// Name of one gateway: `namespace/name` of its `Gateway` object, or what its operator chose. Not empty, at most
/// [`GATEWAY_BYTES`], printable ASCII without spaces (it travels in a header). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayName(Arc<str>);

/// The name is empty, too long or has a character that a header cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a gateway's name is 1 to 512 printable ASCII characters without spaces")]
pub struct GatewayNameError;

impl GatewayName {
    /// Checks.
    ///
    /// # Errors
    /// [`GatewayNameError`].
    pub fn try_new(name: &str) -> Result<Self, GatewayNameError> {
        let fits =
            (1..=GATEWAY_BYTES).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(GatewayNameError)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for GatewayName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_are_what_a_header_carries() {
        let longest = "g".repeat(GATEWAY_BYTES);
        for name in ["demo/edge", "x", &longest] {
            assert_eq!(
                GatewayName::try_new(name).as_ref().map(GatewayName::as_str),
                Ok(name)
            );
        }
        for name in ["", "a b", "a\n", "zürich", &(longest + "g")] {
            assert_eq!(GatewayName::try_new(name), Err(GatewayNameError));
        }
    }
}
