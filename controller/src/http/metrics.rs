//! The metrics port: `/metrics`, `/healthz`, `/readyz`, and an index of them at `/`.
//!
//! A scrape takes one snapshot of the totals and renders it piece by piece as fast as the scraper reads; it never
//! blocks ingest.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::{Body, HttpBody},
    extract::State,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    routing::get,
};
use bytes::Bytes;
use gaugeway_aggregate::{ChangeNumber, Exposition, Format};
use hyper::body::Frame;

use super::{
    refusal::{Path, Reason, Refusal},
    server::Peer,
};
use crate::{
    ledger::{Durability, LedgerHandle, Scrape, Scraper},
    mapping::MappingHandle,
    source::SourceState,
    telemetry::Telemetry,
};

/// Bytes of a scraper's user agent that are kept.
const AGENT_BYTES: usize = 64;
const SERVED: &str = "this port serves GET /metrics, /healthz and /readyz";

/// What the handlers hold.
pub(crate) struct Metrics {
    pub(crate) mapping: MappingHandle,
    pub(crate) ledger: LedgerHandle,
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
            .with_state(Arc::new(self))
    }

    fn refuse(&self, path: Path, refusal: Refusal) -> Response<Body> {
        self.telemetry.reject(path, refusal.reason);
        refusal.into_response()
    }

    fn durability(&self) -> String {
        match self.ledger.durability() {
            Durability::MemoryOnly => {
                "totals are in memory only (no --state-dir): a restart begins at zero".to_owned()
            }
            Durability::Logged => "totals are logged before they are acknowledged".to_owned(),
            Durability::Degraded(why) => {
                format!("DEGRADED: the log cannot be written, totals are in memory only: {why}")
            }
        }
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
    let Some(scrape) = state.ledger.scrape(scraper.clone()).await else {
        let text = "the ledger is busy or stopping; scrape again later";
        return state.refuse(Path::Metrics, Refusal::unavailable(Reason::Busy, text));
    };
    state.mapping.observe();
    let mut own = String::new();
    if let Err(error) = state.telemetry.encode_text(&mut own) {
        tracing::error!(%error, "own metrics cannot be encoded");
    }
    state.telemetry.answered(Path::Metrics);
    let format = negotiate(&headers);
    let body = ScrapeBody::new(own, scrape, format, scraper, &state);
    let mut response = Response::new(Body::new(body));
    let content_type = HeaderValue::from_static(format.content_type());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// The best format that the scraper takes. Classic text suits every scraper; further formats are chosen here by the
/// `accept` header.
fn negotiate(_headers: &HeaderMap) -> Format {
    Format::Text
}

async fn ready(State(state): State<Arc<Metrics>>) -> Response<Body> {
    if state.mapping.synced() {
        return Response::new(Body::from(format!("ready; {}\n", state.durability())));
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
        durability = escape(&state.durability()),
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

/// Own metrics, then the aggregate piece by piece. When the last piece was taken, the ledger learns what this scraper
/// has seen.
struct ScrapeBody {
    own: Option<String>,
    exposition: Exposition,
    rendered: bool,
    delivered: Option<(Scraper, ChangeNumber)>,
    spent: Duration,
    ledger: LedgerHandle,
    telemetry: Arc<Telemetry>,
}

impl ScrapeBody {
    fn new(own: String, scrape: Scrape, format: Format, scraper: Scraper, state: &Metrics) -> Self {
        let change = scrape.snapshot.change;
        Self {
            own: Some(own),
            exposition: Exposition::new(scrape.snapshot, format, scrape.view, scrape.kong.as_ref()),
            rendered: false,
            delivered: Some((scraper, change)),
            spent: Duration::ZERO,
            ledger: state.ledger.clone(),
            telemetry: Arc::clone(&state.telemetry),
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        if let Some(own) = self.own.take() {
            return Some(own.into());
        }
        let mut piece = Vec::new();
        let started = Instant::now();
        while !self.rendered && piece.is_empty() {
            self.rendered = !self.exposition.next_piece(&mut piece);
        }
        self.spent += started.elapsed();
        if !piece.is_empty() {
            return Some(piece.into());
        }
        if let Some((scraper, change)) = self.delivered.take() {
            let seconds = self.spent.as_secs_f64();
            self.telemetry.ledger.render.observe(seconds);
            self.ledger.delivered(scraper, change);
        }
        None
    }
}

impl HttpBody for ScrapeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece))))
    }
}
