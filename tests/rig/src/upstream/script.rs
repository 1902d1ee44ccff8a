//! What a request asks the server to do, in a header.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Carries the script as JSON.
pub const SCRIPT_HEADER: &str = "x-rig-script";

/// One request's script.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// Milliseconds before the response headers (or before what happens instead of them).
    #[serde(default)]
    pub delay_ms: u64,
    /// This many attempts fail with 503 before one does as told. Needs Envoy's attempt count header.
    #[serde(default)]
    pub fail_attempts: u64,
    /// What then happens.
    #[serde(default)]
    pub act: Act,
}

/// What the server does once the delay is over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// 200 with a short body.
    #[default]
    Respond,
    /// A status with a short body.
    Status(u16),
    /// 200 with this many headers more than usual.
    ManyHeaders(u16),
    /// 200, then a chunk every so often.
    SlowBody {
        /// How many.
        chunks: u32,
        /// Milliseconds between two.
        every_ms: u64,
    },
    /// An event stream that never ends.
    Events {
        /// Milliseconds between two events.
        every_ms: u64,
    },
    /// Nothing, ever.
    Hang,
    /// Ends the connection (HTTP/2: the stream) without an answer.
    ResetBeforeHeaders,
    /// Response headers and a chunk, then ends the connection (HTTP/2: the stream) in the body.
    ResetAfterHeaders,
    /// 101, then echoes what comes.
    Upgrade,
    /// A gRPC answer: headers, a message, `grpc-status` in the trailers.
    Grpc(u32),
    /// A gRPC answer that is only trailers, as headers.
    GrpcTrailersOnly(u32),
}

impl Script {
    /// Only a delay.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self {
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    /// Only an act.
    #[must_use]
    pub fn act(act: Act) -> Self {
        Self {
            act,
            ..Self::default()
        }
    }

    /// The header's value.
    #[must_use]
    pub fn to_header(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn travels_in_a_header() {
        let script = Script {
            delay_ms: 5,
            fail_attempts: 2,
            act: Act::SlowBody {
                chunks: 3,
                every_ms: 1,
            },
        };
        assert_eq!(
            serde_json::from_str::<Script>(&script.to_header()).unwrap(),
            script
        );
    }
}
