//! The records' protobuf messages.

use gaugeway_wire::{Histogram, Layout, RequestClass, Schema};
use prost::Message;

use crate::{
    counts::{ClassCount, Counts},
    journal::ConfigRecord,
    series::Series,
    units::ChangeNumber,
};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Kind {
    #[prost(message, tag = "1")]
    Meta(MetaRecord),
    #[prost(message, tag = "2")]
    Gateway(GatewayRecord),
    /// Of the gateway before it.
    #[prost(message, tag = "3")]
    Target(TargetRecord),
    /// Of the gateway before it.
    #[prost(message, tag = "4")]
    Unnamed(UnnamedRecord),
    #[prost(message, tag = "5")]
    Vm(VmRecord),
    #[prost(message, tag = "6")]
    Series(SeriesRecord),
    #[prost(message, tag = "7")]
    Scraper(ScraperRecord),
    #[prost(string, tag = "8")]
    Route(String),
    #[prost(message, tag = "9")]
    End(EndRecord),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MetaRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) config: Option<ConfigRecord>,
    #[prost(fixed64, tag = "2")]
    pub(super) created: u64,
    #[prost(uint64, tag = "3")]
    pub(super) change: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GatewayRecord {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(fixed64, tag = "2")]
    pub(super) used: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TargetRecord {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) target: Vec<u8>,
    #[prost(fixed64, tag = "2")]
    pub(super) used: u64,
    #[prost(fixed64, tag = "3")]
    pub(super) taken: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UnnamedRecord {
    #[prost(fixed64, tag = "1")]
    pub(super) fingerprint: u64,
    #[prost(fixed64, tag = "2")]
    pub(super) since: u64,
    #[prost(string, tag = "3")]
    pub(super) route: String,
    #[prost(message, optional, tag = "4")]
    pub(super) counts: Option<CountsRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VmRecord {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) gateway: String,
    #[prost(uint64, tag = "3")]
    pub(super) last: u64,
    #[prost(fixed64, tag = "4")]
    pub(super) seen: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SeriesRecord {
    /// Whether it is one of the totals per gateway and Service.
    #[prost(bool, tag = "1")]
    pub(super) by_service: bool,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) target: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) route: String,
    #[prost(uint64, tag = "4")]
    pub(super) born: u64,
    #[prost(fixed64, tag = "5")]
    pub(super) created: u64,
    #[prost(uint64, tag = "6")]
    pub(super) changed: u64,
    #[prost(fixed64, tag = "7")]
    pub(super) changed_at: u64,
    #[prost(message, optional, tag = "8")]
    pub(super) counts: Option<CountsRecord>,
    /// Empty when no policy made it.
    #[prost(string, tag = "9")]
    pub(super) maker: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScraperRecord {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(uint64, tag = "2")]
    pub(super) last: u64,
    #[prost(uint64, optional, tag = "3")]
    pub(super) previous: Option<u64>,
    #[prost(fixed64, tag = "4")]
    pub(super) seen: u64,
}

/// Closes the state: how many records came before it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EndRecord {
    #[prost(uint64, tag = "1")]
    pub(super) records: u64,
}

/// [`Counts`]. The classic bounds are the configuration's; the native schema may be lower than the configuration's.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CountsRecord {
    #[prost(uint32, tag = "1")]
    schema: u32,
    #[prost(message, optional, tag = "2")]
    sum_ns: Option<Wide>,
    #[prost(uint64, tag = "3")]
    zero: u64,
    #[prost(sint32, repeated, tag = "4")]
    native_indices: Vec<i32>,
    #[prost(uint64, repeated, tag = "5")]
    native_counts: Vec<u64>,
    #[prost(uint64, repeated, tag = "6")]
    classic: Vec<u64>,
    /// Triples of class index, count, state of the totals at its birth.
    #[prost(uint64, repeated, tag = "7")]
    requests: Vec<u64>,
    #[prost(uint64, tag = "8")]
    retries: u64,
    #[prost(uint64, tag = "9")]
    aborted: u64,
    #[prost(uint64, tag = "10")]
    latency_unknown: u64,
    #[prost(message, optional, tag = "11")]
    cancelled_wait_ns: Option<Wide>,
}

/// 128 bits.
#[derive(Clone, Copy, PartialEq, Message)]
struct Wide {
    #[prost(uint64, tag = "1")]
    high: u64,
    #[prost(uint64, tag = "2")]
    low: u64,
}

impl From<u128> for Wide {
    #[allow(clippy::cast_possible_truncation, reason = "the halves, on purpose")]
    fn from(value: u128) -> Self {
        Self {
            high: (value >> 64) as u64,
            low: value as u64,
        }
    }
}

impl From<Wide> for u128 {
    fn from(wide: Wide) -> Self {
        Self::from(wide.high) << 64 | Self::from(wide.low)
    }
}

impl SeriesRecord {
    pub(super) fn of(series: &Series, by_service: bool) -> Self {
        Self {
            by_service,
            target: series.key.target().encode(),
            route: series.key.route().into(),
            born: series.born.0,
            created: series.created.0,
            changed: series.changed.0,
            changed_at: series.changed_at.0,
            counts: Some((&series.counts).into()),
            maker: series.maker.as_deref().unwrap_or_default().into(),
        }
    }
}

impl From<&Counts> for CountsRecord {
    fn from(counts: &Counts) -> Self {
        let latency = &counts.latency;
        let triple = |of: &ClassCount| [of.class.index() as u64, of.count, of.born.0];
        Self {
            schema: latency.layout().schema.get().into(),
            sum_ns: Some(latency.sum_ns().into()),
            zero: latency.zero_count(),
            native_indices: latency.native().map(|(index, _)| index).collect(),
            native_counts: latency.native().map(|(_, count)| count).collect(),
            classic: latency.classic().collect(),
            requests: counts.requests.iter().flat_map(triple).collect(),
            retries: counts.retries,
            aborted: counts.aborted,
            latency_unknown: counts.latency_unknown,
            cancelled_wait_ns: Some(counts.cancelled_wait_ns.into()),
        }
    }
}

impl CountsRecord {
    /// The counts, for the configuration's layout. A histogram whose parts disagree (counts that a hostile filter
    /// drove to their top) starts empty: its series is the only one to lose anything.
    pub(super) fn restore(self, layout: &Layout) -> Option<Counts> {
        let layout = Layout {
            schema: Schema::try_new(self.schema)?,
            bounds: layout.bounds.clone(),
        };
        let latency = Histogram::try_from_parts(
            layout.clone(),
            self.sum_ns.unwrap_or_default().into(),
            self.zero,
            self.native_indices.into_iter().zip(self.native_counts),
            self.classic,
        )
        .unwrap_or_else(|_| Histogram::new(layout));
        Some(Counts {
            latency,
            requests: restore_classes(&self.requests)?,
            retries: self.retries,
            aborted: self.aborted,
            latency_unknown: self.latency_unknown,
            cancelled_wait_ns: self.cancelled_wait_ns.unwrap_or_default().into(),
        })
    }
}

fn restore_classes(triples: &[u64]) -> Option<Vec<ClassCount>> {
    let (triples, []) = triples.as_chunks() else {
        return None;
    };
    let restore = |&[class, count, born]: &[u64; 3]| {
        Some(ClassCount {
            class: RequestClass::from_index(class)?,
            count,
            born: ChangeNumber(born),
        })
    };
    let classes: Vec<_> = triples.iter().map(restore).collect::<Option<_>>()?;
    classes
        .is_sorted_by(|a, b| a.class.index() < b.class.index())
        .then_some(classes)
}
