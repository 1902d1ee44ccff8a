//! The controller's own metrics: one struct of handles, registered once in one registry, passed as an argument.
//!
//! Invariants: no globals; every label value comes from a closed set or is a gateway's name, and gateways are bounded
//! (see [`gateways`]); every metric is listed by [`Telemetry::table`], from which `docs/metrics.md` is generated.

mod callers;
mod deploy;
mod encode;
pub mod gateways;
mod register;

use std::sync::Arc;

use gaugeway_aggregate::Format;
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

pub use callers::{CallerMetrics, TlsMetrics};
pub use deploy::DeployMetrics;
use gateways::Gateways;
use register::Register;
pub use register::{Kind, MetricDoc};

/// Handles of all own metrics. Cheap to share: `Arc<Telemetry>`.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    table: Vec<MetricDoc>,
    /// Per gateway.
    pub gateways: Gateways,
    /// HTTP servers.
    pub http: HttpMetrics,
    /// Source of objects.
    pub source: SourceMetrics,
    /// Policies.
    pub policies: PolicyMetrics,
    /// The filter's way into gateways.
    pub deploy: DeployMetrics,
    /// Mapping and subscriptions.
    pub mapping: MappingMetrics,
    /// Totals and their log.
    pub ledger: LedgerMetrics,
    /// Who leads.
    pub lease: LeaseMetrics,
    /// Certificates.
    pub tls: TlsMetrics,
    /// Who calls the `apis` port.
    pub callers: CallerMetrics,
}

/// HTTP servers.
#[derive(Debug)]
pub struct HttpMetrics {
    /// Calls refused, by path and reason.
    pub rejected: IntCounterVec,
    /// Calls answered, by path.
    pub calls: IntCounterVec,
    /// Open connections, by port.
    pub connections: IntGaugeVec,
    /// Reads of the token key, by result.
    pub key_reads: IntCounterVec,
    /// Calls forwarded to the leader, by path and result.
    pub forwarded: IntCounterVec,
}

/// Source of objects.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    /// 1 once every object was read.
    pub synced: IntGauge,
    /// Objects held, by kind.
    pub objects: IntGaugeVec,
    /// Files, by state (`ok`, `stale`: bad, its last good state stays, `bad`: never read well).
    pub files: IntGaugeVec,
    /// Reads of the directory, by result.
    pub reloads: IntCounterVec,
    /// Watches of a cluster, by kind and state.
    pub watches: IntGaugeVec,
    /// Complete lists of a cluster's objects, by kind.
    pub lists: IntCounterVec,
    /// Failed lists and watches, by kind and reason.
    pub watch_errors: IntCounterVec,
}

/// Mapping and subscriptions.
#[derive(Debug)]
pub struct MappingMetrics {
    /// Generation of the index.
    pub generation: IntGauge,
    /// Worker VMs that hold a subscription.
    pub vms: IntGauge,
    /// Keys subscribed, over all VMs.
    pub keys: IntGauge,
    /// Long polls held now.
    pub held: IntGauge,
    /// Answers that carried entries.
    pub answers: IntCounter,
    /// Answers said again because the VM did not confirm them.
    pub repeated: IntCounter,
    /// Changes of owner forgotten early because their bound was reached.
    pub forgotten: IntCounter,
    /// From a change of the index to the confirmation of the answer that carried it.
    pub lag: Histogram,
    /// Subscriptions refused because a bound was reached, by bound.
    pub refused: IntCounterVec,
    /// Addresses that belong to several targets.
    pub ambiguous: IntGauge,
}

/// Totals and their log.
#[derive(Debug)]
pub struct LedgerMetrics {
    /// Series held.
    pub series: IntGauge,
    /// Series dropped because their target is gone.
    pub expired: IntCounter,
    /// Requests counted in the overflow series, by reason.
    pub overflow_requests: IntCounterVec,
    /// Latency samples whose classic buckets were re-cut because a report's layout differs from the policy's.
    pub rebucketed: IntCounter,
    /// Length of the log since the last snapshot.
    pub log_bytes: IntGauge,
    /// 1 while the log cannot be written and totals are in memory only.
    pub degraded: IntGauge,
    /// Snapshots, by result.
    pub snapshots: IntCounterVec,
    /// Files set aside at start because they were foreign or corrupt.
    pub set_aside: IntCounter,
    /// Unfinished ends of logs that were cut off at start.
    pub torn: IntCounter,
    /// Definitions that are none, or that their gateway cannot make.
    pub refused_definitions: IntCounter,
    /// Span of an applied report.
    pub span: Histogram,
    /// Time to write a scrape's aggregated part.
    pub render: Histogram,
    /// Reports whose counts entered no window, by reason.
    pub unwindowed: IntCounterVec,
    /// Counts that entered no window for want of room.
    pub left_out: IntCounter,
    /// Memory of the windows.
    pub window_bytes: IntGauge,
    /// When this ledger's life began.
    pub started: Gauge,
}

/// Who leads.
#[derive(Debug)]
pub struct LeaseMetrics {
    /// 1 while this replica takes reports.
    pub leader: IntGauge,
    /// 1 while what is shown may be behind.
    pub stale: IntGauge,
    /// Writes of the Lease, by result.
    pub writes: IntCounterVec,
}

/// Policies.
#[derive(Clone, Debug)]
pub struct PolicyMetrics {
    /// Known, by state.
    pub held: IntGaugeVec,
    /// Statuses written, by result.
    pub status_writes: IntCounterVec,
    /// Extensions of Kong's operator, by what became of them.
    pub extensions: IntGaugeVec,
}

impl Telemetry {
    /// Registers everything.
    ///
    /// # Errors
    /// Only when two metrics have the same name: a mistake in this file.
    pub fn try_new(version: &str) -> Result<Arc<Self>, prometheus::Error> {
        let mut r = Register::default();
        r.int_gauge_vec(
            "gaugeway_build_info",
            "Always 1; its label says which version runs.",
            &["version"],
        )?
        .with_label_values(&[version])
        .set(1);
        let http = HttpMetrics::register(&mut r)?;
        let gateways = Gateways::register(&mut r)?;
        let source = SourceMetrics::register(&mut r)?;
        let policies = PolicyMetrics::register(&mut r)?;
        let deploy = DeployMetrics::register(&mut r)?;
        let mapping = MappingMetrics::register(&mut r)?;
        let ledger = LedgerMetrics::register(&mut r)?;
        let lease = LeaseMetrics::register(&mut r)?;
        let tls = TlsMetrics::register(&mut r)?;
        let callers = CallerMetrics::register(&mut r)?;
        let (registry, table) = r.finish();
        Ok(Arc::new(Self {
            registry,
            table,
            gateways,
            http,
            source,
            policies,
            deploy,
            mapping,
            ledger,
            lease,
            tls,
            callers,
        }))
    }

    /// One row per metric, in the order of registration.
    #[must_use]
    pub fn table(&self) -> &[MetricDoc] {
        &self.table
    }

    /// All own metrics in a format, without what ends a page.
    ///
    /// # Errors
    /// When a family is inconsistent, which registration excludes.
    pub fn encode(&self, format: Format) -> Result<Vec<u8>, prometheus::Error> {
        encode::encode(&self.registry.gather(), format)
    }
}

impl HttpMetrics {
    fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            rejected: r.int_counter_vec(
                "gaugeway_rejected_calls_total",
                "Calls refused, which changed nothing, by path and reason.",
                &["path", "reason"],
            )?,
            calls: r.int_counter_vec(
                "gaugeway_calls_total",
                "Calls answered with success, by path.",
                &["path"],
            )?,
            connections: r.int_gauge_vec(
                "gaugeway_connections",
                "Open connections, by port (filters, wasm, metrics, api, apis).",
                &["port"],
            )?,
            key_reads: r.int_counter_vec(
                "gaugeway_token_key_reads_total",
                "Reads of the token key, by result; after a failed read the last good keys stay in force.",
                &["result"],
            )?,
            forwarded: r.int_counter_vec(
                "gaugeway_forwarded_calls_total",
                "Calls that this replica, standing by, passed on to the leader, by path and result (ok; refused: the leader said so; failed: no answer from it).",
                &["path", "result"],
            )?,
        })
    }
}

impl LeaseMetrics {
    fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            leader: r.int_gauge(
                "gaugeway_leader",
                "1 while this replica leads: takes reports and shows totals. Without leader election always 1.",
            )?,
            stale: r.int_gauge(
                "gaugeway_stale",
                "1 while this replica shows totals and takes no reports, since its Lease ran out or was given back.",
            )?,
            writes: r.int_counter_vec(
                "gaugeway_lease_writes_total",
                "Writes of the leader's Lease, by result (ok, conflict: another replica was first, error).",
                &["result"],
            )?,
        })
    }
}

impl SourceMetrics {
    fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            synced: r.int_gauge(
                "gaugeway_source_synced",
                "1 once the source was read completely; until then filters are answered 503.",
            )?,
            objects: r.int_gauge_vec(
                "gaugeway_source_objects",
                "Kubernetes objects held, by kind.",
                &["kind"],
            )?,
            files: r.int_gauge_vec(
                "gaugeway_source_files",
                "Manifest files, by state: ok; stale (now bad, its last good state is in force); bad (never read well).",
                &["state"],
            )?,
            reloads: r.int_counter_vec(
                "gaugeway_source_reloads_total",
                "Reads of changed manifest files, by result (ok, error).",
                &["result"],
            )?,
            watches: r.int_gauge_vec(
                "gaugeway_source_watches",
                "Watches of the cluster, by kind and state (starting, absent: not served, listing, watching, failing: what was known stays in force).",
                &["kind", "state"],
            )?,
            lists: r.int_counter_vec(
                "gaugeway_source_lists_total",
                "Complete lists of the cluster's objects, by kind; beyond the first each one followed a watch that could not go on.",
                &["kind"],
            )?,
            watch_errors: r.int_counter_vec(
                "gaugeway_source_errors_total",
                "Failed lists and watches of the cluster, by kind and reason (forbidden, unauthorized, expired, refused, server, network, decode).",
                &["kind", "reason"],
            )?,
        })
    }
}

impl PolicyMetrics {
    fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            held: r.int_gauge_vec(
                "gaugeway_policies",
                "LatencyPolicies known, by state (valid, invalid).",
                &["state"],
            )?,
            status_writes: r.int_counter_vec(
                "gaugeway_policy_status_writes_total",
                "Statuses of LatencyPolicies written, by result (ok, conflict, error).",
                &["result"],
            )?,
            extensions: r.int_gauge_vec(
                "gaugeway_kong_metrics_extensions",
                "DataPlaneMetricsExtensions known (--kong-metrics-extensions), by what became of them: measured, partly, \
                 no_workers, no_wasm, no_services, overridden, no_target, unattached, off (config.latency is false).",
                &["state"],
            )?,
        })
    }
}

impl MappingMetrics {
    fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            generation: r.int_gauge(
                "gaugeway_mapping_generation",
                "Generation of the mapping; grows with each change of the objects that matters.",
            )?,
            vms: r.int_gauge(
                "gaugeway_mapping_vms",
                "Worker VMs that hold a subscription.",
            )?,
            keys: r.int_gauge(
                "gaugeway_mapping_keys",
                "Upstream keys subscribed, over all worker VMs.",
            )?,
            held: r.int_gauge("gaugeway_mapping_held_polls", "Mapping calls held now.")?,
            answers: r.int_counter(
                "gaugeway_mapping_answers_total",
                "Mapping answers that carried entries.",
            )?,
            repeated: r.int_counter(
                "gaugeway_mapping_repeated_answers_total",
                "Mapping answers said again because the worker VM did not confirm them: it never got them.",
            )?,
            forgotten: r.int_counter(
                "gaugeway_mapping_forgotten_changes_total",
                "Addresses whose former owner was forgotten early because too many changed hands within 15 minutes.",
            )?,
            lag: r.histogram(
                "gaugeway_mapping_lag_seconds",
                "From a change of the mapping to the worker VM's confirmation of the answer that carried it.",
                &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
            )?,
            refused: r.int_counter_vec(
                "gaugeway_mapping_refused_total",
                "Subscriptions refused because a bound was reached, by bound (vms, keys).",
                &["bound"],
            )?,
            ambiguous: r.int_gauge(
                "gaugeway_mapping_ambiguous_addresses",
                "Addresses that belong to several Services.",
            )?,
        })
    }
}

impl LedgerMetrics {
    /// Requests went to the overflow series. Asked with 0 it shows the reason, so that an increase is seen as one.
    pub(crate) fn overflow(&self, reason: &str, requests: u64) {
        let counter = self.overflow_requests.with_label_values(&[reason]);
        counter.inc_by(requests);
    }

    fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            series: r.int_gauge(
                "gaugeway_series",
                "Series held: pairs of a target and a route.",
            )?,
            expired: r.int_counter(
                "gaugeway_series_expired_total",
                "Series dropped because their target is gone.",
            )?,
            overflow_requests: r.int_counter_vec(
                "gaugeway_series_overflow_requests_total",
                "Requests counted in the overflow series, by reason: full (--max-series, or another table), policy (a \
                 policy's maxSeries), unnamed (no filter said what they are about).",
                &["reason"],
            )?,
            rebucketed: r.int_counter(
                "gaugeway_rebucketed_samples_total",
                "Latency samples whose report had another bucket layout than the policy.",
            )?,
            log_bytes: r.int_gauge(
                "gaugeway_ledger_log_bytes",
                "Length of the ledger's log since its last snapshot.",
            )?,
            degraded: r.int_gauge(
                "gaugeway_ledger_degraded",
                "1 while the ledger's log cannot be written and totals are in memory only.",
            )?,
            snapshots: r.int_counter_vec(
                "gaugeway_ledger_snapshots_total",
                "Snapshots of the ledger, by result (ok, error).",
                &["result"],
            )?,
            set_aside: r.int_counter(
                "gaugeway_ledger_files_set_aside_total",
                "Ledger files set aside at start because they were foreign or corrupt.",
            )?,
            torn: r.int_counter(
                "gaugeway_ledger_torn_tails_total",
                "Unfinished ends of the ledger's log cut off at start; they were never acknowledged.",
            )?,
            refused_definitions: r.int_counter(
                "gaugeway_refused_definitions_total",
                "Definitions of targets refused: of another fingerprint, with labels the gateway cannot define, or too many.",
            )?,
            span: r.histogram(
                "gaugeway_report_span_seconds",
                "Time that an applied report covers; long spans are backlogs.",
                &[1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 3600.0],
            )?,
            render: r.histogram(
                "gaugeway_exposition_seconds",
                "Time to write the aggregated series of one scrape.",
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0],
            )?,
            unwindowed: r.int_counter_vec(
                "gaugeway_unwindowed_reports_total",
                "Reports that entered the totals and no window, by reason (long: a backlog, old: sent late, clock: the gateway's clock went back).",
                &["reason"],
            )?,
            left_out: r.int_counter(
                "gaugeway_window_overflows_total",
                "Series updates that entered no window because there are too many objects; their windows answer unknown.",
            )?,
            window_bytes: r.int_gauge(
                "gaugeway_window_bytes",
                "Memory of all windows, at most 234881024; what has no room answers unknown.",
            )?,
            started: r.gauge(
                "gaugeway_ledger_created_timestamp_seconds",
                "When this ledger's life began, seconds since 1970; totals count from there.",
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_prometheus_conventions() {
        let t = Telemetry::try_new("0.0.0").unwrap();
        for m in t.table() {
            assert!(m.name.starts_with("gaugeway_"), "{}", m.name);
            assert_eq!(
                m.kind == Kind::Counter,
                m.name.ends_with("_total"),
                "{}",
                m.name
            );
            assert!(m.help.ends_with('.'), "{}: help is a sentence", m.name);
        }
    }
}
