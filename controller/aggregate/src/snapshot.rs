//! The totals at one moment, for readers.

use std::sync::Arc;

use gaugeway_wire::{Layout, UnixNanos};

use crate::{series::Series, store::Frozen, units::ChangeNumber};

/// The totals at one moment. Cheap to clone and to hold; the writer goes on meanwhile.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which state of the totals this is.
    pub change: ChangeNumber,
    /// When it was taken.
    pub taken: UnixNanos,
    /// When the ledger's life began.
    pub created: UnixNanos,
    pub(crate) layout: Layout,
    pub(crate) series: Frozen,
    pub(crate) services: Frozen,
}

impl Snapshot {
    /// Layout of all classic histograms; native ones have this schema or a lower one.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All series, by target and route. In a fixed order: a series keeps its place for life.
    pub fn series(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.series.iter()
    }

    /// Totals per gateway and Service; none unless the configuration asks for them.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.services.iter()
    }
}
