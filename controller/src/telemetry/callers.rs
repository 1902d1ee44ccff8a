//! Metrics of TLS, and of who calls.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::register::Register;
use crate::serving::Registration;

/// Certificates of ports.
#[derive(Debug)]
pub struct TlsMetrics {
    /// Reads of certificates, by port and result.
    reads: IntCounterVec,
}

/// Who calls the `apis` port.
#[derive(Debug)]
pub struct CallerMetrics {
    /// Questions to the API server, by review and result.
    pub reviews: IntCounterVec,
    /// Whether the API server's front proxy is known.
    pub front_proxy: IntGauge,
    /// How the registration of the metrics API is, by state.
    registration: IntGaugeVec,
}

impl TlsMetrics {
    pub(super) fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            reads: r.int_counter_vec(
                "gaugeway_certificate_reads_total",
                "Reads of a port's certificate that said something new, by port and result; after a failed read the last good certificate stays in force.",
                &["port", "result"],
            )?,
        })
    }

    pub(crate) fn read(&self, port: &str, result: &str) {
        self.reads.with_label_values(&[port, result]).inc();
    }
}

impl CallerMetrics {
    /// Only that state is shown from now on.
    pub(crate) fn registered(&self, registration: &Registration) {
        for of in Registration::STATES {
            let gauge = self.registration.with_label_values(&[of]);
            gauge.set(i64::from(of == registration.as_str()));
        }
    }

    pub(super) fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            reviews: r.int_counter_vec(
                "gaugeway_caller_reviews_total",
                "Questions to the API server about callers of the apis port, by review (token, access) and result (allowed, denied, error, full: too many at once); what is remembered is not asked again.",
                &["review", "result"],
            )?,
            registration: r.int_gauge_vec(
                "gaugeway_metrics_api",
                "1 for how the registration of the metrics API is, by state (registered; foreign: an APIService names another Service; failing: the API server does not do it; detached: taken out on demand). Only a leader with --metrics-api shows it.",
                &["state"],
            )?,
            front_proxy: r.int_gauge(
                "gaugeway_front_proxy_known",
                "1 while it is known by which certificates the API server's front proxy proves itself.",
            )?,
        })
    }
}
