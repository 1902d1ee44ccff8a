//! A small HTTP client: h1 or h2c, one address, requests that can be cancelled by dropping them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{HeaderMap, Method, body::Incoming, header::HeaderValue};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use crate::upstream::{SCRIPT_HEADER, Script};

/// Names one request; Envoy's access log repeats it.
pub const ID_HEADER: &str = "x-rig-id";

/// Body of a request that the rig sends.
pub type RequestBody = BoxBody<Bytes, std::io::Error>;

/// No single answer of anything that the rig talks to takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// A client of one server. Cheap to clone, clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    pool: Pool<HttpConnector, RequestBody>,
}

/// What to ask.
#[derive(Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: RequestBody,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Trailers, if any came.
    pub trailers: HeaderMap,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Request {
    /// GET.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: full(Bytes::new()),
        }
    }

    /// POST of a whole body.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            body: full(body.into()),
            ..Self::get(path)
        }
    }

    /// POST of a body that is made while it is sent.
    #[must_use]
    pub fn post_stream(path: &str, body: RequestBody) -> Self {
        Self {
            method: Method::POST,
            body,
            ..Self::get(path)
        }
    }

    /// Tells the [`crate::Upstream`] what to do.
    #[must_use]
    pub fn script(self, script: &Script) -> Self {
        self.header(SCRIPT_HEADER, &script.to_header())
    }

    /// Names it ([`ID_HEADER`]).
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.header(ID_HEADER, id)
    }

    /// Another header; a value that no header can carry is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn into_http(self, origin: &str) -> Result<hyper::Request<RequestBody>> {
        let mut request = hyper::Request::builder()
            .method(self.method)
            .uri(format!("{origin}{}", self.path))
            .body(self.body)
            .context("make a request")?;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

impl Client {
    /// HTTP/1.1 to `address`, connections kept.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            pool: pool(false, usize::MAX),
        }
    }

    /// HTTP/1.1, a connection for each request (spreads over Envoy's workers).
    #[must_use]
    pub fn unpooled(address: SocketAddr) -> Self {
        Self {
            address,
            pool: pool(false, 0),
        }
    }

    /// HTTP/2 without TLS.
    #[must_use]
    pub fn h2c(address: SocketAddr) -> Self {
        Self {
            address,
            pool: pool(true, usize::MAX),
        }
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends and reads the answer to its end.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        let exchange = async { answer(self.open(request).await?).await };
        timeout(DEADLINE, exchange)
            .await
            .with_context(|| format!("{} did not answer within {DEADLINE:?}", self.address))?
    }

    /// Sends and returns at the answer's headers. Dropping the answer, or this call, cancels the request.
    ///
    /// # Errors
    /// When there are no headers.
    pub async fn open(&self, request: Request) -> Result<hyper::Response<Incoming>> {
        let request = request.into_http(&format!("http://{}", self.address))?;
        self.pool
            .request(request)
            .await
            .with_context(|| format!("request to {}", self.address))
    }
}

/// Reads an answer to its end.
pub(crate) async fn answer(response: hyper::Response<Incoming>) -> Result<Answer> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.context("read the answer's body")?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        trailers,
        body: body.to_bytes(),
    })
}

fn pool(h2: bool, idle: usize) -> Pool<HttpConnector, RequestBody> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Pool::builder(TokioExecutor::new())
        .http2_only(h2)
        .pool_max_idle_per_host(idle)
        .pool_timer(TokioTimer::new())
        .retry_canceled_requests(true)
        .build(connector)
}

/// A body that is there at once.
pub fn full(bytes: Bytes) -> RequestBody {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
