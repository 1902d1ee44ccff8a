//! Metrics per gateway. A gateway's name comes from outside, so there is a bound: gateways past
//! [`MAX_GATEWAYS`] share the label value `overflow`.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use gaugeway_wire::{FilterCounter, GatewayName};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::register::Register;

/// Gateways with label values of their own.
pub const MAX_GATEWAYS: usize = 1024;

/// Label value of the gateways past the bound. Not a possible gateway name in Kubernetes (no slash).
pub const OVERFLOW: &str = "overflow";

/// Metrics per gateway.
#[derive(Debug)]
pub struct Gateways {
    families: Families,
    known: RwLock<HashMap<GatewayName, Arc<GatewayMetrics>>>,
    /// Made when it is needed: it would only raise questions before.
    overflow: OnceLock<Arc<GatewayMetrics>>,
}

#[derive(Debug)]
struct Families {
    reports: IntCounterVec,
    duplicates: IntCounterVec,
    series: IntCounterVec,
    requests: IntCounterVec,
    rejected_series: IntCounterVec,
    undefined_requests: IntCounterVec,
    vms: IntGaugeVec,
    events: IntCounterVec,
}

/// Bound handles of one gateway.
#[derive(Debug)]
pub struct GatewayMetrics {
    /// Reports applied.
    pub reports: IntCounter,
    /// Reports that had been applied before, acknowledged again.
    pub duplicates: IntCounter,
    /// Series updates in applied reports.
    pub series: IntCounter,
    /// Requests counted.
    pub requests: IntCounter,
    /// Series dropped because the gateway may not report for their targets.
    pub rejected_series: IntCounter,
    /// Requests applied under a fingerprint that had no definition yet.
    pub undefined_requests: IntCounter,
    /// Worker VMs heard of lately.
    pub vms: IntGauge,
    events: Vec<IntCounter>,
}

impl GatewayMetrics {
    /// Counter of one of the filter's own events.
    pub fn event(&self, counter: FilterCounter, increase: u64) {
        let position = (counter as usize).saturating_sub(1);
        if let Some(handle) = self.events.get(position) {
            handle.inc_by(increase);
        }
    }
}

impl Gateways {
    /// Handles of a gateway; keep them where reports of one gateway are applied often.
    #[must_use]
    pub fn get(&self, gateway: &GatewayName) -> Arc<GatewayMetrics> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = known.get(gateway) {
            return Arc::clone(metrics);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_GATEWAYS && !known.contains_key(gateway) {
            let overflow = self
                .overflow
                .get_or_init(|| Arc::new(self.families.bind(OVERFLOW)));
            return Arc::clone(overflow);
        }
        let metrics = known
            .entry(gateway.clone())
            .or_insert_with(|| Arc::new(self.families.bind(gateway.as_str())));
        Arc::clone(metrics)
    }

    pub(super) fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        let families = Families::register(r)?;
        Ok(Self {
            families,
            known: RwLock::default(),
            overflow: OnceLock::new(),
        })
    }
}

impl Families {
    fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            reports: r.int_counter_vec(
                "gaugeway_reports_total",
                "Reports applied, each exactly once.",
                &["gateway"],
            )?,
            duplicates: r.int_counter_vec(
                "gaugeway_duplicate_reports_total",
                "Reports that came again after they had been applied; acknowledged, not counted twice.",
                &["gateway"],
            )?,
            series: r.int_counter_vec(
                "gaugeway_report_series_total",
                "Series updates in applied reports.",
                &["gateway"],
            )?,
            requests: r.int_counter_vec(
                "gaugeway_reported_requests_total",
                "Upstream requests in applied reports, over all targets and outcomes.",
                &["gateway"],
            )?,
            rejected_series: r.int_counter_vec(
                "gaugeway_rejected_series_total",
                "Series updates dropped because the gateway does not route to their Service.",
                &["gateway"],
            )?,
            undefined_requests: r.int_counter_vec(
                "gaugeway_undefined_requests_total",
                "Requests of targets that the controller could not name yet when they were reported; they count as soon as the filter has said the name.",
                &["gateway"],
            )?,
            vms: r.int_gauge_vec(
                "gaugeway_worker_vms",
                "Worker VMs alive: heard of within the last 90 s.",
                &["gateway"],
            )?,
            events: r.int_counter_vec(
                "gaugeway_filter_events_total",
                "What filters counted about themselves, by event (see the table of events).",
                &["gateway", "event"],
            )?,
        })
    }

    fn bind(&self, gateway: &str) -> GatewayMetrics {
        let of = |family: &IntCounterVec| family.with_label_values(&[gateway]);
        GatewayMetrics {
            reports: of(&self.reports),
            duplicates: of(&self.duplicates),
            series: of(&self.series),
            requests: of(&self.requests),
            rejected_series: of(&self.rejected_series),
            undefined_requests: of(&self.undefined_requests),
            vms: self.vms.with_label_values(&[gateway]),
            events: FilterCounter::ALL
                .iter()
                .map(|event| self.events.with_label_values(&[gateway, event.as_str()]))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use gaugeway_aggregate::Format;

    use super::*;
    use crate::telemetry::Telemetry;

    #[test]
    fn gateways_past_the_bound_share_one_label_value() {
        let t = Telemetry::try_new("0.0.0").unwrap();
        for i in 0..MAX_GATEWAYS + 10 {
            let name = GatewayName::try_new(&format!("ns/gw-{i}")).unwrap();
            t.gateways.get(&name).reports.inc();
        }
        let text = String::from_utf8(t.encode(Format::Text).unwrap()).unwrap();
        assert!(text.contains("gaugeway_reports_total{gateway=\"overflow\"} 10\n"));
        let own = text
            .lines()
            .filter(|l| l.starts_with("gaugeway_reports_total{"));
        assert_eq!(own.count(), MAX_GATEWAYS + 1);
    }

    #[test]
    fn events_land_under_their_names() {
        let t = Telemetry::try_new("0.0.0").unwrap();
        let name = GatewayName::try_new("ns/gw").unwrap();
        t.gateways.get(&name).event(FilterCounter::ClockSteps, 1);
        t.gateways.get(&name).event(FilterCounter::Unrecorded, 7);
        let text = String::from_utf8(t.encode(Format::Text).unwrap()).unwrap();
        assert!(
            text.contains(r#"gaugeway_filter_events_total{event="clock_steps",gateway="ns/gw"} 1"#)
        );
        assert!(
            text.contains(r#"gaugeway_filter_events_total{event="unrecorded",gateway="ns/gw"} 7"#)
        );
    }
}
