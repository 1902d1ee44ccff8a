//! The filters port: `POST /v1/mapping`, `POST /v1/report`.
//!
//! Order of checks: who calls (before a byte of the body is read), whether there is room, size, time, then meaning.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    routing::post,
};
use bytes::Bytes;
use gaugeway_wire::{GatewayName, MappingRequest, ReportAnswer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    body,
    refusal::{Path, Reason, Refusal},
};
use crate::{
    auth::Verifier, config::HttpLimits, ledger::LedgerHandle, mapping::MappingHandle,
    telemetry::Telemetry,
};

/// Header that names the calling gateway.
const GATEWAY_HEADER: &str = "x-gaugeway-gateway";
/// What both calls and their answers carry.
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const SERVED: &str = "this port serves POST /v1/mapping and POST /v1/report (version 1); \
    a filter of another version needs a controller of that version";

/// What the handlers hold.
pub(crate) struct Filters {
    mapping: MappingHandle,
    ledger: LedgerHandle,
    verifier: Verifier,
    slots: Arc<Semaphore>,
    body_timeout: Duration,
    telemetry: Arc<Telemetry>,
}

/// A call that passed the checks before its meaning. Its slot is free once it is dropped.
struct Call {
    gateway: GatewayName,
    body: Bytes,
    slot: OwnedSemaphorePermit,
}

impl Filters {
    pub(crate) fn new(
        mapping: MappingHandle,
        ledger: LedgerHandle,
        verifier: Verifier,
        limits: HttpLimits,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            mapping,
            ledger,
            verifier,
            slots: Arc::new(Semaphore::new(limits.calls)),
            body_timeout: limits.body_timeout,
            telemetry,
        }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route(Path::Mapping.as_str(), post(mapping).fallback(wrong_method))
            .route(Path::Report.as_str(), post(report).fallback(wrong_method))
            .fallback(not_served)
            .with_state(Arc::new(self))
    }

    async fn mapping(&self, request: Request) -> Result<Bytes, Refusal> {
        let Call {
            gateway,
            body,
            slot,
        } = self.admit(request).await?;
        let request = MappingRequest::decode(&body)?;
        // A held poll is not work in progress: the mapping bounds them by worker VM.
        drop((slot, body));
        Ok(self.mapping.poll(gateway, request).await?)
    }

    async fn report(&self, request: Request) -> Result<Bytes, Refusal> {
        let call = self.admit(request).await?;
        let applied = self.ledger.report(call.gateway.clone(), call.body).await?;
        // The report is applied: whatever the mapping says, this call has succeeded.
        let mapping = match applied.mapping {
            Some(request) => self.mapping.poll_now(call.gateway, request).await.ok(),
            None => None,
        };
        let answer = ReportAnswer {
            ledger_epoch: applied.ledger_epoch,
            seq: applied.seq,
            undefined: applied.undefined,
            mapping: mapping.as_deref(),
            rejected_series: applied.rejected_series,
        };
        let mut out = Vec::new();
        answer.encode(&mut out);
        Ok(out.into())
    }

    async fn admit(&self, request: Request) -> Result<Call, Refusal> {
        let (head, body) = request.into_parts();
        let gateway = self.authenticate(&head.headers)?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            Refusal::unavailable(Reason::Busy, "too many calls at once; call again later")
        })?;
        let body = body::read(&head.headers, body, self.body_timeout).await?;
        Ok(Call {
            gateway,
            body,
            slot,
        })
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<GatewayName, Refusal> {
        let name = headers
            .get(GATEWAY_HEADER)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| unauthorized(Reason::GatewayHeader, NO_GATEWAY))?;
        let gateway = GatewayName::try_new(name)
            .map_err(|error| unauthorized(Reason::GatewayHeader, error.to_string()))?;
        if self.verifier.accepts(&gateway, bearer(headers)) {
            Ok(gateway)
        } else {
            Err(unauthorized(Reason::Token, WRONG_TOKEN))
        }
    }

    fn conclude(&self, path: Path, result: Result<Bytes, Refusal>) -> Response<Body> {
        match result {
            Ok(body) => {
                self.telemetry.answered(path);
                let mut response = Response::new(Body::from(body));
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, PROTOBUF);
                response
            }
            Err(refusal) => {
                self.telemetry.reject(path, refusal.reason);
                refusal.into_response()
            }
        }
    }
}

const NO_GATEWAY: &str = "the header x-gaugeway-gateway is missing; it names the calling gateway";
const WRONG_TOKEN: &str = "the token does not belong to this gateway; make the right one with: \
    gaugeway token --gateway NAME --token-key-file FILE";

fn unauthorized(reason: Reason, text: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, reason, text)
}

/// The token, empty when there is none.
fn bearer(headers: &HeaderMap) -> &str {
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .unwrap_or_default()
}

async fn mapping(State(filters): State<Arc<Filters>>, request: Request) -> Response<Body> {
    let result = filters.mapping(request).await;
    filters.conclude(Path::Mapping, result)
}

async fn report(State(filters): State<Arc<Filters>>, request: Request) -> Response<Body> {
    let result = filters.report(request).await;
    filters.conclude(Path::Report, result)
}

async fn not_served(State(filters): State<Arc<Filters>>) -> Response<Body> {
    let refusal = Refusal::new(StatusCode::NOT_FOUND, Reason::UnknownPath, SERVED);
    filters.conclude(Path::Other, Err(refusal))
}

async fn wrong_method(State(filters): State<Arc<Filters>>) -> Response<Body> {
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Reason::Method, SERVED);
    let mut response = filters.conclude(Path::Other, Err(refusal));
    let allow = HeaderValue::from_static("POST");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}
