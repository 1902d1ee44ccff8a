//! How a request ended, and its response code's class.

/// How an upstream request ended (DESIGN §2). A request that never reached upstream handling has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Response headers came from the upstream, whatever their status.
    Response = 0,
    /// The gateway gave up waiting for response headers.
    Timeout = 1,
    /// The upstream connection or stream ended before response headers.
    Reset = 2,
    /// No connection to the chosen upstream.
    ConnectFailure = 3,
    /// The gateway's limits (connections, pending requests, retries) refused the request.
    Overflow = 4,
    /// No usable endpoint.
    NoEndpoint = 5,
    /// The client left before response headers.
    Cancelled = 6,
}

/// Class of the response code that the client was (to be) sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CodeClass {
    /// No code.
    None = 0,
    /// 100–199.
    Informational = 1,
    /// 200–299.
    Success = 2,
    /// 300–399.
    Redirection = 3,
    /// 400–499.
    ClientError = 4,
    /// 500–599.
    ServerError = 5,
}

/// An outcome with a code class: one counter of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestClass {
    /// How it ended.
    pub outcome: Outcome,
    /// Its code's class.
    pub code: CodeClass,
}

impl Outcome {
    /// All outcomes, in wire order.
    pub const ALL: [Self; 7] = [
        Self::Response,
        Self::Timeout,
        Self::Reset,
        Self::ConnectFailure,
        Self::Overflow,
        Self::NoEndpoint,
        Self::Cancelled,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::ConnectFailure => "connect_failure",
            Self::Overflow => "overflow",
            Self::NoEndpoint => "no_endpoint",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a request that ended so has a latency sample (DESIGN §3).
    #[must_use]
    pub const fn has_latency(self) -> bool {
        matches!(self, Self::Response | Self::Timeout)
    }
}

impl CodeClass {
    /// All classes, in wire order.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
    ];

    /// Class of a status; anything outside 100..=599 is `None`.
    #[must_use]
    pub const fn of(status: u64) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            500..=599 => Self::ServerError,
            _ => Self::None,
        }
    }

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

impl RequestClass {
    /// Exclusive upper bound of [`RequestClass::index`].
    pub const COUNT: usize = 56;

    /// `outcome * 8 + code`, as on the wire.
    #[must_use]
    pub const fn index(self) -> usize {
        self.outcome as usize * 8 + self.code as usize
    }

    /// The inverse of [`RequestClass::index`]; `None` for what no version 1 filter sends.
    #[must_use]
    pub fn from_index(index: u64) -> Option<Self> {
        let index = usize::try_from(index).ok()?;
        Some(Self {
            outcome: *Outcome::ALL.get(index / 8)?,
            code: *CodeClass::ALL.get(index % 8)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn indexes_come_back() {
        let mut known = 0;
        for index in 0..RequestClass::COUNT + 20 {
            if let Some(class) = RequestClass::from_index(index as u64) {
                assert_eq!(class.index(), index);
                known += 1;
            }
        }
        assert_eq!(known, Outcome::ALL.len() * CodeClass::ALL.len());
        assert_eq!(RequestClass::from_index(u64::MAX), None);
    }

    #[test]
    fn statuses_have_their_class() {
        let classes = [0, 99, 100, 204, 301, 404, 599, 600].map(CodeClass::of);
        let names = classes.map(CodeClass::as_str);
        assert_eq!(
            names,
            ["none", "none", "1xx", "2xx", "3xx", "4xx", "5xx", "none"]
        );
    }
}
