//! Snapshots as what Prometheus scrapes.

use crate::{snapshot::Snapshot, units::ChangeNumber};

/// In which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Classic text, version 0.0.4.
    Text,
}

impl Format {
    /// Value of the `content-type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// How one scraper sees a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// What this scraper was shown last. Series (and classes of requests) born since are shown at 0 once. `None` for a
    /// scraper never seen before: it gets the real values.
    pub shown_since: Option<ChangeNumber>,
}

/// A snapshot on its way out, rendered piece by piece.
#[derive(Debug)]
pub struct Exposition {
    _snapshot: Snapshot,
}

impl Exposition {
    /// Starts.
    #[must_use]
    pub fn new(_snapshot: Snapshot, _format: Format, _view: View) -> Self {
        todo!()
    }

    /// Appends the next piece (about 64 KiB) to `out`; false when nothing is left.
    pub fn next_piece(&mut self, _out: &mut Vec<u8>) -> bool {
        todo!()
    }
}
