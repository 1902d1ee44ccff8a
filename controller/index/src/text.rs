//! Interned strings. A cluster repeats its names: a Pod's node, zone, labels and owner stand in thousands of objects.
//!
//! Invariants: equal texts made by one [`Interner`] share their bytes; a text that nobody holds is freed at a later
//! sweep, so churn does not leak.

use std::{borrow::Borrow, fmt, hash::Hash, ops::Deref, sync::Arc};

use hashbrown::HashSet;

/// A shared string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Text(Arc<str>);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    /// Not interned.
    fn from(s: &str) -> Self {
        Self(s.into())
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Labels of an object, sorted by key. Pods of one ReplicaSet share them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LabelSet(Arc<[(Text, Text)]>);

impl LabelSet {
    pub(crate) fn get(&self, key: &str) -> Option<&Text> {
        let at = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Text, Text)> {
        self.0.iter()
    }
}

/// Makes [`Text`]s and [`LabelSet`]s.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: HashSet<Text>,
    labels: HashSet<LabelSet>,
    sweep_at: usize,
}

/// Fewer entries are never swept.
const SWEEP_FLOOR: usize = 1024;

impl Interner {
    pub(crate) fn text(&mut self, s: &str) -> Text {
        if let Some(text) = self.texts.get(s) {
            return text.clone();
        }
        self.sweep_if_due();
        let text = Text(s.into());
        self.texts.insert(text.clone());
        text
    }

    /// `None` for an absent or empty string.
    pub(crate) fn some(&mut self, s: Option<&str>) -> Option<Text> {
        s.filter(|s| !s.is_empty()).map(|s| self.text(s))
    }

    /// `pairs` come in any order, keys unique.
    pub(crate) fn labels<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> LabelSet {
        let mut pairs: Vec<_> = pairs.map(|(k, v)| (self.text(k), self.text(v))).collect();
        pairs.sort_unstable();
        let set = LabelSet(pairs.into());
        self.labels.get_or_insert_with(&set, Clone::clone).clone()
    }

    fn sweep_if_due(&mut self) {
        if self.texts.len() < self.sweep_at.max(SWEEP_FLOOR) {
            return;
        }
        self.labels.retain(|set| Arc::strong_count(&set.0) > 1);
        self.texts.retain(|text| Arc::strong_count(&text.0) > 1);
        self.sweep_at = self.texts.len().saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_their_bytes() {
        let mut i = Interner::default();
        let (a, b) = (i.text("checkout"), i.text("checkout"));
        assert!(Arc::ptr_eq(&a.0, &b.0));
        let pods = [("app", "a"), ("tier", "b")];
        let (x, y) = (i.labels(pods.into_iter()), i.labels(pods.into_iter().rev()));
        assert!(Arc::ptr_eq(&x.0, &y.0));
        assert_eq!(x.get("tier").map(|t| &**t), Some("b"));
        assert_eq!(x.get("team"), None);
    }

    #[test]
    fn churn_does_not_leak() {
        let mut i = Interner::default();
        let held: Vec<_> = (0..10).map(|n| i.text(&format!("held-{n}"))).collect();
        for n in 0..100_000 {
            let (key, value) = (format!("k{n}"), format!("v{n}"));
            i.labels([(key.as_str(), value.as_str())].into_iter());
        }
        assert!(i.texts.len() <= 2 * SWEEP_FLOOR, "{}", i.texts.len());
        assert!(i.labels.len() <= 2 * SWEEP_FLOOR);
        assert_eq!(i.text("held-3"), held[3]);
    }
}
