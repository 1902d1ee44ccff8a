//! Streams on which a peer cannot stall forever, and which close so that the peer can read the last answer.
//!
//! hyper times a request's headers and we time its body. Left are three waits, ended here: for the first bytes of HTTP
//! (from which its version is told; [`Prompt`]), and, on the socket itself ([`Guarded`]), for a peer that does not read
//! its answer and for one that still sends when we close (closing with unread input would reset the connection and destroy
//! the answer on its way). TLS, where a port speaks it, is between the two: what the [`Fence`] lets through is on the wire.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use crate::lease::Tenure;

/// Length of HTTP/2's preface: after so many bytes the version is known.
const PREFACE_BYTES: usize = 24;
/// How long what a peer still sends is read and dropped after our last byte.
const LINGER: Duration = Duration::from_secs(1);
/// Longest wait for a peer that does not take its answer.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// Keeps an acknowledgement from leaving when its replica leads no more: between the decision to give it and its bytes
/// on the wire the process may have been stopped for any time. Asked directly before each write; what does not pass ends
/// the connection. Clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fence(Arc<OnceLock<Tenure>>);

impl Fence {
    /// From now on what is written on this connection may be an acknowledgement.
    pub(super) fn arm(&self, tenure: &Tenure) {
        self.0.get_or_init(|| tenure.clone());
    }

    fn check(&self) -> io::Result<()> {
        match self.0.get() {
            Some(tenure) if !tenure.holds() => {
                let text = "this replica leads no more";
                Err(io::Error::new(ErrorKind::ConnectionAborted, text))
            }
            _ => Ok(()),
        }
    }
}

/// A stream whose first bytes must come in time.
pub(super) struct Prompt<S> {
    stream: S,
    /// Ends the wait for the first bytes.
    head: Deadline,
    head_read: usize,
}

impl<S> Prompt<S> {
    pub(super) fn new(stream: S, head_timeout: Duration) -> Self {
        let mut head = Deadline::default();
        head.arm(head_timeout);
        Self {
            stream,
            head,
            head_read: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let progress = Pin::new(&mut this.stream).poll_read(cx, buf);
        if progress.is_pending() {
            return this.head.poll_passed(cx, "the peer does not write");
        }
        if this.head_read < PREFACE_BYTES {
            this.head_read += buf.filled().len() - before;
            if this.head_read >= PREFACE_BYTES {
                this.head.clear();
            }
        }
        progress
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A socket; see the module.
pub(super) struct Guarded {
    stream: TcpStream,
    fence: Fence,
    write: Deadline,
    linger: Deadline,
    write_closed: bool,
}

impl Guarded {
    pub(super) fn new(stream: TcpStream, fence: Fence) -> Self {
        Self {
            stream,
            fence,
            write: Deadline::default(),
            linger: Deadline::default(),
            write_closed: false,
        }
    }

    /// A pending write must go on within [`WRITE_STALL`].
    fn guard_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.write.clear();
            return progress;
        }
        self.write.arm(WRITE_STALL);
        self.write.poll_passed(cx, "the peer does not read")
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.fence.check()?;
        let progress = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.guard_write(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.fence.check()?;
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.guard_write(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that nothing more comes, then drops what still arrives until the peer closes, [`LINGER`] at most.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.write_closed {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.write_closed = true;
            this.linger.arm(LINGER);
        }
        let mut scratch = [0; 16 * 1024];
        // Bounded per poll, so that a fast sender cannot hold this thread.
        for _ in 0..16 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    return this
                        .linger
                        .poll_passed(cx, "")
                        .map(|_: io::Result<()>| Ok(()));
                }
            }
        }
        if this.linger.has_passed() {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A moment after which a wait has failed; none when not armed.
#[derive(Default)]
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// Starts it, unless it runs.
    fn arm(&mut self, after: Duration) {
        self.0
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + after)));
    }

    fn clear(&mut self) {
        self.0 = None;
    }

    fn has_passed(&self) -> bool {
        self.0.as_ref().is_some_and(|sleep| sleep.is_elapsed())
    }

    fn poll_passed<T>(&mut self, cx: &mut Context<'_>, what: &str) -> Poll<io::Result<T>> {
        match &mut self.0 {
            Some(sleep) => sleep
                .as_mut()
                .poll(cx)
                .map(|()| Err(io::Error::new(ErrorKind::TimedOut, what.to_owned()))),
            None => Poll::Pending,
        }
    }
}
