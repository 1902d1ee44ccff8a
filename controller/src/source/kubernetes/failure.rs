//! Why the API server could not be asked, and when it is asked again.

use std::time::Duration;

use kube::runtime::watcher;

use super::Pace;

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Of a closed set: forbidden, unauthorized, expired, refused, server, network, decode.
    pub(crate) reason: &'static str,
    /// HTTP status; 0 without an answer.
    code: u16,
    text: String,
}

impl Failure {
    pub(crate) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::answered(status.code, &status.message),
            kube::Error::SerdeError(_) => Self::without_answer("decode", error),
            other => Self::without_answer("network", other),
        }
    }

    /// Of a question what is served, which no Role of ours is about.
    pub(crate) fn of_discovery(error: &kube::Error) -> Self {
        let failure = Self::of(error);
        if !failure.is_forbidden() {
            return failure;
        }
        let text = format!(
            "{}; its account may not ask what is served: bind ClusterRole system:discovery to it",
            failure.text
        );
        Self {
            reason: "refused",
            text,
            ..failure
        }
    }

    pub(crate) fn of_watch(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(e)
            | watcher::Error::WatchStartFailed(e)
            | watcher::Error::WatchFailed(e) => Self::of(e),
            watcher::Error::WatchError(status) => Self::answered(status.code, &status.message),
            watcher::Error::NoResourceVersion => Self::without_answer("decode", error),
        }
    }

    fn answered(code: u16, message: &str) -> Self {
        let reason = match code {
            403 => "forbidden",
            401 => "unauthorized",
            410 => "expired",
            400..=499 => "refused",
            _ => "server",
        };
        let text = if message.is_empty() {
            "no message"
        } else {
            message
        };
        let text = format!("the API server answers {code}: {text}");
        Self { reason, code, text }
    }

    /// With the causes: the outermost text alone says little.
    fn without_answer(reason: &'static str, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            cause = inner.source();
        }
        Self {
            reason,
            code: 0,
            text,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// No answer in time.
    pub(crate) fn slow(patience: Duration) -> Self {
        Self {
            reason: "network",
            code: 0,
            text: format!("the API server has not answered within {patience:?}"),
        }
    }

    /// The object has changed or gone since it was read.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self.code, 404 | 409)
    }

    pub(crate) fn is_forbidden(&self) -> bool {
        self.code == 403
    }

    /// Somebody wrote it meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code == 409
    }

    /// The object itself is not taken: by its schema or by an admission webhook. A right that is missing is another thing.
    pub(crate) fn is_refusal(&self) -> bool {
        let denied = self.code == 403 && self.text.contains("denied the request");
        denied || matches!(self.code, 400 | 422)
    }

    /// What happened.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Happens in every cluster's life and mends itself.
    pub(crate) fn is_ordinary(&self) -> bool {
        self.reason == "expired"
    }

    /// What happened and what to do about it.
    pub(super) fn advice(&self, plural: &str, group: &str) -> String {
        let text = &self.text;
        let resource = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        match self.reason {
            "forbidden" => format!("{text}; grant its account get, list and watch on {resource}"),
            "unauthorized" => format!("{text}; its credentials are not accepted, see --kubeconfig"),
            _ => text.clone(),
        }
    }
}

/// Growing, jittered pauses.
#[derive(Debug)]
pub(crate) struct Retry {
    pace: Pace,
    next: Duration,
}

impl Retry {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            next: pace.retry,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.pace.retry;
    }

    /// Between half of it and all of it, so that many replicas do not come at once.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next.min(self.pace.retry_most);
        self.next = pause.saturating_mul(2);
        // Without randomness the whole pause.
        let share = getrandom::u32().map_or(1.0, |r| f64::from(r) / f64::from(u32::MAX));
        pause.mul_f64(0.5 + share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_few() {
        let reasons = ["forbidden", "unauthorized", "expired", "refused", "server"];
        for code in [0, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503] {
            assert!(reasons.contains(&Failure::answered(code, "").reason));
        }
        assert!(Failure::answered(404, "").is_not_found());
        let webhook = r#"admission webhook "validations.kong.konghq.com" denied the request: no"#;
        assert!(Failure::answered(400, webhook).is_refusal());
        assert!(Failure::answered(403, webhook).is_refusal());
        assert!(!Failure::answered(403, "cannot patch resource kongplugins").is_refusal());
    }

    #[test]
    fn a_refusal_says_what_to_grant() {
        let advice = Failure::answered(403, "no").advice("httproutes", "gateway.networking.k8s.io");
        assert!(
            advice.contains("list and watch on httproutes.gateway.networking.k8s.io"),
            "{advice}"
        );
    }

    #[test]
    fn who_may_not_ask_what_is_served_needs_another_right() {
        let status: kube::core::Status =
            serde_json::from_value(serde_json::json!({"code": 403, "message": "no"})).unwrap();
        let failure = Failure::of_discovery(&kube::Error::Api(Box::new(status)));
        let advice = failure.advice("httproutes", "gateway.networking.k8s.io");
        assert!(failure.is_forbidden());
        assert!(advice.contains("system:discovery"), "{advice}");
        assert!(!advice.contains("httproutes"), "{advice}");
    }

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew() {
        let mut retry = Retry::new(Pace {
            retry: Duration::from_millis(100),
            retry_most: Duration::from_millis(350),
            ..Pace::default()
        });
        for most in [100, 200, 350, 350] {
            let most = Duration::from_millis(most);
            let pause = retry.next();
            assert!((most / 2..=most).contains(&pause), "{pause:?} of {most:?}");
        }
        retry.reset();
        assert!(retry.next() <= Duration::from_millis(100));
    }
}
