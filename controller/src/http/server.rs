//! One listening port: accepts, bounds, serves and drains its connections.

use std::{
    error::Error,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::{Response, StatusCode, Version},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use prometheus::IntGauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::{
    io::{Fence, Guarded},
    refusal::{Path, Reason},
};
use crate::{config::HttpLimits, telemetry::Telemetry};

/// Largest head of a request, in bytes, for either version of HTTP.
const HEAD_BYTES: u32 = 16 * 1024;
/// Streams of one HTTP/2 connection at a time.
const STREAMS: u32 = 256;
/// Quiet time after which an HTTP/2 peer is asked whether it lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// After `accept` failed for want of file descriptors or memory: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which port; value of the `port` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Filters,
    Wasm,
    Metrics,
    Api,
}

/// Address of the caller, for handlers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// A port, bound and not yet serving.
pub(crate) struct Server {
    port: Port,
    listener: TcpListener,
    limits: HttpLimits,
    telemetry: Arc<Telemetry>,
}

impl Port {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Filters => "filters",
            Self::Wasm => "wasm",
            Self::Metrics => "metrics",
            Self::Api => "api",
        }
    }
}

impl Server {
    pub(crate) async fn bind(
        port: Port,
        address: SocketAddr,
        limits: HttpLimits,
        telemetry: Arc<Telemetry>,
    ) -> io::Result<Self> {
        Ok(Self {
            port,
            listener: TcpListener::bind(address).await?,
            limits,
            telemetry,
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` turns true (or its sender is gone), then lets calls in progress end, for
    /// [`HttpLimits::stop_timeout`] at most.
    pub(crate) async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        let open = self
            .telemetry
            .http
            .connections
            .with_label_values(&[self.port.as_str()]);
        let mut tasks = JoinSet::new();
        loop {
            let stopped = async {
                // The guard that this gives must not live across an await.
                drop(stop.wait_for(|stop| *stop).await);
            };
            let accepted = tokio::select! {
                biased;
                () = stopped => break,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match (accepted, Arc::clone(&slots).try_acquire_owned()) {
                (Ok((stream, peer)), Ok(slot)) => {
                    let connection = self.connection(slot, &open, peer);
                    tasks.spawn(connection.serve(stream, router.clone(), stop.clone()));
                }
                // Closed at once: better than a queue that nobody sees.
                (Ok(_), Err(_)) => self.telemetry.reject(Path::Other, Reason::Connections),
                (Err(error), _) => self.accept_failed(&error).await,
            }
        }
        drop(self.listener);
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.stop_timeout, drained)
            .await
            .is_err()
        {
            warn!(
                port = self.port.as_str(),
                "connections were still busy and are cut"
            );
        }
    }

    fn connection(
        &self,
        slot: OwnedSemaphorePermit,
        open: &IntGauge,
        peer: SocketAddr,
    ) -> Connection {
        open.inc();
        Connection {
            port: self.port,
            peer,
            limits: self.limits,
            telemetry: Arc::clone(&self.telemetry),
            open: open.clone(),
            _slot: slot,
        }
    }

    async fn accept_failed(&self, error: &io::Error) {
        let of_the_peer = matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
        );
        if of_the_peer {
            return;
        }
        warn!(port = self.port.as_str(), %error, "cannot accept connections; raise the limit of open files");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// One connection with its slot.
struct Connection {
    port: Port,
    peer: SocketAddr,
    limits: HttpLimits,
    telemetry: Arc<Telemetry>,
    open: IntGauge,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Connection {
    /// Until the peer leaves; after the stop signal, and after an answer that another replica may give better, for as
    /// long as calls on it are in progress.
    async fn serve(self, stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
        // Answers are small and awaited.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY cannot be set");
        }
        let peer = Peer(self.peer);
        let fence = Fence::default();
        let io = TokioIo::new(Guarded::new(
            stream,
            self.limits.header_timeout,
            fence.clone(),
        ));
        let leave = Arc::new(Notify::new());
        let leaving = Arc::clone(&leave);
        let service = service_fn(move |mut request: Request<Incoming>| {
            // HTTP/1 closes its connection by a header; HTTP/2 has none for that.
            let sticks = request.version() == Version::HTTP_2;
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(fence.clone());
            let (answer, leaving) = (router.clone().oneshot(request), Arc::clone(&leaving));
            async move {
                let answer = answer.await;
                let status = answer.as_ref().map(Response::status);
                if sticks && status == Ok(StatusCode::SERVICE_UNAVAILABLE) {
                    leaving.notify_one();
                }
                answer
            }
        });
        let stopped = async {
            // The guard that this gives must not live across an await; an error means that the port has gone.
            drop(stop.wait_for(|stop| *stop).await);
        };
        let builder = self.builder();
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        let ended = tokio::select! {
            result = connection.as_mut() => Some(result),
            () = stopped => None,
            () = leave.notified() => None,
        };
        let result = match ended {
            Some(result) => result,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            self.failed(&*error);
        }
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(HEAD_BYTES as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(HEAD_BYTES)
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        builder
    }

    /// Counts what went wrong before a handler could; a peer that just leaves is no refusal.
    fn failed(&self, error: &(dyn Error + 'static)) {
        debug!(port = self.port.as_str(), peer = %self.peer, error, "connection failed");
        let reason = chain(error).find_map(|cause| {
            if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
                if hyper.is_timeout() {
                    return Some(Reason::SlowHead);
                }
                return hyper.is_parse().then_some(Reason::NotHttp);
            }
            let io = cause.downcast_ref::<io::Error>()?;
            (io.kind() == ErrorKind::TimedOut).then_some(Reason::SlowHead)
        });
        if let Some(reason) = reason {
            self.telemetry.reject(Path::Other, reason);
        }
    }
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| {
        (**error).source()
    })
}

impl Telemetry {
    pub(super) fn reject(&self, path: Path, reason: Reason) {
        self.http
            .rejected
            .with_label_values(&[path.as_str(), reason.as_str()])
            .inc();
    }

    pub(super) fn answered(&self, path: Path) {
        self.http.calls.with_label_values(&[path.as_str()]).inc();
    }
}
