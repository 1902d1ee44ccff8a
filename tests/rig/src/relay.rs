//! A relay between Envoy and the controller that can lose, delay or double what passes.
//!
//! It understands HTTP, so a fault hits whole calls: the controller has (or has not) seen a call whose answer the
//! filter never gets.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// What happens to a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The controller never sees it; the connection ends.
    LoseCall,
    /// The controller sees it; the connection ends instead of its answer.
    LoseAnswer,
    /// The controller sees it twice; the second answer comes back.
    Double,
    /// The answer comes that much later.
    Delay(Duration),
    /// The controller never sees it; this status comes back.
    Refuse(u16),
}

/// A running relay. It ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What a relay sees pass.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "what they are called")]
pub enum Passing<'a> {
    /// On its way to the controller.
    Call { path: &'a str, body: &'a [u8] },
    /// On its way back, with the call that it answers.
    Answer {
        path: &'a str,
        call: &'a [u8],
        body: &'a [u8],
    },
}

/// Looks at what passes.
type Look = Box<dyn Fn(Passing<'_>) + Send + Sync>;

/// Decides about each call: its path and how many with this path came before.
type Decide = Box<dyn Fn(&str, u64) -> Fault + Send + Sync>;

struct Shared {
    upstream: Mutex<SocketAddr>,
    decide: Mutex<Decide>,
    look: Mutex<Look>,
    calls: Mutex<BTreeMap<String, u64>>,
    faults: Mutex<u64>,
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

impl Relay {
    /// Starts one before `upstream`, without faults.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("listen")?;
        let address = listener.local_addr().context("read the bound address")?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            decide: Mutex::new(Box::new(|_, _| Fault::None)),
            look: Mutex::new(Box::new(|_| ())),
            calls: Mutex::default(),
            faults: Mutex::default(),
            pool: Pool::builder(TokioExecutor::new()).build_http(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// Where Envoy finds it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets `decide` choose the fault of each call, by path and by how many calls with this path came before.
    pub fn faults(&self, decide: impl Fn(&str, u64) -> Fault + Send + Sync + 'static) {
        *lock(&self.shared.decide) = Box::new(decide);
    }

    /// Shows `look` all that passes without a fault.
    pub fn observe(&self, look: impl Fn(Passing<'_>) + Send + Sync + 'static) {
        *lock(&self.shared.look) = Box::new(look);
    }

    /// Passes everything from now on.
    pub fn heal(&self) {
        self.faults(|_, _| Fault::None);
    }

    /// Calls so far with this path.
    #[must_use]
    pub fn calls(&self, path: &str) -> u64 {
        lock(&self.shared.calls)
            .get(path)
            .copied()
            .unwrap_or_default()
    }

    /// Calls so far that a fault hit.
    #[must_use]
    pub fn faulted(&self) -> u64 {
        *lock(&self.shared.faults)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| relay(request, Arc::clone(&shared)));
    // Errors are faults that were asked for, or peers that left.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn relay(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> io::Result<Response<Full<Bytes>>> {
    let fault = shared.fault_of(request.uri().path());
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    match fault {
        Fault::None => shared.pass(&parts, body).await,
        Fault::LoseCall => Err(lost()),
        Fault::LoseAnswer => {
            shared.forward(&parts, body).await?;
            Err(lost())
        }
        Fault::Double => {
            shared.forward(&parts, body.clone()).await?;
            shared.forward(&parts, body).await
        }
        Fault::Delay(by) => {
            let answer = shared.forward(&parts, body).await;
            sleep(by).await;
            answer
        }
        Fault::Refuse(status) => {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
            Ok(answer)
        }
    }
}

impl Shared {
    fn fault_of(&self, path: &str) -> Fault {
        let before = {
            let mut calls = lock(&self.calls);
            let count = calls.entry(path.to_owned()).or_default();
            *count += 1;
            *count - 1
        };
        let fault = (lock(&self.decide))(path, before);
        *lock(&self.faults) += u64::from(fault != Fault::None);
        fault
    }

    async fn pass(
        &self,
        parts: &hyper::http::request::Parts,
        body: Bytes,
    ) -> io::Result<Response<Full<Bytes>>> {
        let (path, call) = (parts.uri.path(), body.clone());
        (lock(&self.look))(Passing::Call { path, body: &call });
        let answer = self.forward(parts, body).await?;
        let (parts, body) = answer.into_parts();
        let Ok(body) = body.collect().await.map(Collected::to_bytes);
        (lock(&self.look))(Passing::Answer {
            path,
            call: &call,
            body: &body,
        });
        Ok(Response::from_parts(parts, Full::new(body)))
    }

    async fn forward(
        &self,
        parts: &hyper::http::request::Parts,
        body: Bytes,
    ) -> io::Result<Response<Full<Bytes>>> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let upstream = *lock(&self.upstream);
        let mut request = Request::builder()
            .method(&parts.method)
            .uri(format!("http://{upstream}{path}"))
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        *request.headers_mut() = parts.headers.clone();
        request.headers_mut().remove("transfer-encoding");
        let (parts, body) = self
            .pool
            .request(request)
            .await
            .map_err(io::Error::other)?
            .into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let mut answer = Response::from_parts(parts, Full::new(body));
        answer.headers_mut().remove("transfer-encoding");
        Ok(answer)
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "lost on purpose")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Upstream, client::Request};

    #[tokio::test]
    async fn each_fault_does_what_it_says() {
        let upstream = Upstream::instant().await.unwrap();
        let relay = Relay::start(upstream.address()).await.unwrap();
        let client = Client::unpooled(relay.address());
        let call = async || {
            client
                .send(Request::post("/v1/report", "x"))
                .await
                .map(|a| a.status)
        };
        assert_eq!((call().await.unwrap(), upstream.requests()), (200, 1));
        relay.faults(|_, _| Fault::LoseCall);
        assert!(call().await.is_err());
        assert_eq!(upstream.requests(), 1);
        relay.faults(|_, _| Fault::LoseAnswer);
        assert!(call().await.is_err());
        assert_eq!(upstream.requests(), 2);
        relay.faults(|_, _| Fault::Double);
        assert_eq!((call().await.unwrap(), upstream.requests()), (200, 4));
        relay.faults(|_, _| Fault::Refuse(503));
        assert_eq!((call().await.unwrap(), upstream.requests()), (503, 4));
        relay.heal();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        relay.observe(move |passing| {
            let (Passing::Call { body: call, .. } | Passing::Answer { call, .. }) = passing;
            lock(&list).push((matches!(passing, Passing::Answer { .. }), call.to_vec()));
        });
        assert_eq!((call().await.unwrap(), relay.faulted()), (200, 4));
        let both = [false, true].map(|answer| (answer, b"x".to_vec()));
        assert_eq!(*lock(&seen), both);
        assert_eq!(relay.calls("/v1/report"), 6);
    }
}
