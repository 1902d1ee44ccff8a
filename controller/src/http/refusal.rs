//! Refusals: a status, one line of text for a person, a reason for the counter.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use gaugeway_wire::DecodeError;

use crate::{ledger::ReportError, mapping::Unavailable};

/// What a call was for; value of the `path` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Mapping,
    Report,
    Filter,
    Metrics,
    Api,
    CustomMetrics,
    /// Anything that is not served, and what is not HTTP.
    Other,
}

/// Why a call was refused; value of the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    GatewayHeader,
    Token,
    TooLarge,
    SlowBody,
    BrokenBody,
    Undecodable,
    Illegal,
    ForeignVm,
    Busy,
    NotSynced,
    Stopping,
    NoLeader,
    LeaseExpired,
    LeaderAway,
    UnknownPath,
    UnknownModule,
    UnknownObject,
    Query,
    Method,
    NotHttp,
    SlowHead,
    Connections,
    SlowHandshake,
    Handshake,
    PlainText,
    Host,
    Unauthenticated,
    Forbidden,
    ReviewsAway,
}

/// Every value of the `reason` label of `gaugeway_rejected_calls_total`, with what it means; for the documentation.
#[must_use]
pub fn rejection_reasons() -> Vec<(&'static str, &'static str)> {
    Reason::ALL
        .iter()
        .map(|reason| (reason.as_str(), reason.meaning()))
        .collect()
}

/// A refused call.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    status: StatusCode,
    text: String,
}

impl Path {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Mapping => "/v1/mapping",
            Self::Report => "/v1/report",
            Self::Filter => "/v1/filter",
            Self::Metrics => "/metrics",
            Self::Api => "/api/v1",
            Self::CustomMetrics => "/apis",
            Self::Other => "other",
        }
    }
}

impl Reason {
    const ALL: [Self; 29] = [
        Self::GatewayHeader,
        Self::Token,
        Self::TooLarge,
        Self::SlowBody,
        Self::BrokenBody,
        Self::Undecodable,
        Self::Illegal,
        Self::ForeignVm,
        Self::Busy,
        Self::NotSynced,
        Self::Stopping,
        Self::NoLeader,
        Self::LeaseExpired,
        Self::LeaderAway,
        Self::UnknownPath,
        Self::UnknownModule,
        Self::UnknownObject,
        Self::Query,
        Self::Method,
        Self::NotHttp,
        Self::SlowHead,
        Self::Connections,
        Self::SlowHandshake,
        Self::Handshake,
        Self::PlainText,
        Self::Host,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::ReviewsAway,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::GatewayHeader => "gateway_header",
            Self::Token => "token",
            Self::TooLarge => "too_large",
            Self::SlowBody => "slow_body",
            Self::BrokenBody => "broken_body",
            Self::Undecodable => "undecodable",
            Self::Illegal => "illegal",
            Self::ForeignVm => "foreign_vm",
            Self::Busy => "busy",
            Self::NotSynced => "not_synced",
            Self::Stopping => "stopping",
            Self::NoLeader => "no_leader",
            Self::LeaseExpired => "lease_expired",
            Self::LeaderAway => "leader_away",
            Self::UnknownPath => "unknown_path",
            Self::UnknownModule => "unknown_module",
            Self::UnknownObject => "unknown_object",
            Self::Query => "query",
            Self::Method => "method",
            Self::NotHttp => "not_http",
            Self::SlowHead => "slow_head",
            Self::Connections => "connections",
            Self::SlowHandshake => "slow_handshake",
            Self::Handshake => "handshake",
            Self::PlainText => "plain_text",
            Self::Host => "host",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::ReviewsAway => "reviews_away",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::GatewayHeader => {
                "401: the header `x-gaugeway-gateway` is missing or no gateway's name"
            }
            Self::Token => "401: the token is missing or not this gateway's",
            Self::TooLarge => "413: the body is over its bound",
            Self::SlowBody => "408: the body did not come in time",
            Self::BrokenBody => "400: the body ended before its announced end",
            Self::Undecodable => "400: the body is not the message that the path takes",
            Self::Illegal => "422: the message breaks a rule of the contract",
            Self::ForeignVm => "422: the worker VM reports for another gateway",
            Self::Busy => {
                "503: too many calls or worker VMs at once; filters keep their counts and call again"
            }
            Self::NotSynced => {
                "503: the source has not been read yet; filters keep their counts and call again"
            }
            Self::Stopping => "503: the controller stops; filters keep their counts and call again",
            Self::NoLeader => "503: no replica leads now; filters keep their counts and call again",
            Self::LeaseExpired => {
                "503: the leader could not renew its Lease (is the API server away?); filters keep their counts and call again"
            }
            Self::LeaderAway => {
                "503: this replica stands by and the leader does not answer it; filters keep their counts and call again"
            }
            Self::UnknownPath => {
                "404: nothing is served there, or another version of the contract was asked for"
            }
            Self::UnknownModule => {
                "404: the module with that SHA-256 is not the one in this controller"
            }
            Self::UnknownObject => "404: there is no such object",
            Self::Query => "400: the query asks for something that there is not",
            Self::Method => "405: the path takes another method",
            Self::NotHttp => {
                "400 where it can be said: the bytes are not HTTP, or a head is over its bound"
            }
            Self::SlowHead => "closed: a call's head did not come in time",
            Self::Connections => "closed: too many connections at once",
            Self::SlowHandshake => "closed: a TLS handshake did not end in time",
            Self::Handshake => "closed: a TLS handshake failed",
            Self::PlainText => "400: plain text came to a port that speaks TLS",
            Self::Host => "421: the API port was called by another name than localhost",
            Self::Unauthenticated => {
                "401: neither the API server's front proxy nor a bearer token that the API server knows"
            }
            Self::Forbidden => "403: the API server does not allow the caller that",
            Self::ReviewsAway => "503: the API server cannot be asked about the caller",
        }
    }
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            status,
            text: text.into(),
        }
    }

    /// The path takes another method than this call's; `served` says which.
    pub(super) fn method(served: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Reason::Method, served)
    }

    /// Come back later: the caller keeps what it has.
    pub(super) fn unavailable(reason: Reason, text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, text)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// As a response. What leaves a body unread, and what another replica may do better, closes its connection.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.text + "\n"));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, text);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// Names the methods that the path takes, as a 405 must.
pub(super) fn allowing(methods: &'static str, mut response: Response<Body>) -> Response<Body> {
    let methods = HeaderValue::from_static(methods);
    response.headers_mut().insert(header::ALLOW, methods);
    response
}

/// 400 for bytes that are no message, 422 for a message that breaks a rule: both are final for a filter.
impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let text = format!("the body cannot be used: {error}");
        match error {
            DecodeError::Truncated(_) | DecodeError::WireType(_) => {
                Self::new(StatusCode::BAD_REQUEST, Reason::Undecodable, text)
            }
            DecodeError::Bound(_) | DecodeError::Value(_) | DecodeError::Missing(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Reason::Illegal, text)
            }
            DecodeError::Memory(_) => Self::unavailable(Reason::Busy, text),
        }
    }
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        let text = error.to_string();
        match error {
            ReportError::Undecodable(error) => error.into(),
            ReportError::ForeignVm => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Reason::ForeignVm, text)
            }
            ReportError::Busy(_) => Self::unavailable(Reason::Busy, text),
            ReportError::NotLeader => Self::unavailable(Reason::LeaseExpired, text),
            ReportError::Stopped => Self::unavailable(Reason::Stopping, text),
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(error: Unavailable) -> Self {
        let reason = match error {
            Unavailable::NotSynced => Reason::NotSynced,
            Unavailable::Full => Reason::Busy,
            Unavailable::Stopping => Reason::Stopping,
        };
        Self::unavailable(reason, error.to_string())
    }
}
