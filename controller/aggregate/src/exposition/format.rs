//! The formats of an exposition.

/// In which format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Classic text, version 0.0.4.
    #[default]
    Text,
    /// OpenMetrics text, version 1.0.0: with the time of each counter's creation.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily`: the only one with native histograms.
    Protobuf,
}

/// How the bytes of the format travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As they are.
    #[default]
    Identity,
    /// As one gzip member.
    Gzip,
}

impl Format {
    /// All, in no order of preference.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// Value of the `content-type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}
