//! Faults that a test lays on.

use std::time::Duration;

use crate::{log::Logged, request::Verb};

/// What happens to requests that match. Empty matches everything.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Only these verbs; empty for all.
    pub verbs: Vec<Verb>,
    /// Only this resource (plural); empty for all.
    pub resource: String,
    /// Only these, of those that match else.
    pub only: fn(&Logged) -> bool,
    /// So many requests that match go through first.
    pub after: u32,
    /// For so many requests; `None` until it is lifted.
    pub times: Option<u32>,
    /// What happens.
    pub effect: Effect,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// This status instead of an answer, such as 403 or 500.
    Status(u16),
    /// The answer comes later.
    Latency(Duration),
    /// The connection ends without an answer; whether the request was done first says the flag.
    Hangup {
        /// The request is carried out, only its answer is lost.
        done: bool,
    },
}

impl Fault {
    /// For every request, until lifted.
    #[must_use]
    pub fn always(effect: Effect) -> Self {
        Self {
            verbs: Vec::new(),
            resource: String::new(),
            only: |_| true,
            after: 0,
            times: None,
            effect,
        }
    }

    /// For every request to a resource, until lifted.
    #[must_use]
    pub fn on(resource: &str, effect: Effect) -> Self {
        Self {
            resource: resource.to_owned(),
            ..Self::always(effect)
        }
    }

    /// Only for these verbs.
    #[must_use]
    pub fn verbs(self, verbs: &[Verb]) -> Self {
        Self {
            verbs: verbs.to_vec(),
            ..self
        }
    }

    /// Only for requests that this is true of.
    #[must_use]
    pub fn only(self, only: fn(&Logged) -> bool) -> Self {
        Self { only, ..self }
    }

    /// Only after so many requests that match.
    #[must_use]
    pub fn after(self, after: u32) -> Self {
        Self { after, ..self }
    }

    /// Only for so many requests.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    fn matches(&self, request: &Logged) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&request.verb))
            && (self.resource.is_empty() || self.resource == request.resource)
            && (self.only)(request)
            && self.times != Some(0)
    }

    /// Whether it is in force at a request; those that go through first are counted down.
    fn meets(&mut self, request: &Logged) -> bool {
        if !self.matches(request) {
            return false;
        }
        let waits = self.after > 0;
        self.after = self.after.saturating_sub(1);
        !waits
    }
}

/// The first fault that matches, which is used up by one.
pub(crate) fn take(faults: &mut [Fault], request: &Logged) -> Option<Effect> {
    let fault = faults
        .iter_mut()
        .find_map(|f| f.meets(request).then_some(f))?;
    fault.times = fault.times.map(|times| times.saturating_sub(1));
    Some(fault.effect)
}
