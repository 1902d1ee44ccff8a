//! Whether autoscalers ask this controller. It decides nothing about what is measured, so no step of it breaks the chain.

use super::answer::Step;
use crate::serving::Registration;

const NAME: &str = "metrics API";

/// The last step of what can be scaled by.
pub(super) fn step(registration: &Registration) -> Step {
    match registration {
        Registration::Registered => Step::ok(NAME, "autoscalers ask this controller"),
        Registration::Foreign(text) => Step::note(
            NAME,
            format!("autoscalers ask another server, which knows nothing of this: {text}"),
        )
        .advising(
            "remove that APIService, and this controller registers itself; or let the autoscaler ask for metrics that the \
             other server has",
        ),
        Registration::Detached => Step::note(NAME, "taken out of the API server on demand")
            .advising("it comes back with the next start of the controller"),
        Registration::Failing(text) => Step::note(
            NAME,
            "the controller cannot see to it that autoscalers ask it",
        )
        .advising(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::StepState, *};

    #[test]
    fn who_answers_autoscalers_is_said_and_breaks_nothing() {
        let all = [
            Registration::Registered,
            Registration::Foreign("APIService a names Service b/c".to_owned()),
            Registration::Detached,
            Registration::Failing("forbidden; grant it".to_owned()),
        ];
        let steps = all.each_ref().map(step);
        let states = steps.each_ref().map(|step| step.state);
        let [ok, note] = [StepState::Ok, StepState::Note];
        assert_eq!(states, [ok, note, note, note]);
        let [registered, rest @ ..] = steps;
        assert_eq!(registered.advice, None);
        assert!(rest.iter().all(|step| step.advice.is_some()), "{rest:?}");
        assert!(rest[0].found.ends_with("APIService a names Service b/c"));
    }
}
