//! Who leads, as a function of one replica's own clock and of what it saw of the Lease. No IO, no clock.
//!
//! **Invariant**: never two leaders. A holder counts its tenure from *before* it sent the write that succeeded, and for
//! [`Timing::deadline`] only; everybody else waits for [`Timing::lease`] from *after* they first saw the Lease's newest
//! version. What is between the two is what clocks may differ by in their rates. Nobody compares the clocks themselves:
//! times in the Lease are for people.
//!
//! A write names the version that it replaces, so of several that want the same Lease one gets it.

use std::time::Duration;

/// A reading of this replica's own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(super) Duration);

impl Moment {
    pub(crate) fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

/// How long a Lease counts, and how often it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A Lease that has not changed for so long is free.
    pub lease: Duration,
    /// A holder that has not renewed for so long acts no more.
    pub deadline: Duration,
    /// Between two renewals, and between two looks.
    pub retry: Duration,
}

impl Default for Timing {
    /// Those of Kubernetes's own components.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Times that do not make one leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Lease must last longer than the renewal's deadline, and that longer than twice the time between renewals; \
     the Lease lasts whole seconds"
)]
pub struct TimingError;

impl Timing {
    /// Checks that there is a margin, and time for a second try.
    ///
    /// # Errors
    /// [`TimingError`].
    pub fn check(self) -> Result<Self, TimingError> {
        let whole = self.lease.subsec_nanos() == 0;
        let rising = self.lease > self.deadline && self.deadline > self.retry * 2;
        if whole && rising && !self.retry.is_zero() {
            Ok(self)
        } else {
            Err(TimingError)
        }
    }
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Empty if nobody holds it.
    pub(super) holder: String,
    /// For how long without a change others wait.
    pub(super) lease: Duration,
    /// Grows with each new holder.
    pub(super) transitions: u32,
    /// Names this state of the object.
    pub(super) version: String,
    /// Where the holder takes calls.
    pub(super) address: Option<std::net::SocketAddr>,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// The state that it replaces; `None` creates.
    pub(super) over: Option<String>,
    /// Empty gives it back.
    pub(super) holder: String,
    pub(super) transitions: u32,
    /// Begins a tenure.
    pub(super) takes: bool,
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is what the Lease says now.
    Done(Record),
    /// Somebody else was first.
    Conflict,
    /// No answer that says so: it may have been done.
    Unknown,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, for so long.
    Rest(Duration),
    /// Read the Lease, then [`Machine::seen`].
    Look,
    /// Write it, then [`Machine::written`].
    Write(Write),
    /// It was held and another has it (or nobody, if empty): never act again.
    Lost(String),
}

/// A tenure that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Began {
    /// The Lease's transitions under it.
    pub(crate) term: u32,
    /// The term before, if nobody else held the Lease since this replica did in that term (if it did).
    pub(crate) continues: Option<u32>,
}

/// One replica's part in the election.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    me: String,
    timing: Timing,
    state: State,
    known: Option<Known>,
    /// When to do the next step.
    due: Moment,
    /// It would lead if it could.
    stands: bool,
    /// The last look that had an answer.
    looked: Moment,
}

#[derive(Clone, Debug)]
struct Known {
    record: Record,
    /// When this version was seen first.
    since: Moment,
    /// It was there at the last look.
    present: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Candidate {
        /// What the last look found may be taken.
        free: bool,
    },
    Holding {
        term: u32,
        until: Moment,
        /// The known version is the one that was written last.
        current: bool,
    },
    Lost(String),
    /// Looks on, to know who leads.
    Retired,
}

impl Machine {
    /// A replica that holds nothing.
    pub(super) fn new(me: String, timing: Timing) -> Self {
        Self {
            me,
            timing,
            state: State::Candidate { free: false },
            known: None,
            due: Moment::default(),
            stands: false,
            looked: Moment::default(),
        }
    }

    /// What to do now. `stands`: whether it would lead if it could.
    pub(super) fn step(&mut self, now: Moment, stands: bool) -> Step {
        self.stands = stands;
        if let State::Lost(to) = &self.state {
            return Step::Lost(to.clone());
        }
        if now < self.due {
            return Step::Rest(now.until(self.due));
        }
        match self.state {
            State::Candidate { free: true } if stands => Step::Write(self.take()),
            State::Holding {
                term,
                current: true,
                ..
            } => Step::Write(Write {
                over: self.version(),
                holder: self.me.clone(),
                transitions: term,
                takes: false,
            }),
            _ => Step::Look,
        }
    }

    /// Something may have changed: do not rest.
    pub(super) fn hint(&mut self, now: Moment) {
        if !matches!(self.state, State::Holding { .. }) {
            self.due = now;
        }
    }

    /// Takes in what a look found: `Err` when there was no answer, `Ok(None)` when there is no Lease.
    pub(super) fn seen(&mut self, now: Moment, found: Result<Option<Record>, ()>) {
        self.due = now.plus(self.timing.retry);
        let Ok(found) = found else {
            return;
        };
        let blind = self.looked.until(now) > self.timing.deadline;
        self.looked = now;
        self.know(now, found);
        if blind && let Some(known) = &mut self.known {
            // The API server was away: its holder could not renew either, and may go on now.
            known.since = now;
        }
        match self.state {
            State::Candidate { .. } => self.judge(now),
            State::Holding { term, until, .. } => self.recheck(now, term, until),
            State::Lost(_) | State::Retired => {}
        }
    }

    /// Takes in what came of a write that was sent at `sent`. Tells of a tenure that began.
    pub(super) fn written(
        &mut self,
        sent: Moment,
        now: Moment,
        write: &Write,
        result: Written,
    ) -> Option<Began> {
        match result {
            Written::Done(record) => {
                let before = self.known.take();
                self.know(now, Some(record));
                self.due = sent.plus(self.timing.retry);
                if matches!(self.state, State::Lost(_) | State::Retired) {
                    return None;
                }
                self.state = State::Holding {
                    term: write.transitions,
                    until: sent.plus(self.timing.deadline),
                    current: true,
                };
                let before = before.filter(|_| write.over.is_some()).map(|k| k.record);
                let mine = before.filter(|r| r.holder.is_empty() || r.holder == self.me);
                write.takes.then_some(Began {
                    term: write.transitions,
                    continues: mine.map(|r| r.transitions),
                })
            }
            Written::Conflict => {
                self.doubt();
                self.due = now;
                None
            }
            Written::Unknown => {
                self.doubt();
                self.due = now.plus(self.timing.retry);
                None
            }
        }
    }

    /// Ends the tenure: acts no more. Gives what to write so that another need not wait.
    pub(super) fn retire(&mut self) -> Option<Write> {
        let state = std::mem::replace(&mut self.state, State::Retired);
        let State::Holding { term, .. } = state else {
            return None;
        };
        Some(Write {
            over: self.version(),
            holder: String::new(),
            transitions: term,
            takes: false,
        })
    }

    /// Until when it may act, unless it renews; `None` without a tenure.
    pub(super) fn until(&self) -> Option<Moment> {
        match self.state {
            State::Holding { until, .. } => Some(until),
            _ => None,
        }
    }

    /// The Lease, as last seen.
    pub(super) fn record(&self) -> Option<&Record> {
        let known = self.known.as_ref().filter(|known| known.present);
        known.map(|known| &known.record)
    }

    /// What is known of the Lease may no longer be so.
    fn doubt(&mut self) {
        match &mut self.state {
            State::Holding { current, .. } => *current = false,
            State::Candidate { free } => *free = false,
            State::Lost(_) | State::Retired => {}
        }
    }

    fn know(&mut self, now: Moment, found: Option<Record>) {
        match (found, &mut self.known) {
            (Some(record), Some(known)) if known.record.version == record.version => {
                known.present = true;
            }
            (Some(record), known) => {
                *known = Some(Known {
                    record,
                    since: now,
                    present: true,
                });
            }
            // Who held it may not know yet that it is gone.
            (None, Some(known)) => known.present = false,
            (None, None) => {}
        }
    }

    /// Whether the Lease may be taken.
    fn judge(&mut self, now: Moment) {
        let wait = match &self.known {
            None => Duration::ZERO,
            Some(k) if k.record.holder.is_empty() || k.record.holder == self.me => Duration::ZERO,
            Some(k) => now.until(k.since.plus(k.record.lease)),
        };
        let free = wait.is_zero();
        self.state = State::Candidate { free };
        self.due = match (free, self.stands) {
            (true, true) => now,
            (true, false) => now.plus(self.timing.retry),
            (false, _) => now.plus(wait.min(self.timing.retry)),
        };
    }

    /// Whether what was held is still held.
    fn recheck(&mut self, now: Moment, term: u32, until: Moment) {
        let current = match self.record() {
            Some(record) => record.holder == self.me && record.transitions == term,
            // Removed by somebody. While nobody else can have it, it is made again.
            None => now < until,
        };
        self.state = if current {
            self.due = now;
            State::Holding {
                term,
                until,
                current,
            }
        } else {
            let holder = self.record().map(|record| record.holder.clone());
            State::Lost(holder.unwrap_or_default())
        };
    }

    fn take(&self) -> Write {
        let known = self.known.as_ref().map(|known| &known.record);
        let transitions = match known {
            None => 0,
            Some(record) if record.holder == self.me => record.transitions,
            Some(record) => record.transitions.saturating_add(1),
        };
        Write {
            over: self.version(),
            holder: self.me.clone(),
            transitions,
            takes: true,
        }
    }

    fn version(&self) -> Option<String> {
        self.record().map(|record| record.version.clone())
    }
}

#[cfg(test)]
mod tests;
