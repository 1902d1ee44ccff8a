//! A real HTTP server (HTTP/1.1 and HTTP/2 without TLS on one port) that does what each request's script says, and
//! counts what it was asked.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

mod answer;
mod latency;
mod script;

pub use latency::Latency;
pub use script::{Act, SCRIPT_HEADER, Script};

/// A running server. It ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    latency: Latency,
    random: Mutex<StdRng>,
    /// Delays that unscripted requests really waited.
    delays: Mutex<Vec<Duration>>,
    requests: AtomicU64,
}

impl Upstream {
    /// Starts on a free port of 127.0.0.1. `latency` delays requests without a script; `seed` makes it repeatable.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(latency: Latency, seed: u64) -> Result<Self> {
        Self::start_on(([127, 0, 0, 1], 0).into(), latency, seed).await
    }

    /// Starts on a given address.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start_on(address: SocketAddr, latency: Latency, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address}"))?;
        let address = listener.local_addr().context("read the bound address")?;
        let shared = Arc::new(Shared {
            latency,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            delays: Mutex::default(),
            requests: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// A server without delay of its own.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn instant() -> Result<Self> {
        Self::start(Latency::Constant(Duration::ZERO), 0).await
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests whose headers arrived.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How long each unscripted request was really delayed.
    #[must_use]
    pub fn delays(&self) -> Vec<Duration> {
        self.shared
            .delays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn draw(&self) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        self.latency.draw(&mut *random)
    }

    fn delayed(&self, by: Duration) {
        self.delays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(by);
    }
}

/// Connections end with this task.
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
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        answer::answer(request, Arc::clone(&shared))
    });
    // An error here is a peer that left or a script that resets: both are what tests ask for.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}
