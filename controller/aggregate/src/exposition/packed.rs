//! Compressed output of a few series, made when the first scraper asks for it and kept until one of them changes.
//!
//! Only what a settled scraper sees is kept: one that is to see something at 0 gets its own output.

use std::sync::OnceLock;

use super::{Family, Format, View, gzip::Segment};
use crate::{series::Series, units::ChangeNumber};

/// Families that have a series' counts.
const FAMILIES: usize = Family::OF_SERIES.len();

#[derive(Debug)]
pub(crate) struct Packed {
    /// The last birth of a series or of one of their classes.
    newest: ChangeNumber,
    segments: [OnceLock<Segment>; FAMILIES * Format::ALL.len()],
}

impl Packed {
    pub(crate) fn new<'a>(series: impl Iterator<Item = &'a Series>) -> Self {
        let births = series.flat_map(|of| {
            let classes = of.counts.requests.iter().map(|class| class.born);
            classes.chain([of.born])
        });
        Self {
            newest: births.max().unwrap_or_default(),
            segments: Default::default(),
        }
    }

    /// Whether a scraper sees these series as all others do.
    pub(crate) fn is_settled(&self, view: View) -> bool {
        !view.is_new(self.newest)
    }

    /// Output that was kept.
    pub(crate) fn get(&self, format: Format, family: Family) -> Option<&Segment> {
        self.place(format, family)?.get()
    }

    /// Keeps output, unless another scraper was faster: then theirs, which is the same.
    pub(super) fn keep(&self, format: Format, family: Family, segment: Segment) {
        if let Some(place) = self.place(format, family) {
            let _ = place.set(segment);
        }
    }

    fn place(&self, format: Format, family: Family) -> Option<&OnceLock<Segment>> {
        self.segments
            .get(format as usize * FAMILIES + family as usize)
    }
}
