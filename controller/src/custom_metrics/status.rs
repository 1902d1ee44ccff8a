//! `Status`: how a Kubernetes API says no.

use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) reason: StatusReason,
    pub(crate) message: String,
}

/// As machines read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusReason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    ServiceUnavailable,
}

/// Pause that who was told to come back later is to make, in seconds.
pub(crate) const RETRY_SECONDS: u16 = 1;

impl StatusReason {
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::ServiceUnavailable => 503,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::ServiceUnavailable => "ServiceUnavailable",
        }
    }
}

impl Status {
    pub(crate) fn new(reason: StatusReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// Nothing is known: an HPA leaves the size as it is.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusReason::NotFound, message)
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusReason::BadRequest, message)
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason.as_str(), "code": self.reason.code(),
        });
        if self.reason == StatusReason::ServiceUnavailable {
            status["details"] = json!({"retryAfterSeconds": RETRY_SECONDS});
        }
        status
    }
}
