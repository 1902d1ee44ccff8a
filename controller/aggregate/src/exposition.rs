//! Snapshots as what Prometheus scrapes (DESIGN §8), in each of its formats.
//!
//! Rules of what is shown:
//! - Families in a fixed order, series within a family in the order of their slots (one keeps its place for life),
//!   labels ordered by name.
//! - A series shows its histogram and its plain counters from its first scrape on, at 0 where nothing happened.
//!   Of `gaugeway_upstream_requests_total` it shows the classes that occurred: the product of all outcomes and codes
//!   would be 42 lines per series.
//! - What was born since a scraper's last scrape is shown to it at 0 once, so that `increase()` sees the first counts:
//!   Prometheus computes increases between samples. This holds for a series, and for a class of requests of an older
//!   series. A scraper never seen before gets the real values: a 0 would look like a counter reset.
//!
//! An [`Exposition`] holds its snapshot, no lock, and renders piece by piece: a slow scraper makes nobody wait, and
//! costs one piece of memory beside the series that have changed since.
//!
//! **What is rendered once.** Scrapers take gzip, and there compressing costs more than all else. So the compressed
//! output of a few series is kept beside them until one of them changes (`packed`); that is a fiftieth of the text.
//! Plain text is written anew each time: a copy kept per series would be 5 KiB of memory each, and copying it costs what
//! writing it does.

mod family;
mod format;
mod gzip;
mod kong;
mod number;
mod packed;
mod pieces;
mod proto;
mod text;

use std::{fmt, sync::Arc};

pub use family::Family;
pub use format::{Encoding, Format};
use gaugeway_wire::GatewayName;
pub(crate) use packed::Packed;
pub use pieces::Exposition;

use crate::units::ChangeNumber;

/// What a scraper asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The format.
    pub format: Format,
    /// The format's encoding.
    pub encoding: Encoding,
    /// How this scraper sees the totals.
    pub view: View,
    /// `kong_upstream_latency_ms` as well.
    pub kong: Option<DataplaneUrls>,
    /// Other families, already in this format, to come first.
    pub preamble: Vec<u8>,
}

/// How one scraper sees a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// What this scraper was shown last; what was born since is shown at 0 once. `None` for a scraper never seen
    /// before: it gets the real values.
    pub shown_since: Option<ChangeNumber>,
}

impl View {
    /// Whether something born then is shown at 0.
    pub(crate) fn is_new(self, born: ChangeNumber) -> bool {
        self.shown_since.is_some_and(|shown| born > shown)
    }
}

/// Asks for `kong_upstream_latency_ms` as well: gives the value of its `dataplane_url` label for a gateway's Service
/// (namespace, name), or `None` for one that is not shown. Shows totals only if the configuration keeps them
/// ([`crate::Config::by_service`]).
#[derive(Clone)]
pub struct DataplaneUrls(pub Arc<UrlOf>);

type UrlOf = dyn Fn(&GatewayName, &str, &str) -> Option<String> + Send + Sync;

impl fmt::Debug for DataplaneUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataplaneUrls")
    }
}
