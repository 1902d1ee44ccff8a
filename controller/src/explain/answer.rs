//! What is answered: a verdict, and the chain of steps from an object to its series.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something is or is not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked about.
    pub subject: String,
    /// Whether it is measured.
    pub verdict: Verdict,
    /// The verdict in one line.
    pub summary: String,
    /// What to do, where something is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// From the object to its series.
    pub steps: Vec<Step>,
}

/// Whether something is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Every request through every gateway that routes to it is counted.
    Measured,
    /// Some or all are not.
    NotMeasured,
    /// The controller does not know enough to say.
    CannotTell,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What it is about.
    pub name: String,
    /// Whether it holds.
    pub state: StepState,
    /// What was found, in one line.
    pub found: String,
    /// More of it, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What to do, where it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Whether a link of the chain holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepState {
    /// It does.
    Ok,
    /// It does not.
    Broken,
    /// It cannot be told.
    Unclear,
    /// Worth knowing; it breaks nothing.
    Note,
}

/// Lines of details shown to people, per step.
const SHOWN: usize = 12;

impl StepState {
    const fn mark(self) -> char {
        match self {
            Self::Ok => '✓',
            Self::Broken => '✗',
            Self::Unclear => '?',
            Self::Note => '·',
        }
    }
}

impl Step {
    pub(super) fn new(name: &str, state: StepState, found: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state,
            found: found.into(),
            details: Vec::new(),
            advice: None,
        }
    }

    pub(super) fn ok(name: &str, found: impl Into<String>) -> Self {
        Self::new(name, StepState::Ok, found)
    }

    pub(super) fn note(name: &str, found: impl Into<String>) -> Self {
        Self::new(name, StepState::Note, found)
    }

    pub(super) fn broken(name: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self {
            advice,
            ..Self::new(name, StepState::Broken, found)
        }
    }

    pub(super) fn unclear(name: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        let state = StepState::Unclear;
        Self {
            state,
            ..Self::broken(name, found, advice)
        }
    }

    pub(super) fn with(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    pub(super) fn advising(mut self, advice: &str) -> Self {
        self.advice = Some(advice.to_owned());
        self
    }
}

impl Explanation {
    /// The first broken step decides, else the first that is unclear; `measured` is said when there is neither.
    pub(super) fn conclude(subject: String, steps: Vec<Step>, measured: String) -> Self {
        let first = |state| steps.iter().find(|s| s.state == state);
        let (verdict, summary, step) = match (first(StepState::Broken), first(StepState::Unclear)) {
            (Some(step), _) => {
                let text = format!("not measured: {}", step.found);
                (Verdict::NotMeasured, text, Some(step))
            }
            (None, Some(step)) => {
                let text = format!("cannot tell: {}", step.found);
                (Verdict::CannotTell, text, Some(step))
            }
            (None, None) => (Verdict::Measured, measured, None),
        };
        Self {
            advice: step.and_then(|s| s.advice.clone()),
            subject,
            verdict,
            summary,
            steps,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.subject, self.summary)?;
        if let Some(advice) = &self.advice {
            writeln!(f, "→ {advice}")?;
        }
        writeln!(f)?;
        let width = self.steps.iter().map(|s| s.name.chars().count()).max();
        let width = width.unwrap_or_default();
        for step in &self.steps {
            step.write(f, width, self.advice.as_deref())?;
        }
        Ok(())
    }
}

impl Step {
    /// The advice that stands at the top is not said again.
    fn write(&self, f: &mut fmt::Formatter<'_>, width: usize, said: Option<&str>) -> fmt::Result {
        let mark = self.state.mark();
        writeln!(f, "{mark} {:width$}  {}", self.name, self.found)?;
        for detail in self.details.iter().take(SHOWN) {
            writeln!(f, "  {:width$}  {detail}", "")?;
        }
        if let Some(more) = self.details.len().checked_sub(SHOWN)
            && more > 0
        {
            writeln!(f, "  {:width$}  and {more} more (--json has all)", "")?;
        }
        match self.advice.as_deref() {
            Some(advice) if said != Some(advice) => writeln!(f, "  {:width$}  → {advice}", ""),
            _ => Ok(()),
        }
    }
}
