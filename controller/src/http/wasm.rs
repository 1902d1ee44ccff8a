//! The wasm port: `GET /v1/filter/<sha256>.wasm`. Public, because gateways' control planes fetch it without any header
//! of ours, and content-addressed, so that what was fetched once is right forever.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path as Param, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    routing::get,
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::refusal::{Path, Reason, Refusal, allowing};
use crate::{auth::to_hex, telemetry::Telemetry};

/// One module with its name.
#[derive(Clone, Debug)]
struct Module {
    bytes: Bytes,
    sha256: String,
}

/// All modules, one per kind of gateway.
#[derive(Clone, Debug)]
pub(crate) struct Modules(Vec<Module>);

struct Wasm {
    modules: Modules,
    telemetry: Arc<Telemetry>,
}

impl Modules {
    pub(crate) fn new(modules: &[&'static [u8]]) -> Self {
        let module = |bytes: &&'static [u8]| Module {
            bytes: Bytes::from_static(bytes),
            sha256: to_hex(&Sha256::digest(bytes)),
        };
        Self(modules.iter().map(module).collect())
    }

    /// Where they are, for people.
    pub(crate) fn paths(&self) -> String {
        let paths = self
            .0
            .iter()
            .map(|m| format!("/v1/filter/{}.wasm", m.sha256));
        paths.collect::<Vec<_>>().join(" and ")
    }

    fn find(&self, file: &str) -> Option<&Module> {
        let sha256 = file.strip_suffix(".wasm")?;
        self.0.iter().find(|module| module.sha256 == sha256)
    }

    pub(crate) fn router(self, telemetry: Arc<Telemetry>) -> Router {
        let state = Wasm {
            modules: self,
            telemetry,
        };
        Router::new()
            .route("/v1/filter/{file}", get(module))
            .fallback(not_served)
            .method_not_allowed_fallback(wrong_method)
            .with_state(Arc::new(state))
    }
}

impl Wasm {
    fn not_found(&self, path: Path, reason: Reason) -> Response<Body> {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, reason, self.served());
        self.refuse(path, refusal)
    }

    fn refuse(&self, path: Path, refusal: Refusal) -> Response<Body> {
        self.telemetry.reject(path, refusal.reason);
        refusal.into_response()
    }

    fn served(&self) -> String {
        format!("this port serves GET {}", self.modules.paths())
    }
}

async fn not_served(State(wasm): State<Arc<Wasm>>) -> Response<Body> {
    wasm.not_found(Path::Other, Reason::UnknownPath)
}

async fn wrong_method(State(wasm): State<Arc<Wasm>>) -> Response<Body> {
    let refusal = Refusal::method(wasm.served());
    allowing("GET, HEAD", wasm.refuse(Path::Filter, refusal))
}

async fn module(
    State(wasm): State<Arc<Wasm>>,
    Param(file): Param<String>,
    request: HeaderMap,
) -> Response<Body> {
    let Some(module) = wasm.modules.find(&file) else {
        return wasm.not_found(Path::Filter, Reason::UnknownModule);
    };
    wasm.telemetry.answered(Path::Filter);
    let etag = format!("\"{}\"", module.sha256);
    let held = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.contains(&etag)));
    let mut response = if held {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::from(module.bytes.clone()))
    };
    let headers = response.headers_mut();
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, forever);
    let wasm_type = HeaderValue::from_static("application/wasm");
    headers.insert(header::CONTENT_TYPE, wasm_type);
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}
