//! Questions to the sliding windows. The writer's thread only shares the counts; whoever asks sums them.

use std::collections::BTreeMap;

use gaugeway_aggregate::{Aggregate, LastReport, Sample, Standings, Subject, Window};
use gaugeway_wire::{GatewayName, Layout, UnixNanos};

/// What is asked of the windows.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) windows: Vec<Window>,
}

/// An object with windows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    Service {
        namespace: String,
        name: String,
    },
    Pod {
        namespace: String,
        name: String,
    },
    Workload {
        namespace: String,
        kind: String,
        name: String,
    },
}

/// The answer, as of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Recently {
    pub(crate) taken: UnixNanos,
    pub(crate) layout: Layout,
    pub(crate) standings: BTreeMap<Window, Standings>,
    samples: BTreeMap<Wanted, Sample>,
    pub(crate) last_reports: BTreeMap<GatewayName, LastReport>,
}

impl Wanted {
    fn subject(&self) -> Subject<'_> {
        match self {
            Self::Service { namespace, name } => Subject::Service { namespace, name },
            Self::Pod { namespace, name } => Subject::Pod { namespace, name },
            Self::Workload {
                namespace,
                kind,
                name,
            } => Subject::Workload {
                namespace,
                kind,
                name,
            },
        }
    }
}

impl Recently {
    pub(super) fn of(aggregate: &Aggregate, question: Question, now: UnixNanos) -> Self {
        let mut answer = Self {
            taken: now,
            layout: aggregate.config().layout.clone(),
            standings: BTreeMap::new(),
            last_reports: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        let Some(recent) = aggregate.recent() else {
            return answer;
        };
        answer.last_reports = recent.last_reports();
        let longest = question.windows.iter().max().copied();
        let longest = longest.unwrap_or(Window::Seconds15);
        for window in question.windows {
            let standings = recent.standings(window, now);
            answer.standings.insert(window, standings);
        }
        for wanted in question.wanted {
            let sample = recent.sample(wanted.subject(), longest, now);
            answer.samples.insert(wanted, sample);
        }
        answer
    }

    /// What the windows have of an object that was asked for.
    pub(crate) fn sample(&self, wanted: &Wanted) -> Option<&Sample> {
        self.samples.get(wanted)
    }
}
