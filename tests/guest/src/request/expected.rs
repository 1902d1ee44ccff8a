//! What a correct filter counts for a script: one request on Envoy, each try on Kong.

use gaugeway_wire::{
    mapping::CLUSTER_PREFIX,
    outcome::{CodeClass, Outcome, RequestClass},
    units::Nanos,
};

use crate::{
    personality::Personality,
    request::{Ending, Request, Try},
};

/// Kong's own time-outs, where the configuration says nothing: an error that it makes is one after so long.
const KONG_TIMEOUT: Nanos = Nanos::from_millis(60_000);

/// What is counted, and under which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Address or cluster.
    pub key: String,
    /// What.
    pub expected: Expected,
}

/// What one request adds to its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which counter.
    pub class: RequestClass,
    /// The sample, if any.
    pub latency: Option<Nanos>,
    /// 1 when the latency cannot be known.
    pub latency_unknown: u64,
    /// Tries after the first.
    pub retries: u64,
    /// 1 when it was cut after its headers.
    pub aborted: u64,
    /// Time waited, when the client left before headers.
    pub cancelled_wait: Nanos,
}

impl Request {
    /// What a correct filter counts. Empty when the request never reached upstream handling.
    #[must_use]
    pub fn expected(&self, personality: Personality) -> Vec<Counted> {
        match personality {
            Personality::Envoy => {
                let counted = |expected| Counted {
                    key: self.key(),
                    expected,
                };
                self.on_envoy().map(counted).into_iter().collect()
            }
            Personality::WasmX => self.on_kong(),
        }
    }

    /// Time of the last try.
    pub(crate) fn last_wait(&self) -> Nanos {
        let tries = self.tries.split_last().map_or(&[][..], |(_, rest)| rest);
        let before = tries.iter().map(|before| before.waited.0).sum();
        Nanos(self.wait.0.saturating_sub(before))
    }

    /// What a correct filter counts on Envoy; `None` when the request never reached upstream handling.
    fn on_envoy(&self) -> Option<Expected> {
        let class = self.ending.class()?;
        let retries = match self.ending.has_address() {
            true => u64::try_from(self.tries.len().saturating_sub(1)).unwrap_or(0),
            false => 0,
        };
        let timed = class.outcome.has_latency();
        Some(Expected {
            class,
            latency: (timed && retries == 0).then_some(self.wait),
            latency_unknown: u64::from(timed && retries > 0),
            retries,
            aborted: u64::from(self.ending.is_cut()),
            cancelled_wait: if class.outcome == Outcome::Cancelled {
                self.wait
            } else {
                Nanos(0)
            },
        })
    }

    /// What Kong answers itself is counted at the cluster, which the filter's configuration tells.
    fn on_kong(&self) -> Vec<Counted> {
        match self.ending {
            Ending::Timeout | Ending::Reset | Ending::ConnectFailure | Ending::Overflow => {
                vec![self.orphan()]
            }
            // Without a live peer the filter sees the log only.
            Ending::NoEndpoint | Ending::Local(_) | Ending::DeniedBefore(_) => Vec::new(),
            Ending::Response(_)
            | Ending::CutByUpstream(_)
            | Ending::CutByClient(_)
            | Ending::Cancelled => self.tries_on_kong(),
        }
    }

    fn orphan(&self) -> Counted {
        let late = self.wait >= KONG_TIMEOUT;
        let outcome = if late {
            Outcome::Timeout
        } else {
            Outcome::Reset
        };
        Counted {
            key: format!("{CLUSTER_PREFIX}{}", self.cluster),
            expected: Expected {
                latency: late.then(|| milliseconds(self.wait)),
                ..Expected::of(outcome, CodeClass::ServerError)
            },
        }
    }

    fn tries_on_kong(&self) -> Vec<Counted> {
        let last = self.tries.len().saturating_sub(1);
        let expected = |(at, one): (usize, &Try)| Counted {
            key: one.address.clone(),
            expected: Expected {
                retries: u64::from(at > 0),
                ..if at == last {
                    self.last_on_kong()
                } else {
                    one.failed_on_kong()
                }
            },
        };
        self.tries.iter().enumerate().map(expected).collect()
    }

    fn last_on_kong(&self) -> Expected {
        let waited = milliseconds(self.last_wait());
        match self.ending.upstream_code() {
            Some(code) => Expected {
                latency: Some(waited),
                aborted: matches!(self.ending, Ending::CutByClient(_)).into(),
                ..Expected::of(Outcome::Response, CodeClass::of(code.into()))
            },
            None => Expected {
                cancelled_wait: waited,
                ..Expected::of(Outcome::Cancelled, CodeClass::None)
            },
        }
    }
}

impl Try {
    fn failed_on_kong(&self) -> Expected {
        let of = |outcome| Expected::of(outcome, CodeClass::None);
        match (self.header_time, self.connected, self.status) {
            (Some(time), ..) => Expected {
                latency: Some(milliseconds(time)),
                ..Expected::of(Outcome::Response, CodeClass::of(self.status.into()))
            },
            (None, false, _) => of(Outcome::ConnectFailure),
            (None, true, 504) => Expected {
                latency: Some(milliseconds(self.waited)),
                ..of(Outcome::Timeout)
            },
            (None, true, _) => of(Outcome::Reset),
        }
    }
}

impl Expected {
    fn of(outcome: Outcome, code: CodeClass) -> Self {
        Self {
            class: RequestClass { outcome, code },
            latency: None,
            latency_unknown: 0,
            retries: 0,
            aborted: 0,
            cancelled_wait: Nanos(0),
        }
    }
}

/// As nginx writes it.
fn milliseconds(time: Nanos) -> Nanos {
    Nanos::from_millis(time.as_millis())
}
