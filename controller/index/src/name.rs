//! Names of namespaced objects.

use std::fmt;

use hashbrown::Equivalent;

use crate::text::{Interner, Text};

/// Longest name or namespace, in bytes (Kubernetes's own bound for names).
pub(crate) const NAME_BYTES: usize = 253;

/// `namespace/name`, checked: both are 1 to 253 of `[A-Za-z0-9.:_-]`, so they cannot be mistaken for each other in a
/// cluster's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectName {
    pub(crate) namespace: Text,
    pub(crate) name: Text,
}

/// Borrowed [`ObjectName`], for look-ups.
#[derive(Clone, Copy, Hash)]
pub(crate) struct NameRef<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Equivalent<ObjectName> for NameRef<'_> {
    fn equivalent(&self, other: &ObjectName) -> bool {
        self.name == &*other.name && self.namespace == &*other.namespace
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl ObjectName {
    /// `None` when either part is not a name.
    pub(crate) fn try_new(texts: &mut Interner, namespace: &str, name: &str) -> Option<Self> {
        (is_name(namespace) && is_name(name)).then(|| Self {
            namespace: texts.text(namespace),
            name: texts.text(name),
        })
    }

    /// The same namespace, another name.
    pub(crate) fn sibling(&self, name: &Text) -> Self {
        Self {
            namespace: self.namespace.clone(),
            name: name.clone(),
        }
    }
}

pub(crate) fn is_name(s: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'_' | b'-');
    (1..=NAME_BYTES).contains(&s.len()) && s.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use hashbrown::HashSet;

    use super::*;

    #[test]
    fn names_are_checked() {
        let mut texts = Interner::default();
        assert!(ObjectName::try_new(&mut texts, "shop", "checkout").is_some());
        for bad in ["", "a/b", "ä", "a b", &"x".repeat(254)] {
            assert!(ObjectName::try_new(&mut texts, "shop", bad).is_none());
            assert!(ObjectName::try_new(&mut texts, bad, "checkout").is_none());
        }
    }

    #[test]
    fn borrowed_names_find_owned_ones() {
        let mut texts = Interner::default();
        let set: HashSet<_> = ObjectName::try_new(&mut texts, "shop", "checkout")
            .into_iter()
            .collect();
        let look = |namespace, name| set.contains(&NameRef { namespace, name });
        assert!(look("shop", "checkout"));
        assert!(!look("checkout", "shop"));
    }
}
