//! Series: a target with a route, and its totals.

use std::sync::Arc;

use gaugeway_wire::{Layout, Target, UnixNanos};

use crate::{counts::Counts, labels, units::ChangeNumber};

/// What a series is about. Its identity is its label text: what Prometheus tells series apart by.
#[derive(Debug)]
pub struct SeriesKey {
    target: Arc<Target>,
    route: Arc<str>,
    text: Box<str>,
}

impl SeriesKey {
    /// Renders the labels.
    #[must_use]
    pub fn new(target: Arc<Target>, route: Arc<str>) -> Self {
        let text = labels::render(&target, &route);
        Self {
            target,
            route,
            text,
        }
    }

    /// What served the requests.
    #[must_use]
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// The route; empty when not recorded.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The labels as the text formats write them between the braces, without `le`: sorted, escaped.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// One series at one moment. Shared with snapshots: the writer copies it before it changes one that is held.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is about.
    pub key: Arc<SeriesKey>,
    /// The policy that made it.
    pub maker: Option<Arc<str>>,
    /// When it came into being, as state of the totals.
    pub born: ChangeNumber,
    /// When it came into being, as time.
    pub created: UnixNanos,
    /// When its totals last changed, as state of the totals.
    pub changed: ChangeNumber,
    /// When its totals last changed, as time.
    pub changed_at: UnixNanos,
    /// Its totals.
    pub counts: Counts,
}

impl Series {
    /// Without counts.
    #[must_use]
    pub fn new(key: Arc<SeriesKey>, layout: Layout, born: ChangeNumber, now: UnixNanos) -> Self {
        Self {
            key,
            maker: None,
            born,
            created: now,
            changed: born,
            changed_at: now,
            counts: Counts::new(layout),
        }
    }

    /// Notes a change.
    pub(crate) fn touch(&mut self, change: ChangeNumber, now: UnixNanos) {
        self.changed = change;
        self.changed_at = now;
    }
}
