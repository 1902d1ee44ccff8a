//! Reading one series of a report.

use alloc::vec::Vec;

use super::writer::present_len;
use crate::{
    codec::{
        DecodeError, Pairs, Reader, WireType, put_present, put_tag, put_uint, put_varint, set_once,
        uint_len, unzigzag,
    },
    histogram::{Layout, bucket_range},
    limits::ROUTE_BYTES,
    outcome::RequestClass,
    target::Fingerprint,
    units::Nanos,
};

/// Counts of one (target, route), borrowed.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented in gaugeway.proto")]
pub struct Series<'a> {
    pub target: Fingerprint,
    /// Empty when not recorded.
    pub route: &'a str,
    pub retries: u64,
    pub aborted: u64,
    pub latency_unknown: u64,
    pub cancelled_wait: Nanos,
    pub sum: Nanos,
    pub zero_count: u64,
    requests: &'a [u8],
    native: &'a [u8],
    classic: &'a [u8],
}

impl<'a> Series<'a> {
    /// Increases per class; classes of later versions are skipped.
    #[inline]
    pub fn requests(&self) -> impl Iterator<Item = (RequestClass, u64)> + use<'a> {
        Pairs::new(self.requests)
            .filter_map(|(class, increase)| Some((RequestClass::from_index(class)?, increase)))
    }

    /// Native buckets (index, increase), ascending.
    #[inline]
    pub fn native(&self) -> impl Iterator<Item = (i32, u64)> + use<'a> {
        let mut walk = NativeWalk::default();
        Pairs::new(self.native).map_while(move |(gap, count)| {
            let index = walk.step(gap)?;
            Some((i32::try_from(index).ok()?, count))
        })
    }

    /// Classic buckets (position, increase), ascending, not cumulative.
    #[inline]
    pub fn classic(&self) -> impl Iterator<Item = (usize, u64)> + use<'a> {
        let mut walk = ClassicWalk::default();
        Pairs::new(self.classic).map_while(move |(gap, count)| {
            let position = walk.step(gap)?;
            Some((usize::try_from(position).ok()?, count))
        })
    }

    /// Latency samples, over all buckets.
    #[must_use]
    pub fn samples(&self) -> u64 {
        let counts = Pairs::new(self.classic).map(|(_, count)| count);
        counts.fold(0, u64::saturating_add)
    }

    /// Appends its counts, without target and route: the fields of a `Series` that is not sent. [`Series::kept`] reads
    /// them back.
    pub fn keep(&self, out: &mut Vec<u8>) {
        put_present(out, 3, self.requests);
        let latency = uint_len(self.sum.0)
            + uint_len(self.zero_count)
            + present_len(self.native.len())
            + present_len(self.classic.len());
        if latency > 0 {
            put_tag(out, 4, WireType::Bytes);
            put_varint(out, latency as u64);
            put_uint(out, 1, self.sum.0);
            put_uint(out, 2, self.zero_count);
            put_present(out, 3, self.native);
            put_present(out, 4, self.classic);
        }
        put_uint(out, 5, self.retries);
        put_uint(out, 6, self.aborted);
        put_uint(out, 7, self.latency_unknown);
        put_uint(out, 8, self.cancelled_wait.0);
    }

    /// What [`Series::keep`] or [`super::SeriesCounts::keep`] wrote; `None` for other bytes. It is not checked again.
    #[must_use]
    pub fn kept(bytes: &'a [u8]) -> Option<Self> {
        Self::fields(bytes).ok().map(|(series, _)| series)
    }

    /// Its fields; pairs are left for [`Series::check`].
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (series, target) = Self::fields(bytes)?;
        target.ok_or(DecodeError::Missing("Series.target"))?;
        Ok(series)
    }

    /// Also its target, if there is one.
    fn fields(bytes: &'a [u8]) -> Result<(Self, Option<Fingerprint>), DecodeError> {
        let mut target = None;
        let mut requests = None;
        let mut latency: Option<&[u8]> = None;
        let mut series = Self::empty();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("Series")? {
            match tag.field {
                1 => target = Some(Fingerprint(reader.fixed64(tag, "Series.target")?)),
                2 => series.route = reader.text(tag, "Series.route", ROUTE_BYTES)?,
                3 => {
                    const NAME: &str = "Series.requests";
                    set_once(&mut requests, reader.bytes(tag, NAME)?, NAME)?;
                }
                4 => {
                    const NAME: &str = "Series.latency";
                    set_once(&mut latency, reader.bytes(tag, NAME)?, NAME)?;
                }
                5 => series.retries = reader.uint(tag, "Series.retries")?,
                6 => series.aborted = reader.uint(tag, "Series.aborted")?,
                7 => series.latency_unknown = reader.uint(tag, "Series.latency_unknown")?,
                8 => {
                    series.cancelled_wait = Nanos(reader.uint(tag, "Series.cancelled_wait_ns")?);
                }
                _ => reader.skip(tag, "Series")?,
            }
        }
        series.target = target.unwrap_or(series.target);
        series.requests = requests.unwrap_or_default();
        series.latency(latency.unwrap_or_default())?;
        Ok((series, target))
    }

    const fn empty() -> Self {
        Self {
            target: Fingerprint(0),
            route: "",
            retries: 0,
            aborted: 0,
            latency_unknown: 0,
            cancelled_wait: Nanos(0),
            sum: Nanos(0),
            zero_count: 0,
            requests: &[],
            native: &[],
            classic: &[],
        }
    }

    fn latency(&mut self, bytes: &'a [u8]) -> Result<(), DecodeError> {
        let (mut native, mut classic) = (None, None);
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("Histogram")? {
            match tag.field {
                1 => self.sum = Nanos(reader.uint(tag, "Histogram.sum_ns")?),
                2 => self.zero_count = reader.uint(tag, "Histogram.zero_count")?,
                3 => {
                    const NAME: &str = "Histogram.native";
                    set_once(&mut native, reader.bytes(tag, NAME)?, NAME)?;
                }
                4 => {
                    const NAME: &str = "Histogram.classic";
                    set_once(&mut classic, reader.bytes(tag, NAME)?, NAME)?;
                }
                _ => reader.skip(tag, "Histogram")?,
            }
        }
        self.native = native.unwrap_or_default();
        self.classic = classic.unwrap_or_default();
        Ok(())
    }

    /// Everything that the iterators rely on.
    pub(super) fn check(&self, layout: &Layout) -> Result<(), DecodeError> {
        self.check_requests()?;
        let native = self.check_native(layout)?;
        let classic = self.check_classic(layout)?;
        if native != classic {
            return Err(DecodeError::Value("Histogram.classic"));
        }
        if native == self.zero_count && self.sum.0 > 0 {
            return Err(DecodeError::Value("Histogram.sum_ns"));
        }
        Ok(())
    }

    fn check_requests(&self) -> Result<(), DecodeError> {
        const NAME: &str = "Series.requests";
        let mut last = None;
        let mut total = 0;
        let mut pairs = Pairs::new(self.requests);
        while let Some((class, count)) = pairs.checked(NAME)? {
            if last.is_some_and(|last| class <= last) {
                return Err(DecodeError::Value(NAME));
            }
            last = Some(class);
            total = add_count(total, count, NAME)?;
        }
        Ok(())
    }

    /// Samples in the native buckets, the zero bucket included.
    fn check_native(&self, layout: &Layout) -> Result<u64, DecodeError> {
        const NAME: &str = "Histogram.native";
        let range = bucket_range(layout.schema);
        let range = i64::from(*range.start())..=i64::from(*range.end());
        let mut walk = NativeWalk::default();
        let mut total = self.zero_count;
        let mut pairs = Pairs::new(self.native);
        while let Some((gap, count)) = pairs.checked(NAME)? {
            match walk.step(gap) {
                Some(index) if range.contains(&index) => total = add_count(total, count, NAME)?,
                _ => return Err(DecodeError::Value(NAME)),
            }
        }
        Ok(total)
    }

    fn check_classic(&self, layout: &Layout) -> Result<u64, DecodeError> {
        const NAME: &str = "Histogram.classic";
        let infinite = layout.bounds.len() as u64;
        let mut walk = ClassicWalk::default();
        let mut total = 0;
        let mut pairs = Pairs::new(self.classic);
        while let Some((gap, count)) = pairs.checked(NAME)? {
            match walk.step(gap) {
                Some(position) if position <= infinite => {
                    total = add_count(total, count, NAME)?;
                }
                _ => return Err(DecodeError::Value(NAME)),
            }
        }
        Ok(total)
    }
}

/// Adds an increase, which is above zero.
#[inline]
fn add_count(total: u64, count: u64, name: &'static str) -> Result<u64, DecodeError> {
    if count == 0 {
        return Err(DecodeError::Value(name));
    }
    total.checked_add(count).ok_or(DecodeError::Value(name))
}

/// From gaps to indexes: the first is a zigzag, later ones are distances of at least 1. `None` for others.
#[derive(Default)]
struct NativeWalk(Option<i64>);

impl NativeWalk {
    #[inline]
    fn step(&mut self, gap: u64) -> Option<i64> {
        let index = match self.0 {
            None => unzigzag(gap),
            Some(last) if gap > 0 => last.checked_add(i64::try_from(gap).ok()?)?,
            Some(_) => return None,
        };
        self.0 = Some(index);
        Some(index)
    }
}

/// From gaps to positions: the first is the position, later ones are distances of at least 1. `None` for others.
#[derive(Default)]
struct ClassicWalk(Option<u64>);

impl ClassicWalk {
    #[inline]
    fn step(&mut self, gap: u64) -> Option<u64> {
        let position = match self.0 {
            None => gap,
            Some(last) if gap > 0 => last.checked_add(gap)?,
            Some(_) => return None,
        };
        self.0 = Some(position);
        Some(position)
    }
}
