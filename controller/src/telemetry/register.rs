//! Registration that keeps a table: what is registered is what the documentation lists.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

/// What a metric is, in Prometheus's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "Prometheus's own words")]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As in a `# TYPE` line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A row of the table of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "columns of the table")]
pub struct MetricDoc {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    pub labels: Vec<&'static str>,
}

/// Registers and notes.
#[derive(Debug, Default)]
pub(super) struct Register {
    registry: Registry,
    table: Vec<MetricDoc>,
}

type Result<T> = std::result::Result<T, prometheus::Error>;

impl Register {
    pub(super) fn int_counter(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> Result<IntCounter> {
        let metric = IntCounter::new(name, help)?;
        self.add(metric, Kind::Counter, name, help, &[])
    }

    pub(super) fn int_counter_vec(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
    ) -> Result<IntCounterVec> {
        let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.add(metric, Kind::Counter, name, help, labels)
    }

    pub(super) fn int_gauge(&mut self, name: &'static str, help: &'static str) -> Result<IntGauge> {
        let metric = IntGauge::new(name, help)?;
        self.add(metric, Kind::Gauge, name, help, &[])
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Result<Gauge> {
        let metric = Gauge::new(name, help)?;
        self.add(metric, Kind::Gauge, name, help, &[])
    }

    pub(super) fn int_gauge_vec(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
    ) -> Result<IntGaugeVec> {
        let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.add(metric, Kind::Gauge, name, help, labels)
    }

    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        buckets: &[f64],
    ) -> Result<Histogram> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let metric = Histogram::with_opts(opts)?;
        self.add(metric, Kind::Histogram, name, help, &[])
    }

    pub(super) fn finish(self) -> (Registry, Vec<MetricDoc>) {
        (self.registry, self.table)
    }

    fn add<M: Collector + Clone + 'static>(
        &mut self,
        metric: M,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        labels: &[&'static str],
    ) -> Result<M> {
        self.registry.register(Box::new(metric.clone()))?;
        self.table.push(MetricDoc {
            name,
            kind,
            help,
            labels: labels.to_vec(),
        });
        Ok(metric)
    }
}
