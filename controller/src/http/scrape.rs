//! The body of a scrape, made while it is sent.
//!
//! Invariants: at most one piece is made ahead of what the connection has taken; between two pieces other tasks run.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::HttpBody;
use bytes::Bytes;
use gaugeway_aggregate::{ChangeNumber, Exposition};
use hyper::body::Frame;

use super::readers::Readers;
use crate::{
    ledger::{LedgerHandle, Scraper},
    telemetry::Telemetry,
};

/// Room for most pieces at once.
const PIECE: usize = 96 * 1024;

/// Whom to tell that a scrape has been sent completely.
pub(super) struct Delivery {
    pub(super) scraper: Scraper,
    pub(super) change: ChangeNumber,
    /// Where the totals are from; `None` for a page without any.
    pub(super) ledger: Option<LedgerHandle>,
    /// These totals do not change any more.
    pub(super) is_final: bool,
    pub(super) readers: Readers,
    pub(super) telemetry: Arc<Telemetry>,
}

/// When the last piece was taken, the ledger learns what this scraper has seen.
pub(super) struct ScrapeBody {
    exposition: Exposition,
    more: bool,
    /// A piece was given, or work was done for one, and no other task has run since.
    worked: bool,
    delivery: Option<Delivery>,
    spent: Duration,
}

impl ScrapeBody {
    pub(super) fn new(exposition: Exposition, delivery: Delivery) -> Self {
        Self {
            exposition,
            more: true,
            worked: false,
            delivery: Some(delivery),
            spent: Duration::ZERO,
        }
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        let mut piece = Vec::with_capacity(PIECE);
        let started = Instant::now();
        self.more = self.exposition.next_piece(&mut piece);
        self.spent += started.elapsed();
        (!piece.is_empty()).then(|| piece.into())
    }

    fn end(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            let seconds = self.spent.as_secs_f64();
            delivery.telemetry.ledger.render.observe(seconds);
            let (scraper, is_final) = (delivery.scraper, delivery.is_final);
            delivery.readers.delivered(&scraper, is_final);
            if let Some(ledger) = delivery.ledger {
                ledger.delivered(scraper, delivery.change);
            }
        }
    }
}

impl HttpBody for ScrapeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.more
            && !mem::replace(&mut this.worked, true)
            && let Some(piece) = this.next_piece()
        {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if this.more {
            this.worked = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.end();
        Poll::Ready(None)
    }
}
