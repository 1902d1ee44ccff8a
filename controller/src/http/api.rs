//! The API port: `/api/v1/services`, `/api/v1/services/{namespace}/{name}`, `/api/v1/gateways`, `/api/v1/openapi.json`.
//!
//! It listens on loopback only, since it asks nobody who they are.

mod openapi;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path as Segments, RawQuery, State},
    http::{HeaderValue, Response, StatusCode, header},
    routing::get,
};
use gaugeway_aggregate::Window;
use serde::Serialize;

pub use openapi::openapi;

use super::refusal::{Path, Reason, Refusal};
use crate::{
    live::{Live, NoAnswer},
    telemetry::Telemetry,
};

const SERVED: &str = "this port serves GET /api/v1/services, /api/v1/services/NAMESPACE/NAME, /api/v1/gateways and \
    /api/v1/openapi.json";

/// What the handlers hold.
pub(crate) struct Api {
    pub(crate) live: Live,
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

fn bad(pair: &str) -> Refusal {
    let shown: String = pair.chars().take(64).collect();
    let text = format!(
        "{shown:?} cannot be asked for; window is one of 15s, 30s, 60s, 5m, and the list of Services takes a namespace"
    );
    Refusal::new(StatusCode::BAD_REQUEST, Reason::Query, text)
}

impl Api {
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/api/v1/services", get(services))
            .route("/api/v1/services/{namespace}/{name}", get(service))
            .route("/api/v1/gateways", get(gateways))
            .route("/api/v1/openapi.json", get(description))
            .fallback(not_served)
            .with_state(Arc::new(self))
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

impl From<NoAnswer> for Refusal {
    fn from(no: NoAnswer) -> Self {
        let text = no.to_string();
        match no {
            NoAnswer::NotSynced => Self::unavailable(Reason::NotSynced, text),
            NoAnswer::Busy => Self::unavailable(Reason::Busy, text),
            NoAnswer::NoService | NoAnswer::NoWorkload => {
                Self::new(StatusCode::NOT_FOUND, Reason::UnknownObject, text)
            }
        }
    }
}
