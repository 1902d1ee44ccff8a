//! The API port: `/api/v1/services`, `/api/v1/services/{namespace}/{name}`, `/api/v1/workloads`,
//! `/api/v1/workloads/{namespace}/{kind}/{name}`, `/api/v1/gateways`, `/api/v1/explain/...`, `/api/v1/openapi.json`.
//!
//! It listens on loopback only, since it asks nobody who they are. A replica that does not lead passes questions on to
//! the leader, on whose filters port the same paths stand for other replicas.

mod explain;
mod openapi;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path as Segments, RawQuery, Request, State},
    http::{HeaderValue, Response, StatusCode, header},
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::get,
};
use bytes::Bytes;
use gaugeway_aggregate::Window;
use serde::Serialize;

pub use openapi::openapi;

use super::{
    filters::{BETWEEN_REPLICAS, away, passed_back},
    metrics::STALE,
    refusal::{Path, Reason, Refusal, allowing},
};
use crate::{
    explain::Explainer,
    forward::{self, Forward},
    live::{Live, NoAnswer},
    role::{Seat, Taker},
    telemetry::Telemetry,
};

const SERVED: &str = "this port serves GET /api/v1/services, /api/v1/services/NAMESPACE/NAME, /api/v1/gateways, \
    /api/v1/workloads?namespace=NAMESPACE, /api/v1/workloads/NAMESPACE/KIND/NAME, \
    /api/v1/explain/KIND/NAMESPACE/NAME, /api/v1/explain/address/IP:PORT and /api/v1/openapi.json; the apis port serves /apis/custom.metrics.k8s.io, too";

/// Longest wait for the leader's answer, and its longest answer.
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// What the handlers hold.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) live: Live,
    pub(crate) seat: Seat,
    pub(crate) forward: Forward,
    pub(crate) explainer: Explainer,
    pub(crate) telemetry: Arc<Telemetry>,
}

/// A query's parameters.
struct Asked {
    window: Window,
    namespace: Option<String>,
}

impl Asked {
    /// Unknown parameters are refused: a misspelt window must not be answered with another.
    fn parse(query: Option<&str>, with_namespace: bool) -> Result<Self, Refusal> {
        let mut asked = Self {
            window: Window::Seconds60,
            namespace: None,
        };
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("window", window) => {
                    asked.window = Window::parse(window).ok_or_else(|| bad(pair))?;
                }
                ("namespace", name) if with_namespace && !name.is_empty() => {
                    asked.namespace = Some(name.to_owned());
                }
                _ => return Err(bad(pair)),
            }
        }
        Ok(asked)
    }
}

/// The namespace that a list is narrowed to, all if it is empty; none for a query that is refused.
#[cfg(feature = "laws")]
pub(crate) fn narrowed_to(query: Option<&str>, with_namespace: bool) -> Option<String> {
    let asked = Asked::parse(query, with_namespace).ok()?;
    Some(asked.namespace.unwrap_or_default())
}

fn bad(pair: &str) -> Refusal {
    let shown: String = pair.chars().take(64).collect();
    let text = format!(
        "{shown:?} cannot be asked for; window is one of 15s, 30s, 60s, 5m, and lists of Services and workloads take a namespace"
    );
    Refusal::new(StatusCode::BAD_REQUEST, Reason::Query, text)
}

impl Api {
    pub(crate) fn router(self) -> Router {
        let api = Arc::new(self);
        let leads = middleware::from_fn_with_state(Arc::clone(&api), by_the_leader);
        Router::new()
            .route("/api/v1/services", get(services))
            .route("/api/v1/services/{namespace}/{name}", get(service))
            .route("/api/v1/workloads", get(workloads))
            .route("/api/v1/workloads/{namespace}/{kind}/{name}", get(workload))
            .route("/api/v1/gateways", get(gateways))
            .route(
                "/api/v1/explain/{kind}/{namespace}/{name}",
                get(explain::object),
            )
            .route("/api/v1/explain/{kind}/{name}", get(explain::nameless))
            .layer(leads)
            .route("/api/v1/openapi.json", get(description))
            .fallback(not_served)
            .method_not_allowed_fallback(wrong_method)
            .with_state(api)
    }

    fn conclude<T: Serialize>(&self, result: Result<T, Refusal>) -> Response<Body> {
        match result.and_then(|answer| encode(&answer)) {
            Ok(text) => {
                self.telemetry.answered(Path::Api);
                json(text)
            }
            Err(refusal) => {
                self.telemetry.reject(Path::Api, refusal.reason);
                refusal.into_response()
            }
        }
    }
}

/// What the leader says to a question that came to another replica.
pub(super) async fn passed_to_leader(
    seat: &Seat,
    forward: &Forward,
    request: Request,
    label: Path,
) -> Result<Response<Body>, Refusal> {
    let Taker::At(leader) = seat.taker() else {
        return Err(NoAnswer::NotLeader.into());
    };
    let asked = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let path = format!("{BETWEEN_REPLICAS}{asked}").parse();
    let call = forward::Call {
        method: request.method().clone(),
        path: &path.map_err(|_| bad(asked))?,
        headers: request.headers(),
        body: Bytes::new(),
        patience: PATIENCE,
        answer: ANSWER_BYTES,
        label: label.as_str(),
    };
    forward
        .call(&leader, call)
        .await
        .map(passed_back)
        .map_err(away)
}

fn encode(answer: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(answer).map_err(|error| {
        tracing::error!(%error, "an answer cannot be encoded");
        Refusal::unavailable(Reason::Busy, "the answer cannot be written; see the log")
    })
}

fn json(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Who has windows answers; who stands by asks.
async fn by_the_leader(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let elsewhere = matches!(api.seat.taker(), Taker::At(_)) || api.seat.totals().is_none();
    if elsewhere {
        let answer = passed_to_leader(&api.seat, &api.forward, request, Path::Api).await;
        return answer.unwrap_or_else(|refusal| api.conclude::<()>(Err(refusal)));
    }
    let stale = api.seat.is_stale();
    let mut response = next.run(request).await.into_response();
    if stale {
        response
            .headers_mut()
            .insert(STALE, HeaderValue::from_static("1"));
    }
    response
}

async fn services(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response<Body> {
    let answer = async {
        let asked = Asked::parse(query.as_deref(), true)?;
        let namespace = asked.namespace.as_deref();
        Ok(api.live.services(namespace, asked.window).await?)
    };
    api.conclude(answer.await)
}

async fn service(
    State(api): State<Arc<Api>>,
    Segments((namespace, name)): Segments<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let answer = async {
        let asked = Asked::parse(query.as_deref(), false)?;
        Ok(api.live.service(namespace, name, asked.window).await?)
    };
    api.conclude(answer.await)
}

async fn workloads(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response<Body> {
    let answer = async {
        let asked = Asked::parse(query.as_deref(), true)?;
        let namespace = asked.namespace.as_deref().ok_or_else(|| {
            let text = "workloads are listed by namespace: /api/v1/workloads?namespace=NAME";
            Refusal::new(StatusCode::BAD_REQUEST, Reason::Query, text)
        })?;
        Ok(api.live.workloads(namespace, asked.window).await?)
    };
    api.conclude(answer.await)
}

async fn workload(
    State(api): State<Arc<Api>>,
    Segments((namespace, kind, name)): Segments<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    let answer = async {
        let window = Asked::parse(query.as_deref(), false)?.window;
        Ok(api.live.workload(namespace, kind, name, window).await?)
    };
    api.conclude(answer.await)
}

async fn gateways(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response<Body> {
    let answer = async {
        let asked = Asked::parse(query.as_deref(), false)?;
        Ok(api.live.gateways(asked.window).await?)
    };
    api.conclude(answer.await)
}

async fn description(State(api): State<Arc<Api>>) -> Response<Body> {
    match openapi() {
        Ok(text) => {
            api.telemetry.answered(Path::Api);
            json(text)
        }
        Err(error) => {
            tracing::error!(%error, "the API's description cannot be written");
            let text = "the description cannot be written; see the log";
            api.conclude::<()>(Err(Refusal::unavailable(Reason::Busy, text)))
        }
    }
}

async fn not_served(State(api): State<Arc<Api>>) -> Response<Body> {
    let refusal = Refusal::new(StatusCode::NOT_FOUND, Reason::UnknownPath, SERVED);
    api.conclude::<()>(Err(refusal))
}

async fn wrong_method(State(api): State<Arc<Api>>) -> Response<Body> {
    let refused = api.conclude::<()>(Err(Refusal::method(SERVED)));
    allowing("GET, HEAD", refused)
}

impl From<NoAnswer> for Refusal {
    fn from(no: NoAnswer) -> Self {
        let text = no.to_string();
        match no {
            NoAnswer::NotSynced => Self::unavailable(Reason::NotSynced, text),
            NoAnswer::NotLeader => Self::unavailable(Reason::NoLeader, text),
            NoAnswer::Busy => Self::unavailable(Reason::Busy, text),
            NoAnswer::NoService | NoAnswer::NoPod | NoAnswer::NoWorkload => {
                Self::new(StatusCode::NOT_FOUND, Reason::UnknownObject, text)
            }
        }
    }
}
