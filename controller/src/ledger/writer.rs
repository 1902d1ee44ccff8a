//! The writer thread: takes what is queued in batches, applies it, logs it, answers. Questions come in between.
//!
//! **Invariant**: nothing is answered, and nothing is shown, that is not in the log (unless the log is degraded).
//!
//! **Invariant**: no report is acknowledged unless this replica leads when it is in the log. One that was applied and is
//! refused for that comes again, and is then known by its sequence, or counts in the ledger of another.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaugeway_aggregate::{
    Aggregate, Applied, ChangeNumber, DataplaneUrls, DefineError, Liveness, Recent, Unfit, journal,
};
use gaugeway_wire::{
    GatewayName, LedgerEpoch, Report, ReportCall, Seq, TargetDefinition, UnixNanos,
};
use tokio::sync::{oneshot, watch};

use super::{
    Durability, LedgerConfig, NOT_SYNCED, Objects, ReportError, ReportOutcome, Scrape, Scraper,
    Shape,
    durable::{Durable, Finished},
    frame,
    queue::{Asked, Permit, Queued},
    recent::Recently,
    start::Ledger,
};
use crate::{lease::Tenure, telemetry::Telemetry};

/// Commands of one batch.
const BATCH: usize = 256;
/// Between two looks for what is due.
const SWEEP: Duration = Duration::from_secs(10);
/// Between two looks at a snapshot that is being written, or that may be due.
const TICK: Duration = Duration::from_secs(1);
/// A worker VM is shown as alive for this long after a report, in seconds.
const ALIVE_SECONDS: u64 = 90;

type Reply<T> = oneshot::Sender<T>;
type Outcome = Result<ReportOutcome, ReportError>;

#[derive(Debug)]
pub(super) enum Command {
    Report {
        gateway: GatewayName,
        call: Bytes,
        reply: Reply<Outcome>,
        permits: (Permit, Permit),
    },
    Scrape {
        scraper: Scraper,
        reply: Reply<Scrape>,
        permit: Permit,
    },
    /// There are questions.
    Answer,
    Delivered {
        scraper: Scraper,
        change: ChangeNumber,
        permit: Permit,
    },
    Configure(Shape),
    Sweep(Reply<()>),
    Seal(Reply<()>),
    Stop(Reply<()>),
}

pub(super) struct Writer {
    aggregate: Aggregate,
    epoch: LedgerEpoch,
    durable: Option<Durable>,
    objects: Arc<dyn Objects>,
    telemetry: Arc<Telemetry>,
    durability: Arc<Mutex<Durability>>,
    /// Policies that were refused a series lately.
    refusing: watch::Sender<Arc<BTreeSet<Arc<str>>>>,
    kong: DataplaneUrls,
    clock: Arc<dyn Fn() -> UnixNanos + Send + Sync>,
    tenure: Tenure,
    /// Takes no more reports.
    sealed: bool,
    /// One record, and the batch's frames.
    record: Vec<u8>,
    frames: Vec<u8>,
    next_sweep: Instant,
}

/// What waits for the batch to be logged.
#[derive(Default)]
struct Waiting {
    reports: Vec<(Reply<Outcome>, Outcome)>,
    scrapes: Vec<(Reply<Scrape>, Scraper)>,
    done: Vec<Reply<()>>,
    stop: Vec<Reply<()>>,
}

impl Writer {
    pub(super) fn new(
        mut ledger: Ledger,
        config: LedgerConfig,
        objects: Arc<dyn Objects>,
        telemetry: Arc<Telemetry>,
        durability: Arc<Mutex<Durability>>,
        refusing: watch::Sender<Arc<BTreeSet<Arc<str>>>>,
    ) -> Self {
        ledger.aggregate.begin();
        let mut writer = Self {
            aggregate: ledger.aggregate,
            epoch: ledger.epoch,
            durable: ledger.durable,
            objects,
            telemetry,
            durability,
            refusing,
            kong: config.kong,
            clock: config.clock,
            tenure: config.tenure,
            sealed: false,
            record: Vec::new(),
            frames: Vec::new(),
            next_sweep: Instant::now() + SWEEP,
        };
        writer.publish();
        writer
    }

    pub(super) fn run(
        mut self,
        Queued {
            commands,
            questions,
        }: Queued,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            match commands.recv_timeout(TICK) {
                Ok(command) => batch.push(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            batch.extend(commands.try_iter().take(BATCH - 1));
            let stop = self.process(batch.drain(..), &questions);
            self.maintain(Instant::now());
            if !stop.is_empty() {
                drop(commands);
                self.close();
                return stop.into_iter().for_each(|reply| answer(reply, ()));
            }
        }
        self.close();
    }

    /// Applies a batch, logs it, answers it; gives back who waits for the thread's end.
    fn process(
        &mut self,
        batch: impl Iterator<Item = Command>,
        questions: &Receiver<Asked>,
    ) -> Vec<Reply<()>> {
        let mut waiting = Waiting::default();
        // Places in the queue are free again when the batch is done, not before.
        let mut permits = Vec::new();
        for command in batch {
            self.answer_all(questions);
            permits.push(self.take(command, &mut waiting));
        }
        self.log();
        for (reply, outcome) in waiting.reports {
            // Looked at once more for each: this thread may have been stopped since it wrote the log.
            let leads = self.tenure.holds();
            let outcome =
                outcome.and_then(|done| leads.then_some(done).ok_or(ReportError::NotLeader));
            answer(reply, outcome);
        }
        for (reply, scraper) in waiting.scrapes {
            answer(reply, self.scrape(&scraper));
        }
        for reply in waiting.done {
            answer(reply, ());
        }
        waiting.stop
    }

    /// Autoscalers wait: nobody's reports go first, however many there are.
    fn answer_all(&mut self, questions: &Receiver<Asked>) {
        for asked in questions.try_iter() {
            self.log();
            let now = (self.clock)();
            answer(
                asked.reply,
                Recently::of(&self.aggregate, asked.question, now),
            );
        }
    }

    fn take(&mut self, command: Command, waiting: &mut Waiting) -> [Option<Permit>; 2] {
        match command {
            Command::Report {
                gateway,
                call,
                reply,
                permits: (one, bytes),
            } => {
                let outcome = self.report(&gateway, &call);
                waiting.reports.push((reply, outcome));
                [Some(one), Some(bytes)]
            }
            Command::Scrape {
                scraper,
                reply,
                permit,
            } => {
                waiting.scrapes.push((reply, scraper));
                [Some(permit), None]
            }
            Command::Answer => [None, None],
            Command::Delivered {
                scraper,
                change,
                permit,
            } => {
                self.delivered(&scraper, change);
                [Some(permit), None]
            }
            Command::Configure(shape) => {
                self.configure(shape);
                [None, None]
            }
            Command::Sweep(reply) => {
                self.sweep();
                waiting.done.push(reply);
                [None, None]
            }
            Command::Seal(reply) => {
                self.sealed = true;
                waiting.done.push(reply);
                [None, None]
            }
            Command::Stop(reply) => {
                waiting.stop.push(reply);
                [None, None]
            }
        }
    }

    fn report(&mut self, gateway: &GatewayName, call: &[u8]) -> Outcome {
        if self.sealed {
            return Err(ReportError::Stopped);
        }
        if !self.tenure.holds() {
            return Err(ReportError::NotLeader);
        }
        let call = ReportCall::decode(call)?;
        let report = Some(call.report).filter(|report| !report.is_empty());
        let decoded = report.map(Report::decode).transpose()?;
        if self.objects.generation().is_none() {
            return Err(ReportError::Busy(NOT_SYNCED));
        }
        let now = (self.clock)();
        for definition in call.definitions() {
            self.define(gateway, &definition, now);
        }
        let mut outcome = ReportOutcome {
            ledger_epoch: self.epoch,
            seq: Seq(0),
            undefined: Vec::new(),
            rejected_series: 0,
            mapping: None,
            span: None,
        };
        if let Some(report) = decoded {
            let objects = Arc::clone(&self.objects);
            let applied = self.aggregate.apply(gateway, &report, &*objects, now)?;
            if applied.fresh {
                journal::report(
                    &mut self.record,
                    gateway,
                    call.report,
                    &applied.rejected,
                    &applied.births,
                    now,
                );
                self.frame();
            }
            self.count(gateway, &report, &applied);
            outcome.seq = applied.seq;
            outcome.span = applied.fresh.then_some(applied.span);
            outcome.rejected_series = applied.rejected_series;
            outcome.undefined = applied.undefined;
        }
        outcome.mapping = call.mapping;
        Ok(outcome)
    }

    /// A definition is best effort: a bad one is counted, and does not hold up the report it came with.
    fn define(&mut self, gateway: &GatewayName, definition: &TargetDefinition<'_>, now: UnixNanos) {
        let objects = Arc::clone(&self.objects);
        let of = self.telemetry.gateways.get(gateway);
        match self.aggregate.define(gateway, definition, &*objects, now) {
            Ok(defined) if defined.fresh => {
                journal::definition(
                    &mut self.record,
                    gateway,
                    definition.target,
                    defined.allowed,
                    &defined.births,
                    now,
                );
                self.frame();
                // Without counts that waited, the report that brings some is what counts here.
                if !defined.allowed && defined.requests > 0 {
                    of.rejected_series.inc();
                }
                let ledger = &self.telemetry.ledger;
                ledger.overflow("full", defined.overflow_requests);
                ledger.overflow("policy", defined.refused_requests);
            }
            Ok(_) | Err(DefineError::NotSynced) => {}
            Err(error) => {
                self.telemetry.ledger.refused_definitions.inc();
                tracing::debug!(%gateway, %error, "refused a definition");
            }
        }
    }

    fn count(&self, gateway: &GatewayName, report: &Report<'_>, applied: &Applied) {
        let of = self.telemetry.gateways.get(gateway);
        if !applied.fresh {
            of.duplicates.inc();
            return;
        }
        of.reports.inc();
        of.series.inc_by(applied.series);
        of.requests.inc_by(applied.requests);
        of.rejected_series.inc_by(applied.rejected_series);
        of.undefined_requests.inc_by(applied.undefined_requests);
        for (event, increase) in report.counters() {
            of.event(event, increase);
        }
        let ledger = &self.telemetry.ledger;
        ledger.overflow("full", applied.overflow_requests);
        ledger.overflow("policy", applied.refused_requests);
        ledger.rebucketed.inc_by(applied.rebucketed_samples);
        ledger.left_out.inc_by(applied.left_out);
        if let Some(unfit) = applied.unfit {
            ledger.unwindowed.with_label_values(&[reason(unfit)]).inc();
        }
        ledger
            .span
            .observe(Duration::from_nanos(applied.span.0).as_secs_f64());
    }

    fn scrape(&mut self, scraper: &Scraper) -> Scrape {
        let now = (self.clock)();
        self.show_worker_vms(now);
        let (snapshot, view) = self.aggregate.scrape(&scraper.0, now);
        Scrape {
            snapshot,
            view,
            kong: self
                .aggregate
                .config()
                .by_service
                .then(|| self.kong.clone()),
        }
    }

    fn delivered(&mut self, scraper: &Scraper, change: ChangeNumber) {
        let now = (self.clock)();
        self.aggregate.delivered(&scraper.0, change, now);
        journal::delivered(&mut self.record, &scraper.0, change, now);
        self.frame();
    }

    /// Forgets what is due, and shows where the ledger stands.
    fn sweep(&mut self) {
        let now = (self.clock)();
        let objects = Arc::clone(&self.objects);
        let liveness: &dyn Liveness = &*objects;
        let synced = objects.generation().is_some();
        let swept = self.aggregate.sweep(synced.then_some(liveness), now);
        if !swept.is_empty() {
            journal::sweep(&mut self.record, &swept, now);
            self.frame();
        }
        let ledger = &self.telemetry.ledger;
        ledger.expired.inc_by(swept.series.len() as u64);
        ledger.overflow("unnamed", swept.overflow_requests);
    }

    fn show_worker_vms(&self, now: UnixNanos) {
        let since = UnixNanos(now.0.saturating_sub(ALIVE_SECONDS * 1_000_000_000));
        for (gateway, vms) in self.aggregate.worker_vms(since) {
            self.telemetry.gateways.get(&gateway).vms.set(gauge(vms));
        }
    }

    fn configure(&mut self, Shape { layout, by_service }: Shape) {
        let held = self.aggregate.config();
        let config = gaugeway_aggregate::Config {
            layout,
            by_service,
            ..held.clone()
        };
        if *held == config {
            return;
        }
        journal::configured(&mut self.record, &config, (self.clock)());
        self.frame();
        self.aggregate.configure(config);
    }

    /// Puts the record into the batch's frames.
    fn frame(&mut self) {
        if self.durable.is_some() {
            frame::put(&mut self.frames, &self.record);
        }
        self.record.clear();
    }

    fn log(&mut self) {
        if let Some(durable) = &mut self.durable {
            durable.append(&self.frames);
        }
        self.frames.clear();
    }

    fn maintain(&mut self, now: Instant) {
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            self.sweep();
            self.log();
        }
        if let Some(durable) = &mut self.durable {
            let mut finished = durable.poll();
            if finished.is_none() && durable.wants_save(now) {
                let save_point = self.aggregate.save_point((self.clock)());
                finished = durable.save(save_point, now);
            }
            if let Some(finished) = finished {
                self.saved(&finished);
            }
        }
        self.publish();
    }

    fn close(&mut self) {
        if let Some(durable) = &mut self.durable {
            let save_point = self.aggregate.save_point((self.clock)());
            let finished = durable.close(&save_point);
            self.saved(&finished);
        }
    }

    fn saved(&self, finished: &Finished) {
        let result = match finished {
            Ok(()) => "ok",
            Err(error) => {
                tracing::error!(%error, "a snapshot of the ledger could not be written");
                "error"
            }
        };
        let snapshots = &self.telemetry.ledger.snapshots;
        snapshots.with_label_values(&[result]).inc();
    }

    fn publish(&mut self) {
        if let Some(refusing) = self.aggregate.take_refusing() {
            self.refusing.send_replace(Arc::new(refusing));
        }
        let ledger = &self.telemetry.ledger;
        ledger.series.set(gauge(self.aggregate.series_len() as u64));
        let bytes = self.aggregate.recent().map_or(0, Recent::bytes);
        ledger.window_bytes.set(gauge(bytes as u64));
        let durable = self.durable.as_ref();
        ledger
            .log_bytes
            .set(gauge(durable.map_or(0, Durable::log_bytes)));
        let now = match durable.map(Durable::degraded) {
            None => Durability::MemoryOnly,
            Some(None) => Durability::Logged,
            Some(Some(error)) => Durability::Degraded(error.to_owned()),
        };
        ledger
            .degraded
            .set(i64::from(matches!(now, Durability::Degraded(_))));
        let mut shown = self
            .durability
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *shown = now;
    }
}

const fn reason(unfit: Unfit) -> &'static str {
    match unfit {
        Unfit::Long => "long",
        Unfit::Old => "old",
        Unfit::Clock => "clock",
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Who no longer waits needs no answer.
fn answer<T>(reply: Reply<T>, value: T) {
    drop(reply.send(value));
}
