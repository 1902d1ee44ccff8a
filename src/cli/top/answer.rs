//! The API's answers, as far as they are shown.

use serde::Deserialize;

use super::app::Key;

/// How far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Window {
    #[value(name = "15s")]
    Seconds15,
    #[value(name = "30s")]
    Seconds30,
    #[value(name = "60s")]
    Seconds60,
    #[value(name = "5m")]
    Minutes5,
}

/// `/api/v1/services`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct List {
    pub(super) services: Vec<Service>,
}

/// Of the list.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Service {
    pub(super) namespace: String,
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) signals: Signals,
}

impl Service {
    pub(super) fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }
}

/// `/api/v1/services/NAMESPACE/NAME`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Detail {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) backends: Vec<Backend>,
    pub(super) pods: Vec<Named>,
    pub(super) gateways: Vec<Named>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Backend {
    pub(super) port: Option<String>,
    #[serde(flatten)]
    pub(super) signals: Signals,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) signals: Signals,
}

/// What something did in a window. Absent is not 0.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Signals {
    pub(super) state: State,
    pub(super) reason: Option<String>,
    pub(super) requests_per_second: Option<f64>,
    pub(super) concurrency: Option<f64>,
    pub(super) error_ratio: Option<f64>,
    pub(super) latency_seconds: Option<Latency>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    Active,
    Idle,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl Window {
    const ALL: [Self; 4] = [
        Self::Seconds15,
        Self::Seconds30,
        Self::Seconds60,
        Self::Minutes5,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds15 => "15s",
            Self::Seconds30 => "30s",
            Self::Seconds60 => "60s",
            Self::Minutes5 => "5m",
        }
    }

    /// The next longer one, after the longest the shortest.
    pub(super) fn next(self) -> Self {
        let mut all = Self::ALL.into_iter().cycle().skip_while(|w| *w != self);
        all.nth(1).unwrap_or(self)
    }
}

impl Signals {
    pub(super) fn p50(&self) -> Option<f64> {
        self.latency_seconds.as_ref()?.p50
    }

    pub(super) fn p95(&self) -> Option<f64> {
        self.latency_seconds.as_ref()?.p95
    }

    pub(super) fn p99(&self) -> Option<f64> {
        self.latency_seconds.as_ref()?.p99
    }
}
