//! The filters port: `POST /v1/mapping`, `POST /v1/report`.
//!
//! Order of checks: who calls (before a byte of the body is read), whether there is room, size, time, then meaning. A
//! replica that does not lead passes the call on to the leader.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::post,
};
use bytes::Bytes;
use gaugeway_wire::{GatewayName, MappingRequest, ReportAnswer, limits::REPORT_ANSWER_BYTES};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    body,
    io::Fence,
    metrics::STALE,
    refusal::{Path, Reason, Refusal, allowing},
};
use crate::{
    auth::Verifier,
    config::HttpLimits,
    forward::{self, Forward, NotForwarded},
    lease::Peer,
    ledger::LedgerHandle,
    mapping::MappingHandle,
    role::{Seat, Taker},
    telemetry::Telemetry,
};

/// Longest wait for the leader's answer to a mapping call, which it may hold for 25 s.
const HELD: Duration = Duration::from_secs(30);
/// And to a report. Shorter than filters wait.
const REPORTED: Duration = Duration::from_secs(8);
/// What other replicas ask of the leader stands under this path.
pub(crate) const BETWEEN_REPLICAS: &str = "/v1/replica";

/// Header that names the calling gateway.
const GATEWAY_HEADER: &str = "x-gaugeway-gateway";
/// What both calls and their answers carry.
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const SERVED: &str = "this port serves POST /v1/mapping and POST /v1/report (version 1); \
    a filter of another version needs a controller of that version";

/// What the handlers hold.
pub(crate) struct Filters {
    mapping: MappingHandle,
    seat: Seat,
    forward: Forward,
    verifier: Verifier,
    slots: Arc<Semaphore>,
    body_timeout: Duration,
    telemetry: Arc<Telemetry>,
}

/// A call that passed the checks before its meaning. Its slot is free once it is dropped.
struct Call {
    head: Parts,
    gateway: GatewayName,
    body: Bytes,
    slot: OwnedSemaphorePermit,
}

/// An answer that is no refusal of ours.
enum Answer {
    Ours(Bytes),
    /// The leader's, whatever it says.
    Leaders(Response<Bytes>),
}

impl Filters {
    pub(crate) fn new(
        mapping: MappingHandle,
        seat: Seat,
        forward: Forward,
        verifier: Verifier,
        limits: HttpLimits,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            mapping,
            seat,
            forward,
            verifier,
            slots: Arc::new(Semaphore::new(limits.calls)),
            body_timeout: limits.body_timeout,
            telemetry,
        }
    }

    /// `inner` is served to other replicas only, under [`BETWEEN_REPLICAS`].
    pub(crate) fn router(self, inner: Router) -> Router {
        let filters = Arc::new(self);
        let only = middleware::from_fn_with_state(Arc::clone(&filters), only_replicas);
        Router::new()
            .route(Path::Mapping.as_str(), post(mapping).fallback(wrong_method))
            .route(Path::Report.as_str(), post(report).fallback(wrong_method))
            .fallback(not_served)
            .with_state(filters)
            .nest(BETWEEN_REPLICAS, inner.layer(only))
    }

    async fn mapping(&self, request: Request) -> Result<Answer, Refusal> {
        let call = self.admit(request).await?;
        match self.seat.taker() {
            Taker::Here(_) => {
                let request = MappingRequest::decode(&call.body)?;
                // A held poll is not work in progress: the mapping bounds them by worker VM.
                drop((call.slot, call.body));
                let answer = self.mapping.poll(call.gateway, request).await?;
                Ok(Answer::Ours(answer))
            }
            Taker::At(leader) => self.pass_on(&leader, call, Path::Mapping, HELD).await,
            taker @ (Taker::Expired | Taker::Nobody) => Err(nobody(&taker)),
        }
    }

    async fn report(&self, request: Request) -> Result<Answer, Refusal> {
        let call = self.admit(request).await?;
        match self.seat.taker() {
            Taker::Here(ledger) => self.apply(&ledger, call).await.map(Answer::Ours),
            Taker::At(leader) => self.pass_on(&leader, call, Path::Report, REPORTED).await,
            taker @ (Taker::Expired | Taker::Nobody) => Err(nobody(&taker)),
        }
    }

    async fn apply(&self, ledger: &LedgerHandle, call: Call) -> Result<Bytes, Refusal> {
        // Before the ledger decides: whatever it says leaves behind the fence.
        if let Some(fence) = call.head.extensions.get::<Fence>() {
            fence.arm(self.seat.tenure());
        }
        let applied = ledger.report(call.gateway.clone(), call.body).await?;
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

    /// To the leader. Its body is bounded and read, its token known to be good.
    async fn pass_on(
        &self,
        leader: &Peer,
        call: Call,
        path: Path,
        patience: Duration,
    ) -> Result<Answer, Refusal> {
        let target = path
            .as_str()
            .parse()
            .map_err(|_| away(NotForwarded::Away))?;
        // Held for long perhaps; what is passed on has a bound of its own.
        drop(call.slot);
        let call = forward::Call {
            method: Method::POST,
            path: &target,
            headers: &call.head.headers,
            body: call.body,
            patience,
            answer: REPORT_ANSWER_BYTES,
            label: path.as_str(),
        };
        let answer = self.forward.call(leader, call).await.map_err(away)?;
        Ok(Answer::Leaders(answer))
    }

    async fn admit(&self, request: Request) -> Result<Call, Refusal> {
        let (head, body) = request.into_parts();
        let gateway = self.authenticate(&head.headers)?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            Refusal::unavailable(Reason::Busy, "too many calls at once; call again later")
        })?;
        let body = body::read(&head.headers, body, self.body_timeout).await?;
        Ok(Call {
            head,
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
        if !self.verifier.is_ready() {
            return Err(Refusal::unavailable(Reason::NotSynced, NO_KEY));
        }
        if self.verifier.accepts(&gateway, bearer(headers)) {
            Ok(gateway)
        } else {
            Err(unauthorized(Reason::Token, WRONG_TOKEN))
        }
    }

    fn conclude(&self, path: Path, result: Result<Answer, Refusal>) -> Response<Body> {
        match result {
            Ok(Answer::Leaders(answer)) => passed_back(answer),
            Ok(Answer::Ours(body)) => {
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

/// Nobody leads, as far as is known here.
fn nobody(taker: &Taker) -> Refusal {
    match taker {
        Taker::Expired => Refusal::unavailable(
            Reason::LeaseExpired,
            "this replica leads, but could not renew its Lease; call again later",
        ),
        _ => Refusal::unavailable(Reason::NoLeader, "no replica leads now; call again later"),
    }
}

pub(super) fn away(error: NotForwarded) -> Refusal {
    let reason = match error {
        NotForwarded::Loop => Reason::NoLeader,
        NotForwarded::Full => Reason::Busy,
        NotForwarded::Away => Reason::LeaderAway,
    };
    Refusal::unavailable(reason, error.to_string())
}

/// What the leader said, with nothing that is about the connection to it. What it cannot do now, another may soon.
pub(super) fn passed_back(answer: Response<Bytes>) -> Response<Body> {
    let (head, body) = answer.into_parts();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = head.status;
    let headers = response.headers_mut();
    for name in [
        header::CONTENT_TYPE,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        STALE,
    ] {
        headers.extend(head.headers.get(&name).map(|value| (name, value.clone())));
    }
    if !head.status.is_success() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Lets through who proves to be a replica.
async fn only_replicas(
    State(filters): State<Arc<Filters>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let token = request.headers().get(forward::REPLICA);
    let token = token.and_then(|token| token.to_str().ok());
    if filters.verifier.accepts_replica(token.unwrap_or_default()) {
        return next.run(request).await.into_response();
    }
    let refusal = unauthorized(
        Reason::Token,
        "this path is for other replicas of the controller",
    );
    filters.conclude(Path::Other, Err(refusal))
}

const NO_GATEWAY: &str = "the header x-gaugeway-gateway is missing; it names the calling gateway";
pub(super) const NO_KEY: &str = "the controller could not read its token key yet; call again later";
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
    let refused = filters.conclude(Path::Other, Err(Refusal::method(SERVED)));
    allowing("POST", refused)
}
