//! Snapshots as what Prometheus scrapes (DESIGN §8).
//!
//! Rules of what is shown:
//! - Families in a fixed order, series within a family ordered by their labels, labels ordered by name.
//! - A series shows its histogram and its plain counters from its first scrape on, at 0 where nothing happened.
//!   Of `gaugeway_upstream_requests_total` it shows the classes that occurred: the product of all outcomes and codes
//!   would be 42 lines per series.
//! - What was born since a scraper's last scrape is shown to it at 0 once, so that `increase()` sees the first counts:
//!   Prometheus computes increases between samples. This holds for a series, and for a class of requests of an older
//!   series. A scraper never seen before gets the real values: a 0 would look like a counter reset.
//!
//! An [`Exposition`] holds its snapshot, no lock, and renders piece by piece: a slow scraper makes nobody wait, and
//! costs one piece of memory beside the series that have changed since.

mod kong;
mod number;
mod text;

use std::{fmt, io, sync::Arc};

use gaugeway_wire::GatewayName;

use crate::{series::Series, snapshot::Snapshot, store::Frozen, units::ChangeNumber};

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

/// Asks for `kong_upstream_latency_ms` as well: gives the value of its `dataplane_url` label for a gateway.
/// Shows totals only if the configuration keeps them ([`crate::Config::by_service`]).
#[derive(Clone)]
pub struct DataplaneUrls(pub Arc<dyn Fn(&GatewayName) -> String + Send + Sync>);

impl fmt::Debug for DataplaneUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataplaneUrls")
    }
}

/// A metric family, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each has its help")]
pub enum Family {
    Latency,
    Requests,
    Retries,
    Aborted,
    LatencyUnknown,
    CancelledWait,
    Kong,
}

/// Bytes after which a piece ends (a piece is longer by less than one series).
const PIECE: usize = 64 * 1024;

/// A snapshot on its way out, rendered piece by piece.
#[derive(Debug)]
pub struct Exposition {
    snapshot: Snapshot,
    view: View,
    text: text::Text,
    kong: Vec<kong::Row>,
    family: usize,
    position: usize,
}

impl Family {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Latency,
        Self::Requests,
        Self::Retries,
        Self::Aborted,
        Self::LatencyUnknown,
        Self::CancelledWait,
        Self::Kong,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "gaugeway_upstream_latency_seconds",
            Self::Requests => "gaugeway_upstream_requests_total",
            Self::Retries => "gaugeway_upstream_retries_total",
            Self::Aborted => "gaugeway_upstream_aborted_total",
            Self::LatencyUnknown => "gaugeway_upstream_latency_unknown_total",
            Self::CancelledWait => "gaugeway_upstream_cancelled_wait_seconds_total",
            Self::Kong => "kong_upstream_latency_ms",
        }
    }

    /// What it says, one sentence.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Latency => {
                "Time from handing a request over for proxying to the response headers, of requests that got a response or timed out."
            }
            Self::Requests => "Upstream requests, by outcome and class of the response code.",
            Self::Retries => "Further attempts of upstream requests.",
            Self::Aborted => "Upstream requests whose response was cut after its headers.",
            Self::LatencyUnknown => {
                "Upstream requests whose latency the gateway cannot tell (retried requests on Envoy)."
            }
            Self::CancelledWait => {
                "Time waited by requests whose client left before the response headers; in no latency."
            }
            Self::Kong => {
                "Upstream latency in milliseconds, as Kong Gateway Operator's DataPlaneMetricsExtension names it."
            }
        }
    }

    /// A histogram; the others are counters.
    #[must_use]
    pub const fn is_histogram(self) -> bool {
        matches!(self, Self::Latency | Self::Kong)
    }
}

impl Exposition {
    /// Starts.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        format: Format,
        view: View,
        kong: Option<&DataplaneUrls>,
    ) -> Self {
        let text = match format {
            Format::Text => text::Text::new(snapshot.layout()),
        };
        let kong = kong.map_or_else(Vec::new, |urls| kong::rows(&snapshot, view, urls));
        Self {
            snapshot,
            view,
            text,
            kong,
            family: 0,
            position: 0,
        }
    }

    /// Appends the next piece, about 64 KiB, to `out`; false when nothing is left.
    pub fn next_piece(&mut self, out: &mut Vec<u8>) -> bool {
        let enough = out.len() + PIECE;
        while let Some(&family) = Family::ALL.get(self.family) {
            if self.position == 0 && self.rows(family) > 0 {
                text::head(family, out);
            }
            while self.row(family, out) {
                self.position += 1;
                if out.len() >= enough {
                    return true;
                }
            }
            self.family += 1;
            self.position = 0;
        }
        false
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_to(&mut self, to: &mut impl io::Write) -> io::Result<()> {
        let mut piece = Vec::with_capacity(PIECE + PIECE / 8);
        loop {
            let more = self.next_piece(&mut piece);
            to.write_all(&piece)?;
            piece.clear();
            if !more {
                return Ok(());
            }
        }
    }

    fn rows(&self, family: Family) -> usize {
        match family {
            Family::Kong => self.kong.len(),
            _ => self.snapshot.series.len(),
        }
    }

    /// Renders the row at the present position; false when there is none.
    fn row(&self, family: Family, out: &mut Vec<u8>) -> bool {
        if family == Family::Kong {
            let row = self.kong.get(self.position);
            row.map(|row| self.text.kong(row, out)).is_some()
        } else {
            let series = Frozen::get(&self.snapshot.series, self.position);
            series
                .map(|series| self.series(family, series, out))
                .is_some()
        }
    }

    fn series(&self, family: Family, series: &Series, out: &mut Vec<u8>) {
        let counts = &series.counts;
        let labels = series.key.text();
        let new = self.view.is_new(series.born);
        let shown = |count: u64| if new { 0 } else { count };
        match family {
            Family::Latency => self.text.latency(labels, &counts.latency, new, out),
            Family::Requests => text::requests(labels, &counts.requests, self.view, out),
            Family::Retries => text::counter(family, labels, shown(counts.retries), out),
            Family::Aborted => text::counter(family, labels, shown(counts.aborted), out),
            Family::LatencyUnknown => {
                text::counter(family, labels, shown(counts.latency_unknown), out);
            }
            Family::CancelledWait => {
                let waited = if new { 0 } else { counts.cancelled_wait_ns };
                text::seconds(family, labels, waited, out);
            }
            Family::Kong => {}
        }
    }
}
