//! Bounded load: a known number of requests, at most so many at once, optionally at a steady rate.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::client::{Client, Request};

/// What to send.
pub struct Load {
    /// To whom.
    pub client: Client,
    /// Requests in all.
    pub total: u64,
    /// At most so many at once.
    pub concurrency: u64,
    /// Requests per second; `None`: as fast as answers come.
    pub rate: Option<f64>,
    /// Makes request number n, from 0.
    pub request: Arc<dyn Fn(u64) -> Request + Send + Sync>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests started.
    pub sent: u64,
    /// Complete answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a complete answer.
    pub failed: u64,
    /// One of their errors.
    pub failure: Option<String>,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl LoadReport {
    /// Complete answers with this status.
    #[must_use]
    pub fn status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }
}

/// A load under way.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
    begin: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    report: Mutex<LoadReport>,
}

impl Load {
    /// Starts it.
    #[must_use]
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared::default());
        let begin = Instant::now();
        let mut workers = JoinSet::new();
        let load = Arc::new(self);
        for _ in 0..load.concurrency {
            workers.spawn(work(Arc::clone(&load), Arc::clone(&shared), begin));
        }
        Running {
            shared,
            workers,
            begin,
        }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When a worker panicked.
    pub async fn run(self) -> Result<LoadReport> {
        self.start().finish().await
    }
}

impl Running {
    /// Requests that are over.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// The same as [`Running::done`], for use while [`Running::finish`] waits.
    pub fn progress(&self) -> impl Fn() -> u64 + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || shared.done.load(Ordering::Relaxed)
    }

    /// Starts no more requests; those under way end.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the end of all requests.
    ///
    /// # Errors
    /// When a worker panicked.
    pub async fn finish(mut self) -> Result<LoadReport> {
        while let Some(worker) = self.workers.join_next().await {
            worker.context("a worker of the load")?;
        }
        let report = self
            .shared
            .report
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(LoadReport {
            elapsed: self.begin.elapsed(),
            ..report.clone()
        })
    }
}

async fn work(load: Arc<Load>, shared: Arc<Shared>, begin: Instant) {
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= load.total {
            return;
        }
        if let Some(rate) = load.rate {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
            sleep_until(begin + Duration::from_secs_f64(number as f64 / rate)).await;
        }
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let answer = load.client.send((load.request)(number)).await;
        shared.done.fetch_add(1, Ordering::Relaxed);
        let mut report = shared.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.sent += 1;
        match answer {
            Ok(answer) => *report.statuses.entry(answer.status).or_default() += 1,
            Err(error) => {
                report.failed += 1;
                report.failure = Some(format!("{error:#}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, Script, Upstream};

    #[tokio::test]
    async fn sends_exactly_what_it_was_told() {
        let upstream = Upstream::instant().await.unwrap();
        let load = Load {
            client: Client::new(upstream.address()),
            total: 50,
            concurrency: 4,
            rate: Some(1000.0),
            request: Arc::new(|n| {
                let act = if n % 5 == 0 {
                    Act::Status(404)
                } else {
                    Act::Respond
                };
                Request::get("/").script(&Script::act(act))
            }),
        };
        let report = load.run().await.unwrap();
        assert_eq!((report.sent, report.failed), (50, 0));
        assert_eq!((report.status(200), report.status(404)), (40, 10));
        assert_eq!(upstream.requests(), 50);
    }
}
