//! `/apis/custom.metrics.k8s.io/…` and `/openapi/…` over HTTP.
//!
//! Who may ask was decided before. Discovery is answered here; values by whoever leads. JSON whatever the client would
//! rather have: it is what every client takes.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Path as Segments, Query, Request, State},
    http::{HeaderValue, Method, Response, StatusCode, header},
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::get,
};
use serde_json::Value;

use super::{
    api::passed_to_leader,
    refusal::{Path, Reason, Refusal, allowing},
};
use crate::{
    custom_metrics::{self, GROUP, Question, Resource, Status, StatusReason, Version, Which},
    forward::Forward,
    live::{Live, NoAnswer, Readings},
    role::{Seat, Taker},
    telemetry::Telemetry,
};

/// What the handlers hold.
#[derive(Clone)]
pub(crate) struct CustomMetrics {
    pub(crate) live: Live,
    pub(crate) seat: Seat,
    pub(crate) forward: Forward,
    pub(crate) telemetry: Arc<Telemetry>,
}

impl CustomMetrics {
    pub(crate) fn router(self) -> Router {
        let api = Arc::new(self);
        let leads = middleware::from_fn_with_state(Arc::clone(&api), by_the_leader);
        Router::new()
            .route(&format!("/apis/{GROUP}/{{version}}/{{*rest}}"), get(values))
            .layer(leads)
            .route("/apis", get(groups))
            .route("/apis/", get(groups))
            .route(&format!("/apis/{GROUP}"), get(the_group))
            .route(&format!("/apis/{GROUP}/{{version}}"), get(resources))
            .route("/openapi/v2", get(open_api_v2))
            .route("/openapi/v3", get(open_api_v3))
            .method_not_allowed_fallback(wrong_method)
            .with_state(api)
    }

    async fn values(
        &self,
        version: &str,
        path: &str,
        query: &[(String, String)],
    ) -> Result<Value, Status> {
        let version = known(version)?;
        let path: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let query = query.iter().map(|(key, value)| (&**key, &**value));
        let question = Question::parse(&path, query)?;
        if self.seat.is_stale() {
            return Err(Status::not_found(
                "unknown: this controller lost touch with the API server, and another may lead",
            ));
        }
        let readings = self.read(&question).await?;
        custom_metrics::list(&question, version, &readings)
    }

    async fn read(&self, of: &Question) -> Result<Readings, Status> {
        let (live, namespace, window) = (&self.live, &*of.namespace, of.window);
        let kind = of.resource.kind();
        let read = match (of.resource, &of.which) {
            (Resource::Services, Which::One(name)) => {
                live.read_service(namespace, name, window).await
            }
            (Resource::Services, Which::All(selector)) => {
                let matches = |labels: gaugeway_index::Labels<'_>| selector.matches(labels);
                live.read_services(Some(namespace), &matches, window).await
            }
            (Resource::Pods, Which::One(name)) => live.read_pod(namespace, name, window).await,
            (Resource::Pods, Which::All(selector)) => {
                let matches = |labels: gaugeway_index::Labels<'_>| selector.matches(labels);
                live.read_pods(namespace, &matches, window).await
            }
            (Resource::Deployments | Resource::StatefulSets, Which::One(name)) => {
                live.read_workload(namespace, kind, name, window).await
            }
            (Resource::Deployments | Resource::StatefulSets, Which::All(_)) => {
                live.read_workloads(namespace, kind, window).await
            }
        };
        Ok(read?)
    }

    fn conclude(&self, result: Result<Value, Status>) -> Response<Body> {
        match result {
            Ok(answer) => {
                self.telemetry.answered(Path::CustomMetrics);
                json(StatusCode::OK, &answer)
            }
            Err(status) => {
                self.telemetry
                    .reject(Path::CustomMetrics, reason(status.reason));
                refused(&status)
            }
        }
    }
}

/// A `Status` as a response. Who is told to come back later is to ask another replica: its connection closes.
pub(super) fn refused(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.reason.code()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = json(code, &status.to_json());
    if status.reason == StatusReason::ServiceUnavailable {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if status.reason == StatusReason::Unauthorized {
        let bearer = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, bearer);
    }
    response
}

const fn reason(of: StatusReason) -> Reason {
    match of {
        StatusReason::BadRequest => Reason::Query,
        StatusReason::Unauthorized => Reason::Unauthenticated,
        StatusReason::Forbidden => Reason::Forbidden,
        StatusReason::NotFound => Reason::UnknownObject,
        StatusReason::MethodNotAllowed => Reason::Method,
        StatusReason::ServiceUnavailable => Reason::Busy,
    }
}

fn json(code: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = code;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn known(version: &str) -> Result<Version, Status> {
    Version::parse(version).ok_or_else(|| {
        let shown: String = version.chars().take(64).collect();
        Status::not_found(format!("{GROUP} has v1beta1 and v1beta2, not {shown:?}"))
    })
}

async fn by_the_leader(
    State(api): State<Arc<CustomMetrics>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let elsewhere = matches!(api.seat.taker(), Taker::At(_)) || api.seat.totals().is_none();
    if !elsewhere || request.method() != Method::GET {
        return next.run(request).await.into_response();
    }
    let answer = passed_to_leader(&api.seat, &api.forward, request, Path::CustomMetrics).await;
    answer.unwrap_or_else(|refusal| api.conclude(Err(away(&refusal))))
}

fn away(refusal: &Refusal) -> Status {
    Status::new(StatusReason::ServiceUnavailable, refusal.text())
}

async fn groups(State(api): State<Arc<CustomMetrics>>) -> Response<Body> {
    api.conclude(Ok(custom_metrics::groups()))
}

async fn the_group(State(api): State<Arc<CustomMetrics>>) -> Response<Body> {
    api.conclude(Ok(custom_metrics::the_group()))
}

async fn open_api_v2(State(api): State<Arc<CustomMetrics>>) -> Response<Body> {
    api.conclude(Ok(custom_metrics::open_api_v2()))
}

async fn open_api_v3(State(api): State<Arc<CustomMetrics>>) -> Response<Body> {
    api.conclude(Ok(custom_metrics::open_api_v3()))
}

async fn resources(
    State(api): State<Arc<CustomMetrics>>,
    Segments(version): Segments<String>,
) -> Response<Body> {
    api.conclude(known(&version).map(custom_metrics::resources))
}

async fn values(
    State(api): State<Arc<CustomMetrics>>,
    Segments((version, path)): Segments<(String, String)>,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Response<Body> {
    let answer = match query {
        Ok(Query(query)) => api.values(&version, &path, &query).await,
        Err(error) => Err(Status::bad(error.to_string())),
    };
    api.conclude(answer)
}

async fn wrong_method(State(api): State<Arc<CustomMetrics>>) -> Response<Body> {
    let status = Status::new(StatusReason::MethodNotAllowed, "metrics are read: GET only");
    allowing("GET", api.conclude(Err(status)))
}

impl From<NoAnswer> for Status {
    fn from(no: NoAnswer) -> Self {
        let reason = match no {
            NoAnswer::NotSynced | NoAnswer::Busy | NoAnswer::NotLeader => {
                StatusReason::ServiceUnavailable
            }
            NoAnswer::NoService | NoAnswer::NoPod | NoAnswer::NoWorkload => StatusReason::NotFound,
        };
        Self::new(reason, no.to_string())
    }
}
