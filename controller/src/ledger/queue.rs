//! What waits for the writer thread, bounded in number and bytes: what does not fit is refused at once, so that a slow
//! disk costs filters a retry and the controller no memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use bytes::Bytes;
use gaugeway_wire::GatewayName;
use tokio::sync::oneshot;

use super::{
    ReportError, ReportOutcome,
    recent::{Question, Recently},
    writer::Command,
};

/// Report calls waiting.
const REPORTS: usize = 1024;
/// Their bodies, in bytes.
const REPORT_BYTES: usize = 32 * 1024 * 1024;
/// Questions and scrapes waiting, and confirmations of scrapes.
const READS: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Queue {
    commands: mpsc::Sender<Command>,
    questions: mpsc::Sender<Asked>,
    reports: Arc<AtomicUsize>,
    report_bytes: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
}

/// The thread's end of the queue.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) commands: mpsc::Receiver<Command>,
    /// They do not wait for commands that were there before them.
    pub(super) questions: mpsc::Receiver<Asked>,
}

/// A question to the sliding windows.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) reply: oneshot::Sender<Recently>,
    _permit: Permit,
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    of: Arc<AtomicUsize>,
    amount: usize,
}

impl Permit {
    fn take(of: &Arc<AtomicUsize>, amount: usize, limit: usize) -> Option<Self> {
        let taken = of.fetch_add(amount, Ordering::Relaxed);
        let permit = Self {
            of: Arc::clone(of),
            amount,
        };
        // Dropping a permit over the limit gives it back.
        (taken + amount <= limit).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn new() -> (Self, Queued) {
        let (commands, queued_commands) = mpsc::channel();
        let (questions, queued_questions) = mpsc::channel();
        let queue = Self {
            commands,
            questions,
            reports: Arc::default(),
            report_bytes: Arc::default(),
            reads: Arc::default(),
        };
        let queued = Queued {
            commands: queued_commands,
            questions: queued_questions,
        };
        (queue, queued)
    }

    pub(super) fn report(
        &self,
        gateway: GatewayName,
        call: Bytes,
        reply: oneshot::Sender<Result<ReportOutcome, ReportError>>,
    ) -> Result<(), ReportError> {
        const FULL: ReportError = ReportError::Busy("too many reports wait to be applied");
        let permits = (
            Permit::take(&self.reports, 1, REPORTS).ok_or(FULL)?,
            Permit::take(&self.report_bytes, call.len(), REPORT_BYTES).ok_or(FULL)?,
        );
        let command = Command::Report {
            gateway,
            call,
            reply,
            permits,
        };
        self.commands
            .send(command)
            .map_err(|_| ReportError::Stopped)
    }

    /// Sends what a permit is needed for; `None` when the queue is full or the thread has ended.
    pub(super) fn read(&self, command: impl FnOnce(Permit) -> Command) -> Option<()> {
        let permit = Permit::take(&self.reads, 1, READS)?;
        self.commands.send(command(permit)).ok()
    }

    /// Asks; `None` when the queue is full or the thread has ended.
    pub(super) fn ask(&self, question: Question, reply: oneshot::Sender<Recently>) -> Option<()> {
        let asked = Asked {
            question,
            reply,
            _permit: Permit::take(&self.reads, 1, READS)?,
        };
        self.questions.send(asked).ok()?;
        self.commands.send(Command::Answer).ok()
    }

    /// Sends what only the process itself sends; false when the thread has ended.
    pub(super) fn control(&self, command: Command) -> bool {
        self.commands.send(command).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> GatewayName {
        GatewayName::try_new("a/b").unwrap()
    }

    #[test]
    fn a_full_queue_refuses_and_a_freed_one_takes_again() {
        let (queue, Queued { commands, .. }) = Queue::new();
        let send =
            |bytes| queue.report(gateway(), Bytes::from(vec![0; bytes]), oneshot::channel().0);
        for _ in 0..REPORTS {
            send(1).unwrap();
        }
        assert!(matches!(send(1), Err(ReportError::Busy(_))));
        drop(commands.recv().unwrap());
        send(1).unwrap();
        while commands.try_recv().is_ok() {}
        send(REPORT_BYTES).unwrap();
        assert!(matches!(send(1), Err(ReportError::Busy(_))));
        drop(commands);
        assert_eq!(send(0), Err(ReportError::Stopped));
    }
}
