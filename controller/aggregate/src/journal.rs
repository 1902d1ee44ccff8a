//! What was applied, written down so that it can be applied again: verdicts and times included, so that a replay
//! needs neither the index nor the clock.
//!
//! A record is a protobuf message. Fields are only added and their numbers never reused; a record of a kind that this
//! version does not know is an error, since skipping it would change the totals.

use std::{collections::HashMap, sync::Arc};

use gaugeway_wire::{
    ClassicBounds, DecodeError, Fingerprint, GatewayName, Layout, Nanos, Report, Schema, Target,
    UnixNanos,
};
use prost::Message;

use crate::{
    aggregate::{Aggregate, Config, Refused, Swept},
    makers::Births,
    units::ChangeNumber,
};

/// A record that cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Not a record.
    #[error("not a record")]
    Malformed,
    /// Of a later version.
    #[error("a record of a kind that this version does not know")]
    Unknown,
    /// Its report or target is none.
    #[error("a record's content: {0}")]
    Content(#[from] DecodeError),
    /// State and record do not belong together.
    #[error("a record that does not fit the state: {0}")]
    State(#[from] Refused),
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(fixed64, tag = "1")]
    now: u64,
    #[prost(string, tag = "2")]
    gateway: String,
    #[prost(oneof = "Kind", tags = "3, 4, 5, 6, 7")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "3")]
    Report(ReportRecord),
    #[prost(message, tag = "4")]
    Definition(DefinitionRecord),
    #[prost(message, tag = "5")]
    Sweep(SweepRecord),
    #[prost(message, tag = "6")]
    Delivered(DeliveredRecord),
    #[prost(message, tag = "7")]
    Configured(ConfigRecord),
}

#[derive(Clone, PartialEq, Message)]
struct ReportRecord {
    #[prost(bytes = "vec", tag = "1")]
    report: Vec<u8>,
    #[prost(fixed64, repeated, tag = "2")]
    rejected: Vec<u64>,
    #[prost(message, optional, tag = "3")]
    births: Option<BirthsRecord>,
}

/// [`Births`]; absent when there were none to speak of.
#[derive(Clone, PartialEq, Message)]
struct BirthsRecord {
    #[prost(string, repeated, tag = "1")]
    makers: Vec<String>,
    /// Pairs of a position and a place in `makers`.
    #[prost(uint32, repeated, tag = "2")]
    made: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    refused: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct DefinitionRecord {
    #[prost(bytes = "vec", tag = "1")]
    target: Vec<u8>,
    #[prost(bool, tag = "2")]
    allowed: bool,
    #[prost(message, optional, tag = "3")]
    births: Option<BirthsRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct SweepRecord {
    #[prost(string, repeated, tag = "1")]
    series: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    services: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct DeliveredRecord {
    #[prost(string, tag = "1")]
    scraper: String,
    #[prost(uint64, tag = "2")]
    change: u64,
}

/// [`Config`] as it is kept.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfigRecord {
    #[prost(uint32, tag = "1")]
    schema: u32,
    #[prost(uint64, repeated, tag = "2")]
    bounds_ns: Vec<u64>,
    #[prost(uint64, tag = "3")]
    max_series: u64,
    #[prost(uint64, tag = "4")]
    series_expiry_ns: u64,
    #[prost(bool, tag = "5")]
    by_service: bool,
}

/// Appends the record of a report that was applied now; `report` as it came.
pub fn report(
    out: &mut Vec<u8>,
    gateway: &GatewayName,
    report: &[u8],
    rejected: &[Fingerprint],
    births: &Births,
    now: UnixNanos,
) {
    let kind = Kind::Report(ReportRecord {
        report: report.to_vec(),
        rejected: rejected.iter().map(|fingerprint| fingerprint.0).collect(),
        births: BirthsRecord::of(births),
    });
    put(out, gateway.as_str(), kind, now);
}

/// Appends the record of a definition that was taken now; `target` as it came.
pub fn definition(
    out: &mut Vec<u8>,
    gateway: &GatewayName,
    target: &[u8],
    allowed: bool,
    births: &Births,
    now: UnixNanos,
) {
    let kind = Kind::Definition(DefinitionRecord {
        target: target.to_vec(),
        allowed,
        births: BirthsRecord::of(births),
    });
    put(out, gateway.as_str(), kind, now);
}

/// Appends the record of a sweep that changed something.
pub fn sweep(out: &mut Vec<u8>, swept: &Swept, now: UnixNanos) {
    let kind = Kind::Sweep(SweepRecord {
        series: swept.series.iter().map(|key| key.text().into()).collect(),
        services: swept.services.iter().map(|key| key.text().into()).collect(),
    });
    put(out, "", kind, now);
}

/// Appends the record of a scrape that arrived.
pub fn delivered(out: &mut Vec<u8>, scraper: &str, change: ChangeNumber, now: UnixNanos) {
    let kind = Kind::Delivered(DeliveredRecord {
        scraper: scraper.into(),
        change: change.0,
    });
    put(out, "", kind, now);
}

/// Appends the record of a new configuration.
pub fn configured(out: &mut Vec<u8>, config: &Config, now: UnixNanos) {
    put(out, "", Kind::Configured(config.into()), now);
}

impl Aggregate {
    /// Applies a record again.
    ///
    /// # Errors
    /// [`ReplayError`]; the state is then as before.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), ReplayError> {
        let record = Record::decode(record).map_err(|_| ReplayError::Malformed)?;
        let now = UnixNanos(record.now);
        match record.kind.ok_or(ReplayError::Unknown)? {
            Kind::Report(of) => {
                let gateway = gateway(&record.gateway)?;
                let report = Report::decode(&of.report)?;
                let rejected: Vec<_> = of.rejected.into_iter().map(Fingerprint).collect();
                let births = BirthsRecord::restore(of.births)?;
                self.replay_report(&gateway, &report, &rejected, &births, now)?;
            }
            Kind::Definition(of) => {
                let target = Target::decode(&of.target)?;
                let births = BirthsRecord::restore(of.births)?;
                let gateway = gateway(&record.gateway)?;
                self.replay_definition(&gateway, target, of.allowed, &births, now);
            }
            Kind::Sweep(of) => {
                let series = of.series.iter().map(String::as_str);
                self.replay_sweep(series, of.services.iter().map(String::as_str), now);
            }
            Kind::Delivered(of) => self.delivered(&of.scraper, ChangeNumber(of.change), now),
            Kind::Configured(of) => {
                self.configure(Config::try_from(&of).map_err(|()| ReplayError::Malformed)?);
            }
        }
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, gateway: &str, kind: Kind, now: UnixNanos) {
    let record = Record {
        now: now.0,
        gateway: gateway.into(),
        kind: Some(kind),
    };
    // A vector grows as needed, so encoding cannot run out of room.
    let _ = record.encode(out);
}

fn gateway(name: &str) -> Result<GatewayName, ReplayError> {
    GatewayName::try_new(name).map_err(|_| ReplayError::Malformed)
}

impl BirthsRecord {
    fn of(births: &Births) -> Option<Self> {
        if *births == Births::default() {
            return None;
        }
        let mut record = Self {
            refused: births.refused.clone(),
            ..Self::default()
        };
        let mut places: HashMap<&str, u32> = HashMap::new();
        for (at, maker) in &births.made {
            let next = u32::try_from(places.len()).unwrap_or(u32::MAX);
            let place = *places.entry(maker).or_insert(next);
            if place == next {
                record.makers.push(maker.to_string());
            }
            record.made.extend([*at, place]);
        }
        Some(record)
    }

    fn restore(record: Option<Self>) -> Result<Births, ReplayError> {
        let record = record.unwrap_or_default();
        let makers: Vec<Arc<str>> = record.makers.into_iter().map(Into::into).collect();
        let (pairs, []) = record.made.as_chunks() else {
            return Err(ReplayError::Malformed);
        };
        let pair = |&[at, place]: &[u32; 2]| {
            let maker = makers.get(usize::try_from(place).ok()?)?;
            Some((at, Arc::clone(maker)))
        };
        let made: Option<Vec<_>> = pairs.iter().map(pair).collect();
        let births = Births {
            made: made.ok_or(ReplayError::Malformed)?,
            refused: record.refused,
        };
        let rising =
            births.made.is_sorted_by(|a, b| a.0 < b.0) && births.refused.is_sorted_by(|a, b| a < b);
        rising.then_some(births).ok_or(ReplayError::Malformed)
    }
}

impl From<&Config> for ConfigRecord {
    fn from(config: &Config) -> Self {
        Self {
            schema: config.layout.schema.get().into(),
            bounds_ns: config
                .layout
                .bounds
                .as_slice()
                .iter()
                .map(|b| b.0)
                .collect(),
            max_series: config.max_series as u64,
            series_expiry_ns: config.series_expiry.0,
            by_service: config.by_service,
        }
    }
}

impl TryFrom<&ConfigRecord> for Config {
    type Error = ();

    fn try_from(record: &ConfigRecord) -> Result<Self, ()> {
        let bounds = record.bounds_ns.iter().copied().map(Nanos).collect();
        Ok(Self {
            layout: Layout {
                schema: Schema::try_new(record.schema).ok_or(())?,
                bounds: ClassicBounds::try_new(bounds).map_err(|_| ())?,
            },
            max_series: usize::try_from(record.max_series).map_err(|_| ())?,
            series_expiry: Nanos(record.series_expiry_ns),
            by_service: record.by_service,
        })
    }
}
