//! What is exposed: names, types and help.

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

impl Family {
    /// Those with counts of every series, in the order of their numbers.
    pub(crate) const OF_SERIES: [Self; 6] = [
        Self::Latency,
        Self::Requests,
        Self::Retries,
        Self::Aborted,
        Self::LatencyUnknown,
        Self::CancelledWait,
    ];

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

    /// Its name in OpenMetrics: of a counter without `_total`.
    #[must_use]
    pub fn open_metrics_name(self) -> &'static str {
        let name = self.name();
        name.strip_suffix("_total").unwrap_or(name)
    }

    /// A histogram; the others are counters.
    #[must_use]
    pub const fn is_histogram(self) -> bool {
        matches!(self, Self::Latency | Self::Kong)
    }
}
