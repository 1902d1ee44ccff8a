//! What a request may come to: an object, or a `Status` that says why not.

use serde_json::{Value, json};

/// A refusal as the API server words it.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    reason: &'static str,
    message: String,
}

pub(crate) type Outcome<T> = Result<T, Refusal>;

impl Refusal {
    pub(crate) fn new(code: u16, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason(code),
            message: message.into(),
        }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(404, format!("{what} not found"))
    }

    /// No such path. Said in plain text, as the real one does: there is no `Status` to read a reason from.
    pub(crate) fn not_served() -> Self {
        Self {
            reason: "",
            ..Self::new(404, "404 page not found")
        }
    }

    /// In plain text, where it is no `Status`.
    pub(crate) fn plain(&self) -> Option<&str> {
        self.reason.is_empty().then_some(&*self.message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, message)
    }

    pub(crate) fn exists(what: &str) -> Self {
        Self {
            reason: "AlreadyExists",
            ..Self::new(409, format!("{what} already exists"))
        }
    }

    /// A watch or a page from a state that is no longer known.
    pub(crate) fn expired() -> Self {
        Self::new(410, "too old resource version")
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        })
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        410 => "Expired",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    }
}
