//! Calls that a replica which stands by passes on to the leader.
//!
//! Invariants: so many at once, so many bytes at once, so long at most; a call that was forwarded is never forwarded
//! again; whoever called was already asked for its token. Where the filters port speaks TLS, nothing is passed on to who
//! does not show the certificate that this replica has itself.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header, uri::PathAndQuery,
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    auth::Verifier,
    lease::Peer,
    telemetry::Telemetry,
    tls::{self, InForce},
};

/// On a call that another replica passed on. A gateway that says it itself only keeps its call from being passed on.
pub(crate) const FORWARDED: HeaderName = HeaderName::from_static("x-gaugeway-forwarded");
/// What is passed on of a call's headers.
const PASSED: [HeaderName; 5] = [
    HeaderName::from_static("x-gaugeway-gateway"),
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ACCEPT,
    HeaderName::from_static("x-gaugeway-replica"),
];
/// By which another replica proves that it is one.
pub(crate) const REPLICA: HeaderName = HeaderName::from_static("x-gaugeway-replica");

/// All calls under way count as so many bytes at most, and each as [`CALL_BYTES`] at least: 4,096 of them.
const BYTES: usize = 64 * 1024 * 1024;
const CALL_BYTES: usize = 16 * 1024;
/// Longest wait for a connection. A leader that has gone is seldom refused: its address has gone too.
const CONNECT: Duration = Duration::from_secs(2);
/// Shorter than [`crate::config::HttpLimits::header_timeout`]: the leader must not close first.
const IDLE: Duration = Duration::from_secs(10);

/// Passes calls on. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Of the port that the leader is called at.
    scheme: &'static str,
    room: Arc<Semaphore>,
    verifier: Verifier,
    telemetry: Arc<Telemetry>,
}

/// What to pass on.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a PathAndQuery,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    /// Longest wait for the whole answer.
    pub(crate) patience: Duration,
    /// Longest answer, in bytes.
    pub(crate) answer: usize,
    /// Value of the `path` label.
    pub(crate) label: &'static str,
}

/// Why there is no answer from the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotForwarded {
    #[error("the call was passed on already, and this replica does not lead; call again later")]
    Loop,
    #[error("too many calls are passed on at once; call again later")]
    Full,
    #[error("the leader does not answer; call again later")]
    Away,
}

impl Forward {
    /// `certificate` is that of the filters port, where it has one.
    ///
    /// # Errors
    /// When the library has no protocol version to offer.
    pub(crate) fn try_new(
        verifier: Verifier,
        certificate: Option<InForce>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let scheme = if certificate.is_some() {
            "https"
        } else {
            "http"
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::towards_replicas(certificate)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self {
            client,
            scheme,
            room: Arc::new(Semaphore::new(BYTES)),
            verifier,
            telemetry,
        })
    }

    /// The leader's answer, whatever it says.
    ///
    /// # Errors
    /// [`NotForwarded`].
    pub(crate) async fn call(
        &self,
        leader: &Peer,
        call: Call<'_>,
    ) -> Result<Response<Bytes>, NotForwarded> {
        let label = call.label;
        let result = self.passed(leader, call).await;
        let said = match &result {
            Ok(answer) if answer.status().is_success() => "ok",
            Ok(_) => "refused",
            Err(_) => "failed",
        };
        let forwarded = &self.telemetry.http.forwarded;
        forwarded.with_label_values(&[label, said]).inc();
        result
    }

    async fn passed(&self, leader: &Peer, call: Call<'_>) -> Result<Response<Bytes>, NotForwarded> {
        if call.headers.contains_key(FORWARDED) {
            return Err(NotForwarded::Loop);
        }
        let address = leader.address.ok_or(NotForwarded::Away)?;
        let size =
            u32::try_from(call.body.len().max(CALL_BYTES)).map_err(|_| NotForwarded::Full)?;
        let room = self.room.try_acquire_many(size);
        let _room = room.map_err(|_| NotForwarded::Full)?;
        let (patience, limit) = (call.patience, call.answer);
        let request = self.request(address, call).ok_or(NotForwarded::Away)?;
        let answered = timeout(patience, async {
            let answer = self.client.request(request).await.ok()?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, limit).collect().await.ok()?;
            Some(Response::from_parts(head, body.to_bytes()))
        });
        answered.await.ok().flatten().ok_or(NotForwarded::Away)
    }

    fn request(&self, address: SocketAddr, call: Call<'_>) -> Option<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}://{address}{}", self.scheme, call.path))
            .body(Full::new(call.body))
            .ok()?;
        let headers = request.headers_mut();
        for name in PASSED {
            headers.extend(call.headers.get(&name).map(|value| (name, value.clone())));
        }
        headers.insert(FORWARDED, HeaderValue::from_static("1"));
        if let Some(token) = self.verifier.replica_token() {
            headers.insert(REPLICA, HeaderValue::from_str(token.as_str()).ok()?);
        }
        Some(request)
    }
}
