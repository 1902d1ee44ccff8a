//! One listening port: accepts, bounds, serves and drains its connections, over TLS where it speaks that.

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
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::{
    io::{Fence, Guarded, Prompt},
    refusal::{Path, Reason},
};
use crate::{config::HttpLimits, telemetry::Telemetry, tls::Tls};

/// Largest head of a request, in bytes, for either version of HTTP.
const HEAD_BYTES: u32 = 16 * 1024;
/// Streams of one HTTP/2 connection at a time.
const STREAMS: u32 = 256;
/// Quiet time after which an HTTP/2 peer is asked whether it lives, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// After `accept` failed for want of file descriptors or memory: trying at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// First byte of whoever begins TLS.
const TLS_HANDSHAKE: u8 = 22;
const PLAIN_TEXT: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
    this port speaks TLS only: call it by https\n";

/// Which port; value of the `port` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Filters,
    Wasm,
    Metrics,
    Api,
    Apis,
}

/// Address of the caller, for handlers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The certificate that the client showed, with its chain; its key is proven, and nothing else of it.
#[derive(Clone, Debug)]
pub(super) struct Shown(pub(super) Arc<[CertificateDer<'static>]>);

/// A port, bound and not yet serving.
pub(crate) struct Server {
    port: Port,
    listener: TcpListener,
    tls: Option<Tls>,
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
            Self::Apis => "apis",
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
            tls: None,
            limits,
            telemetry,
        })
    }

    /// Nothing but TLS is spoken from now on.
    pub(crate) fn over(self, tls: Tls) -> Self {
        Self {
            tls: Some(tls),
            ..self
        }
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
            tls: self.tls.clone(),
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
    tls: Option<Tls>,
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
    async fn serve(self, stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
        // Answers are small and awaited.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY cannot be set");
        }
        let fence = Fence::default();
        let Some(tls) = &self.tls else {
            let socket = Guarded::new(stream, fence.clone());
            return self.http(socket, fence, None, router, stop).await;
        };
        let stopped = async {
            // The guard that this gives must not live across an await.
            drop(stop.wait_for(|stop| *stop).await);
        };
        let greeted = greet(tls, stream, fence.clone());
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(self.limits.handshake_timeout, greeted) => greeted,
            () = stopped => return,
        };
        match greeted {
            Ok(Ok((stream, shown))) => {
                Box::pin(self.http(stream, fence, shown, router, stop)).await;
            }
            Ok(Err(reason)) => self.telemetry.reject(Path::Other, reason),
            Err(_) => self.telemetry.reject(Path::Other, Reason::SlowHandshake),
        }
    }

    /// Until the peer leaves; after the stop signal, and after an answer that another replica may give better, for as
    /// long as calls on it are in progress.
    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        fence: Fence,
        shown: Option<Shown>,
        router: Router,
        mut stop: watch::Receiver<bool>,
    ) {
        let peer = Peer(self.peer);
        let io = TokioIo::new(Prompt::new(stream, self.limits.header_timeout));
        let leave = Arc::new(Notify::new());
        let leaving = Arc::clone(&leave);
        let service = service_fn(move |mut request: Request<Incoming>| {
            // HTTP/1 closes its connection by a header; HTTP/2 has none for that.
            let sticks = request.version() == Version::HTTP_2;
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(fence.clone());
            if let Some(shown) = &shown {
                request.extensions_mut().insert(shown.clone());
            }
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

/// The handshake. Who speaks plain text is told so, in plain text.
async fn greet(
    tls: &Tls,
    stream: TcpStream,
    fence: Fence,
) -> Result<(Box<TlsStream<Guarded>>, Option<Shown>), Reason> {
    let mut first = [0];
    let is_tls = stream.peek(&mut first).await.is_ok() && first == [TLS_HANDSHAKE];
    let mut socket = Guarded::new(stream, fence);
    if !is_tls && first != [0] {
        // The peer may be gone: what is to be said is counted anyhow.
        let _ = socket.write_all(PLAIN_TEXT.as_bytes()).await;
        let _ = socket.shutdown().await;
        return Err(Reason::PlainText);
    }
    let accepted = tls.acceptor().accept(socket).await;
    let stream = accepted.map_err(|error| {
        debug!(%error, "a handshake failed");
        Reason::Handshake
    })?;
    let shown = stream.get_ref().1.peer_certificates();
    let shown = shown.map(|chain| Shown(chain.into()));
    Ok((Box::new(stream), shown))
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
