//! The metrics port: `/metrics`, `/healthz`, `/readyz`, and an index of them at `/`.
//!
//! A scrape takes one snapshot of the totals and renders it piece by piece as fast as the scraper reads; it never
//! blocks ingest.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
    routing::get,
};
use gaugeway_aggregate::{Aggregate, Encoding, Exposition, exposition};
use gaugeway_wire::{Nanos, Policy, UnixNanos};

use super::{
    filters::NO_KEY,
    negotiate,
    readers::Readers,
    refusal::{Path, Reason, Refusal, allowing},
    scrape::{Delivery, ScrapeBody},
    server::Peer,
};
use crate::{
    auth::Verifier,
    ledger::{Durability, Scrape, Scraper},
    mapping::MappingHandle,
    role::Seat,
    source::SourceState,
    telemetry::Telemetry,
};

/// On what may be behind, since this replica's Lease ran out.
pub(super) const STALE: HeaderName = HeaderName::from_static("x-gaugeway-stale");

/// Bytes of a scraper's user agent that are kept.
const AGENT_BYTES: usize = 64;
const SERVED: &str = "this port serves GET /metrics, /healthz and /readyz";

/// What the handlers hold.
pub(crate) struct Metrics {
    pub(crate) mapping: MappingHandle,
    pub(crate) seat: Seat,
    pub(crate) readers: Readers,
    pub(crate) verifier: Verifier,
    pub(crate) telemetry: Arc<Telemetry>,
    /// What `/readyz` says of the source while it has not been read.
    pub(crate) source: SourceState,
    pub(crate) version: &'static str,
    /// Path of the filter's module on the wasm port.
    pub(crate) module_paths: String,
}

impl Metrics {
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .fallback(not_served)
            .method_not_allowed_fallback(wrong_method)
            .with_state(Arc::new(self))
    }

    fn refuse(&self, path: Path, refusal: Refusal) -> Response<Body> {
        self.telemetry.reject(path, refusal.reason);
        refusal.into_response()
    }

    /// What a replica without totals shows.
    fn nothing() -> Scrape {
        let config = gaugeway_aggregate::Config {
            layout: Policy::default().layout(),
            max_series: 0,
            series_expiry: Nanos(0),
            by_service: false,
        };
        let (snapshot, view) = Aggregate::new(config, UnixNanos(0)).scrape("", UnixNanos(0));
        Scrape {
            snapshot,
            view,
            kong: None,
        }
    }

    fn standing(&self) -> String {
        let role = self.seat.describe();
        let Some(ledger) = self.seat.totals() else {
            return role;
        };
        let durability = match ledger.durability() {
            Durability::MemoryOnly => {
                "totals are in memory only (no --state-dir): a restart begins at zero".to_owned()
            }
            Durability::Logged => "totals are logged before they are acknowledged".to_owned(),
            Durability::Degraded(why) => {
                format!("DEGRADED: the log cannot be written, totals are in memory only: {why}")
            }
        };
        format!("{role}; {durability}")
    }
}

async fn metrics(
    State(state): State<Arc<Metrics>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Response<Body> {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default();
    let agent: String = agent.chars().take(AGENT_BYTES).collect();
    let scraper = Scraper(format!("{} {agent}", peer.ip()));
    let ledger = state.seat.totals();
    // Before the totals are taken.
    let (is_stale, is_final) = (state.seat.is_stale(), state.seat.is_final());
    let scrape = match &ledger {
        Some(ledger) => ledger.scrape(scraper.clone()).await,
        None => Some(Metrics::nothing()),
    };
    let Some(scrape) = scrape else {
        let text = "the ledger is busy or stopping; scrape again later";
        return state.refuse(Path::Metrics, Refusal::unavailable(Reason::Busy, text));
    };
    state.mapping.observe();
    state.seat.observe();
    let (format, encoding) = (negotiate::format(&headers), negotiate::encoding(&headers));
    let own = state.telemetry.encode(format).unwrap_or_else(|error| {
        tracing::error!(%error, "own metrics cannot be encoded");
        Vec::new()
    });
    state.telemetry.answered(Path::Metrics);
    let request = exposition::Request {
        format,
        encoding,
        view: scrape.view,
        kong: scrape.kong,
        preamble: own,
    };
    let delivery = Delivery {
        scraper,
        change: scrape.snapshot.change,
        ledger,
        is_final,
        readers: state.readers.clone(),
        telemetry: Arc::clone(&state.telemetry),
    };
    let body = ScrapeBody::new(Exposition::new(scrape.snapshot, request), delivery);
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(format.content_type());
    headers.insert(header::CONTENT_TYPE, content_type);
    if encoding == Encoding::Gzip {
        let gzip = HeaderValue::from_static("gzip");
        headers.insert(header::CONTENT_ENCODING, gzip);
    }
    if is_stale {
        headers.insert(STALE, HeaderValue::from_static("1"));
    }
    let vary = HeaderValue::from_static("accept, accept-encoding");
    headers.insert(header::VARY, vary);
    response
}

async fn ready(State(state): State<Arc<Metrics>>) -> Response<Body> {
    if !state.verifier.is_ready() {
        return Refusal::unavailable(Reason::NotSynced, NO_KEY).into_response();
    }
    if state.mapping.synced() {
        return Response::new(Body::from(format!("ready; {}\n", state.standing())));
    }
    let bad = state.telemetry.source.files.with_label_values(&["bad"]);
    let text = format!(
        "not ready: {} ({} bad files, see the log)",
        state.source.missing(),
        bad.get()
    );
    Refusal::unavailable(Reason::NotSynced, text).into_response()
}

async fn index(State(state): State<Arc<Metrics>>) -> Response<Body> {
    let synced = if state.mapping.synced() {
        "ready"
    } else {
        "not ready"
    };
    let page = format!(
        "<!doctype html><meta charset=utf-8><title>Gaugeway</title>\
         <h1>Gaugeway {version}</h1><ul>\
         <li><a href=metrics>/metrics</a>: upstream latency per Service, and the controller's own metrics\
         <li><a href=healthz>/healthz</a>: the process runs\
         <li><a href=readyz>/readyz</a>: {synced}\
         </ul><p>Ledger: {durability}.<p>The wasm port serves <code>{modules}</code>.\n",
        version = state.version,
        durability = escape(&state.standing()),
        modules = state.module_paths,
    );
    let mut response = Response::new(Body::from(page));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

async fn not_served(State(state): State<Arc<Metrics>>) -> Response<Body> {
    let refusal = Refusal::new(StatusCode::NOT_FOUND, Reason::UnknownPath, SERVED);
    state.refuse(Path::Other, refusal)
}

async fn wrong_method(State(state): State<Arc<Metrics>>) -> Response<Body> {
    let refused = state.refuse(Path::Other, Refusal::method(SERVED));
    allowing("GET, HEAD", refused)
}
